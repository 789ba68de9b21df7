//! Unique indexes at the primary of the base row: which entries a write changes, derived from the schema that is installed
//! here; and at the primary of an entry: its insertion and removal.
//!
//! The coordinator executes the changes as further operations of the transaction (`entries.rs`), so a write that changes an
//! entry is never one-pass (PROTOCOL.md, counterexample 20).

use crate::ldm::fragment::{PendingKind, row_state};
use crate::ldm::version::StoredImage;
use crate::ldm::write::{Decision, Refusal};
use crate::ldm::{Context, Job, LocalDataManager};
use crate::map::{ClusterMap, LocalTable};
use crate::outbox::{Address, Handle};
use duet_memory::{Arena, RowHandle};
use duet_protocol::error::ErrorCode;
use duet_protocol::row::RowView;
use duet_protocol::schema::IndexState;
use duet_protocol::signal::operate::{OPERATION_ENTER_ROW, OPERATION_INSERT_ENTRY, Operate};
use duet_protocol::signal::two_phase_write::TwoPhaseWrite;
use duet_protocol::signal::{Sections, SignalView};
use duet_protocol::unique::{EntryChange, EntryChangeKind};

/// Planted bug of the simulator's tests: writes are one-pass although entries change with the row (counterexample 20).
const ONE_PASS_DESPITE_ENTRIES: u32 = 15;

/// Room for the entries of the row before and after a write.
#[derive(Debug, Default)]
pub struct EntryScratch {
    keys: [Vec<u8>; 2],
    values: [Vec<u8>; 2],
    /// A row in the newest version of the table.
    newest: Vec<u8>,
    /// The changes, as they travel.
    pub list: Vec<u8>,
}

impl EntryScratch {
    /// Fills `list` with the changes of entries that turning the image `before` of a row into `after` needs, in the order
    /// in which they are to be locked: by index and key. With `building` only those of indexes that are being built.
    ///
    /// # Errors
    /// `InvalidRow` when a value cannot be indexed.
    pub(super) fn derive(
        &mut self,
        table: &LocalTable,
        building: bool,
        key: &[u8],
        before: Option<StoredImage<'_>>,
        after: Option<StoredImage<'_>>,
    ) -> Result<(), Refusal> {
        self.list.clear();
        let newest = table.layouts.newest();
        for index in table.unique.iter().filter(|index| index.state == IndexState::WriteOnly || !building) {
            let mut has = [false; 2];
            for (place, value) in [before, after].into_iter().enumerate() {
                self.keys[place].clear();
                self.values[place].clear();
                let Some(StoredImage { image, table_version }) = value else { continue };
                let (value, _) = table.image_for(image, table_version, newest, &mut self.newest);
                let row = RowView::new(table.layouts.of_row(newest), key, value);
                let made = index.layout.append_entry(&row, &mut self.keys[place], &mut self.values[place]);
                let refused = |error| (ErrorCode::InvalidRow, format!("index '{}': {error}", index.name));
                has[place] = made.map_err(refused)?;
            }
            if has[0] && has[1] && self.keys[0] == self.keys[1] {
                continue;
            }
            let mut order = [(0, EntryChangeKind::Remove), (1, EntryChangeKind::Insert)];
            if has[0] && has[1] && self.keys[1] < self.keys[0] {
                order.reverse();
            }
            for (place, kind) in order {
                if has[place] {
                    let change = EntryChange {
                        index: index.id,
                        table: index.table,
                        table_version: index.table_version,
                        kind,
                        key: &self.keys[place],
                        value: &self.values[place],
                    };
                    change.append_to(&mut self.list);
                }
            }
        }
        Ok(())
    }
}

/// An entry of a unique index, as it is or as a row needs it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UniqueEntry {
    /// Id of the hidden table.
    pub table: u32,
    /// Key of the entry.
    pub key: Vec<u8>,
    /// Value image of the entry.
    pub value: Vec<u8>,
}

impl LocalDataManager {
    /// Whether transactions look something up in an index that is closed. What they have read and locked holds only as long
    /// as the index is maintained.
    pub fn has_readers(&self, map: &ClusterMap) -> bool {
        let is_closed = |table: &LocalTable| table.is_closed;
        let closed = |slot: usize| map.tables.get(slot).and_then(Option::as_ref).is_some_and(is_closed);
        map.tables.iter().flatten().any(is_closed) && self.locks.has_shared(closed)
    }

    /// The entries that the rows here need in open indexes (true) and those that are here (false); walks over all rows.
    pub fn unique_entries(&self, map: &ClusterMap) -> Vec<(UniqueEntry, bool)> {
        let mut entries = Vec::new();
        let unique = map.tables.iter().flatten().flat_map(|table| &table.unique);
        let open = unique.filter(|index| index.state == IndexState::Public);
        let open: Vec<u32> = open.map(|index| index.table).collect();
        for fragment in self.fragments.iter().flatten() {
            for (slot, index) in fragment.tables.iter().enumerate() {
                let Some(table) = map.tables.get(slot).and_then(Option::as_ref) else { continue };
                if table.is_plain || (table.is_hidden && !open.contains(&table.id)) {
                    continue;
                }
                let mut cursor = Some(0);
                while let Some(position) = cursor {
                    cursor = index.rows.scan_step(&self.arena, position, |handle| {
                        let row = self.arena.row(handle);
                        if row_state::is_visible(row.state()) {
                            let stored = StoredImage { image: row.value, table_version: row.table_version() };
                            entries_of(table, row.key, stored, &mut entries);
                        }
                    });
                }
            }
        }
        entries
    }

    /// Whether a write of one row, whose after-image is in `self.image` if it is an update, changes entries too.
    pub(super) fn needs_two_phases(
        &mut self,
        context: &Context<'_>,
        table: &LocalTable,
        job: &Job<'_>,
        decision: &Decision,
    ) -> Result<bool, Refusal> {
        if context.planted_bug == ONE_PASS_DESPITE_ENTRIES {
            return Ok(false);
        }
        let before =
            Some(decision.row).filter(|row| !row.is_null()).map(|row| stored_image(&self.arena, row));
        let image = if decision.built { &self.image[..] } else { job.signal.section(1) };
        let after = StoredImage { image, table_version: decision.table_version };
        let after = Some(after).filter(|_| decision.kind != PendingKind::Delete);
        self.entries.derive(table, false, job.signal.section(0), before, after)?;
        Ok(!self.entries.list.is_empty())
    }

    /// Hands a write that changes entries, or that a coordinator executes already, to the coordinator of its partition.
    pub(super) fn hand_to_coordinator(&self, context: &mut Context<'_>, job: &Job<'_>) {
        let number = (job.partition % self.coordinators) as u8;
        let body = TwoPhaseWrite {
            link_slot: job.reply.link.slot.into(),
            link_generation: job.reply.link.generation.into(),
            request: job.reply.request_id.into(),
            partition: job.partition.into(),
            ..TwoPhaseWrite::default()
        };
        let node = context.out.identity.sender.node;
        let lane = context.map.partitions[usize::from(job.partition)].lane;
        let to = Address::Coordinator { node, lane, number };
        context.out.post(to, Handle { number, transaction: 0 }, &body, Sections::one(job.signal.bytes()));
    }

    /// Inserts or removes an entry whose key is locked, or derives the entries of a row from before an index. Whether
    /// there are changes of entries to be done.
    pub(super) fn change_entry(
        &mut self,
        lock: u32,
        signal: &SignalView<'_>,
        body: &Operate,
        table: &LocalTable,
        current: Option<RowHandle>,
    ) -> Result<bool, Refusal> {
        let (key, value) = (signal.section(0), signal.section(1));
        let stored = current.map(|row| stored_image(&self.arena, row));
        let present = stored.map(|stored| stored.image);
        if body.operation == OPERATION_ENTER_ROW {
            self.entries.derive(table, true, key, None, stored)?;
            return Ok(!self.entries.list.is_empty());
        }
        let same = present == Some(value);
        if body.operation == OPERATION_INSERT_ENTRY {
            match present {
                Some(_) if !same => return Err((ErrorCode::DuplicateKey, String::new())),
                Some(_) => {}
                None => self.set_change(lock, key, Some(value), (table, table.version))?,
            }
        } else if same {
            self.set_change(lock, key, None, (table, table.version))?;
        }
        Ok(false)
    }
}

/// The entry that a row of a hidden table is, or those that a row of another table needs.
fn entries_of(
    table: &LocalTable,
    key: &[u8],
    stored: StoredImage<'_>,
    entries: &mut Vec<(UniqueEntry, bool)>,
) {
    if table.is_hidden {
        let entry = UniqueEntry { table: table.id, key: key.to_vec(), value: stored.image.to_vec() };
        return entries.push((entry, false));
    }
    let (newest, mut scratch) = (table.layouts.newest(), Vec::new());
    let (value, _) = table.image_for(stored.image, stored.table_version, newest, &mut scratch);
    let row = RowView::new(table.layouts.of_row(newest), key, value);
    for index in table.unique.iter().filter(|index| index.state == IndexState::Public) {
        let mut entry = UniqueEntry { table: index.table, key: Vec::new(), value: Vec::new() };
        if index.layout.append_entry(&row, &mut entry.key, &mut entry.value).is_ok_and(|indexed| indexed) {
            entries.push((entry, true));
        }
    }
}

/// A row as it lies in memory.
pub(super) fn stored_image(arena: &Arena, row: RowHandle) -> StoredImage<'_> {
    let row = arena.row(row);
    StoredImage { image: row.value, table_version: row.table_version() }
}
