//! The installed cluster state in the form that the blocks use on every request.

use duet_protocol::error::ErrorCode;
use duet_protocol::hash::bucket_of;
use duet_protocol::key::IndexLayout;
use duet_protocol::layout::TableLayout;
use duet_protocol::record::{ClusterState, Leaving, MemberState, View};
use duet_protocol::row::TableLayouts;
use duet_protocol::schema::{
    IndexKind, IndexState, PRIMARY_KEY_INDEX, PrimaryKeyOrder, SchemaError, Table, TableIndex, TableState,
    TimeToLive,
};
use duet_protocol::unique::UniqueLayout;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Role of this node for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It answers requests and leads writes; the node id is that of its backup, if it has one.
    Primary {
        /// Node id of the backup.
        backup: Option<u32>,
    },
    /// It applies what the primary sends.
    Backup {
        /// Node id of the primary.
        primary: u32,
    },
    /// It does not hold the partition.
    Elsewhere {
        /// Node id of the primary.
        primary: u32,
    },
}

/// A partition as this node sees it.
#[derive(Clone, Copy, Debug)]
pub struct PartitionInfo {
    /// Role of this node.
    pub role: Role,
    /// Fragment configuration number.
    pub cfg: u64,
    /// The lane through which its chain runs.
    pub lane: u16,
}

/// A table that this node serves.
#[derive(Debug)]
pub struct LocalTable {
    /// Table id.
    pub id: u32,
    /// Version in the dictionary. Requests and rows may follow any from the first to the newest of `layouts`.
    pub version: u16,
    /// The first version that whole new rows may follow.
    pub first_version_of_new_rows: u16,
    /// State in the dictionary.
    pub state: TableState,
    /// The schema of all versions, compiled.
    pub layouts: TableLayouts,
    /// Neither with unique indexes, though they be announced only, nor hidden: writes concern nothing but the row.
    pub is_plain: bool,
    /// When its rows expire, if they do.
    pub time_to_live: Option<TimeToLive>,
    /// Whether it holds the entries of a unique index: clients do not write it.
    pub is_hidden: bool,
    /// Whether nobody may read it: the unique index whose entries it holds is not maintained everywhere.
    pub is_closed: bool,
    /// Whether requests of clients are refused: it is closed or not active.
    pub refuses: bool,
    /// Unique indexes that writes maintain, in order of their ids.
    pub unique: Vec<UniqueIndex>,
    /// Ordered indexes, that of the primary key first if there is one.
    pub ordered: Vec<LocalIndex>,
    /// Whether there are ordered indexes beside that of the primary key, so that an update may change where a row is.
    pub orders_columns: bool,
    /// The indexes as last seen in the dictionary.
    indexes: Vec<TableIndex>,
}

/// A unique index that writes maintain.
#[derive(Clone, Debug)]
pub struct UniqueIndex {
    /// Id.
    pub id: u32,
    /// Name.
    pub name: String,
    /// Whether it is being built, open, or being dropped.
    pub state: IndexState,
    /// Id of the hidden table with its entries.
    pub table: u32,
    /// Version of that table.
    pub table_version: u16,
    /// How entries are made of rows.
    pub layout: UniqueLayout,
}

/// The unique indexes of a table that writes maintain.
fn unique_indexes(state: &ClusterState, table: &Table) -> Result<Vec<UniqueIndex>, ErrorCode> {
    let mut unique = Vec::new();
    for (defined, known) in table.secondary_indexes() {
        let hidden = known.hidden_table.and_then(|id| state.tables.iter().find(|hidden| hidden.id == id));
        let maintained = known.state != IndexState::Announced;
        let Some(hidden) = hidden.filter(|_| maintained && defined.kind == IndexKind::Unique) else {
            continue;
        };
        unique.push(UniqueIndex {
            id: known.id,
            name: defined.name.clone(),
            state: known.state,
            table: hidden.id,
            table_version: hidden.version,
            layout: UniqueLayout::new(&table.definition, defined).map_err(|_| ErrorCode::InvalidSchema)?,
        });
    }
    unique.sort_by_key(|index| index.id);
    Ok(unique)
}

/// Whether the entries of a unique index, in the hidden table with this id, must not be read: it is announced or dropped.
fn is_closed(state: &ClusterState, hidden: u32) -> bool {
    let mut indexes = state.tables.iter().flat_map(|table| &table.indexes);
    let index = indexes.find(|index| index.hidden_table == Some(hidden));
    index.is_none_or(|index| matches!(index.state, IndexState::Announced | IndexState::Dropping))
}

impl LocalTable {
    fn new(table: &Table) -> Result<LocalTable, SchemaError> {
        let mut layouts = TableLayouts::default();
        layouts.extend(table)?;
        let ordered = ordered_indexes(table, layouts.of_row(layouts.newest()));
        Ok(LocalTable {
            id: table.id,
            version: table.version,
            first_version_of_new_rows: table.first_version_of_new_rows(),
            state: table.state,
            layouts,
            is_plain: !table.is_hidden(),
            time_to_live: table.definition.time_to_live,
            is_hidden: table.is_hidden(),
            is_closed: false,
            refuses: table.state != TableState::Active,
            unique: Vec::new(),
            orders_columns: ordered.iter().any(|index| !index.layout.is_primary()),
            ordered,
            indexes: Vec::new(),
        })
    }

    /// From now on these unique indexes are maintained.
    fn maintain(&mut self, unique: Vec<UniqueIndex>, indexes: &[TableIndex]) {
        let has_unique = indexes.iter().any(|index| index.hidden_table.is_some());
        self.is_plain = !has_unique && !self.is_hidden;
        self.unique = unique;
        indexes.clone_into(&mut self.indexes);
    }

    /// Refuses a whole new row that follows a version without a column that takes the current time.
    #[inline]
    pub fn check_version_of_new_row(&self, version: u16) -> Result<(), (ErrorCode, String)> {
        match version >= self.first_version_of_new_rows {
            true => Ok(()),
            false => {
                let id = self.id;
                let detail = format!(
                    "version {version} of table {id} lacks a column that takes the current time; open it again"
                );
                Err((ErrorCode::TableVersionMismatch, detail))
            }
        }
    }

    /// The layout for what does not differ between versions: keys.
    #[inline]
    pub fn layout(&self) -> &TableLayout {
        self.layouts.of_row(1)
    }

    /// The image of a row in the version that a request names, and that version: as it lies there where it may, else in
    /// `scratch`.
    #[inline]
    pub fn image_for<'i>(
        &self,
        image: &'i [u8],
        stored: u16,
        wanted: u16,
        scratch: &'i mut Vec<u8>,
    ) -> (&'i [u8], u16) {
        if stored == wanted {
            return (image, stored);
        }
        scratch.clear();
        match self.layouts.convert(image, stored, wanted, scratch) {
            Ok(()) => (scratch, wanted),
            // Rows were checked before they were stored.
            Err(_) => (image, stored),
        }
    }

    /// The ordered index with this number.
    pub fn index(&self, id: u32) -> Option<&LocalIndex> {
        self.ordered.iter().find(|index| index.id == id)
    }
}

/// An ordered index of a table.
#[derive(Clone, Debug)]
pub struct LocalIndex {
    /// Its number; that of the primary key is [`PRIMARY_KEY_INDEX`].
    pub id: u32,
    /// State in the dictionary.
    pub state: IndexState,
    /// Its keys.
    pub layout: Arc<IndexLayout>,
}

/// The ordered indexes of a table.
fn ordered_indexes(table: &Table, layout: &TableLayout) -> Vec<LocalIndex> {
    let primary = (table.definition.primary_key_order == PrimaryKeyOrder::Ordered).then(|| LocalIndex {
        id: PRIMARY_KEY_INDEX,
        state: IndexState::Public,
        layout: Arc::new(IndexLayout::primary(layout)),
    });
    let ordered = table.secondary_indexes().filter(|(definition, _)| definition.kind == IndexKind::Ordered);
    let secondary = ordered.filter_map(|(definition, index)| {
        let layout = IndexLayout::secondary(layout, &definition.columns)?;
        Some(LocalIndex { id: index.id, state: index.state, layout: Arc::new(layout) })
    });
    primary.into_iter().chain(secondary).collect()
}

/// The installed cluster state.
#[derive(Debug, Default)]
pub struct ClusterMap {
    /// The state itself.
    pub state: ClusterState,
    /// The state as a record, for whoever asks.
    pub record: Vec<u8>,
    /// Partitions by number; empty while the cluster forms.
    pub partitions: Vec<PartitionInfo>,
    /// Tables by slot; a slot keeps its table until the table is removed and is used again afterwards.
    pub tables: Vec<Option<LocalTable>>,
    slots: FxHashMap<u32, u32>,
    serving: bool,
}

impl ClusterMap {
    /// Whether requests can be routed.
    pub fn is_serving(&self) -> bool {
        self.serving
    }

    /// Replaces the state by a newer one. Slots of tables that are gone are returned: their rows must be freed.
    ///
    /// # Errors
    /// `InvalidSchema` when a table's definition cannot be compiled; nothing is changed then.
    pub fn install(
        &mut self,
        state: ClusterState,
        record: Vec<u8>,
        node: u32,
    ) -> Result<Vec<usize>, ErrorCode> {
        let mut prepared = Vec::new();
        for table in &state.tables {
            let slot = self.slots.get(&table.id).copied();
            let known = slot.and_then(|slot| self.tables[slot as usize].as_ref());
            let local = match known {
                Some(known) if known.layouts.newest() >= table.newest_version() => None,
                Some(_) | None => Some(LocalTable::new(table).map_err(|_| ErrorCode::InvalidSchema)?),
            };
            let maintained = local.is_none() && known.is_some_and(|known| known.indexes == table.indexes);
            let unique = if maintained { None } else { Some(unique_indexes(&state, table)?) };
            prepared.push((slot, local, unique));
        }
        let mut removed = Vec::new();
        for (slot, entry) in self.tables.iter_mut().enumerate() {
            let id = entry.as_ref().map(|table| table.id);
            if let Some(id) = id.filter(|id| !state.tables.iter().any(|table| table.id == *id)) {
                *entry = None;
                self.slots.remove(&id);
                removed.push(slot);
            }
        }
        for (table, (slot, local, unique)) in state.tables.iter().zip(prepared) {
            let mut local = local;
            if let (Some(local), Some(unique)) = (&mut local, unique.as_ref()) {
                local.maintain(unique.clone(), &table.indexes);
            }
            match (slot, local) {
                (Some(slot), Some(local)) => self.tables[slot as usize] = Some(local),
                (Some(slot), None) => {
                    if let Some(local) = &mut self.tables[slot as usize] {
                        (local.state, local.version) = (table.state, table.version);
                        local.first_version_of_new_rows = table.first_version_of_new_rows();
                        local.ordered = ordered_indexes(table, local.layouts.of_row(local.layouts.newest()));
                        local.orders_columns = local.ordered.iter().any(|index| !index.layout.is_primary());
                        if let Some(unique) = unique {
                            local.maintain(unique, &table.indexes);
                        }
                    }
                }
                (None, Some(local)) => {
                    let free = (0..self.tables.len())
                        .find(|slot| self.tables[*slot].is_none() && !removed.contains(slot));
                    let slot = free.unwrap_or(self.tables.len());
                    if slot == self.tables.len() {
                        self.tables.push(None);
                    }
                    self.tables[slot] = Some(local);
                    self.slots.insert(table.id, slot as u32);
                }
                (None, None) => {}
            }
        }
        for table in self.tables.iter_mut().flatten() {
            table.is_closed = table.is_hidden && is_closed(&state, table.id);
            table.refuses = table.is_closed || table.state != TableState::Active;
        }
        self.partitions = (0..)
            .zip(&state.view.partitions)
            .map(|(number, partition)| partition_info(partition, node, lane_of(&state, number)))
            .collect();
        self.serving = state.view.number > 0 && state.view.member(node).is_some();
        self.state = state;
        self.record = record;
        Ok(removed)
    }

    /// Whether a node is a member that does not hold everything yet.
    pub fn is_joining(&self, node: u32) -> bool {
        let mut members = self.state.view.members();
        members.any(|member| member.node == node && member.state == MemberState::Joining)
    }

    /// The node that led a partition in the first view, if it has everything of the group and could lead it again: so primaries are
    /// spread evenly. Another one while that wants to leave.
    pub fn preferred_primary(&self, partition: u16) -> Option<u32> {
        let view = &self.state.view;
        let found = view.partitions.get(usize::from(partition))?;
        let members = &view.groups.get(usize::from(found.group))?.members;
        let full = members.iter().all(|member| member.state == MemberState::Full);
        let whole = full && members.len() == self.state.configuration.replicas as usize;
        let rank = View::first_primary_rank(usize::from(partition), view.groups.len(), members.len());
        let first = members.get(rank).filter(|_| whole)?;
        let stays = members.iter().find(|member| member.leaving == Leaving::No);
        if first.leaving == Leaving::No { Some(first.node) } else { stays.map(|member| member.node) }
    }

    /// Whether a node leads a partition that another one should lead.
    pub fn should_hand_over(&self, partition: u16, node: u32) -> bool {
        let leads = self.state.view.partitions[usize::from(partition)].replicas.first() == Some(&node);
        leads && self.preferred_primary(partition).is_some_and(|preferred| preferred != node)
    }

    /// Slot and table for an id.
    #[inline]
    pub fn table(&self, id: u32) -> Option<(usize, &LocalTable)> {
        let slot = *self.slots.get(&id)? as usize;
        self.tables[slot].as_ref().map(|table| (slot, table))
    }

    /// The table in a slot that is known to be in use: by a request that was routed, or a write on its way.
    #[inline]
    pub fn table_in(&self, slot: usize) -> &LocalTable {
        match self.tables.get(slot) {
            Some(Some(table)) => table,
            Some(None) | None => unreachable!("a table with writes on their way is not removed"),
        }
    }

    /// Partition of a partition-key hash. Only while serving.
    #[inline]
    pub fn partition_of(&self, partition_hash: u64) -> u16 {
        self.state.buckets[usize::from(bucket_of(partition_hash))]
    }
}

/// The lane through which the chain of a partition runs: one after the other for the partitions that one node leads, so
/// that the lanes, and the data parts that own them, share what a node leads evenly.
fn lane_of(state: &ClusterState, partition: u16) -> u16 {
    let round = u32::from(partition) / state.configuration.data_nodes.max(1);
    (round % u32::from(state.configuration.lanes.max(1))) as u16
}

fn partition_info(partition: &duet_protocol::record::PartitionView, node: u32, lane: u16) -> PartitionInfo {
    let primary = partition.replicas[0];
    let role = if primary == node {
        Role::Primary { backup: partition.replicas.get(1).copied() }
    } else if partition.replicas.contains(&node) {
        Role::Backup { primary }
    } else {
        Role::Elsewhere { primary }
    };
    PartitionInfo { role, cfg: partition.cfg, lane }
}
