//! A table as operations refer to it.

use duet_protocol::error::ErrorCode;
use duet_protocol::hash::bucket_of;
use duet_protocol::layout::TableLayout;
use duet_protocol::record::ClusterState;
use duet_protocol::schema::{
    Column, IndexKind, IndexState, PrimaryKeyOrder, TableDefinition, TableIndex, TableState,
};
use duet_protocol::unique::UniqueLayout;
use std::sync::Arc;

use crate::Error;

/// A version of a table: its identity and its compiled layout.
pub struct Table {
    pub(crate) id: u32,
    pub(crate) version: u16,
    definition: TableDefinition,
    layout: TableLayout,
    partitions: u16,
    /// Partition of each bucket; empty where a range cannot be bound to a partition.
    buckets: Arc<[u16]>,
    unique: Vec<Arc<UniqueIndex>>,
    /// The indexes as in the dictionary.
    indexes: Vec<TableIndex>,
}

/// A unique index of a table, as look-ups need it.
#[derive(Debug)]
pub struct UniqueIndex {
    pub(crate) name: String,
    pub(crate) layout: UniqueLayout,
    /// The hidden table with its entries; none while the index is being built or dropped.
    pub(crate) entries: Option<Arc<Table>>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = format_args!("{}.{}", self.database(), self.name());
        f.debug_struct("Table")
            .field("name", &name)
            .field("id", &self.id)
            .field("version", &self.version)
            .finish()
    }
}

impl Table {
    /// Compiles a table of the dictionary of a cluster with this number of partitions.
    ///
    /// # Errors
    /// The code of the [`duet_protocol::schema::SchemaError`].
    pub fn new(table: &duet_protocol::schema::Table, partitions: u16) -> Result<Table, Error> {
        let layout = TableLayout::new(&table.definition)?;
        let definition = table.definition.clone();
        Ok(Table {
            id: table.id,
            version: table.version,
            definition,
            layout,
            partitions,
            buckets: Arc::from([]),
            unique: Vec::new(),
            indexes: table.indexes.clone(),
        })
    }

    /// As [`Table::new`], with the unique indexes whose hidden tables are in the dictionary.
    pub(crate) fn with_unique(
        table: &duet_protocol::schema::Table,
        state: &ClusterState,
        buckets: &Arc<[u16]>,
    ) -> Result<Table, Error> {
        let partitions = state.configuration.partitions;
        let mut compiled = Table::new(table, partitions)?;
        compiled.buckets = Arc::clone(buckets);
        for (defined, known) in table.secondary_indexes() {
            if defined.kind != IndexKind::Unique {
                continue;
            }
            let hidden =
                |id| state.tables.iter().find(|hidden| hidden.id == id && hidden.state == TableState::Active);
            let open = known.hidden_table.filter(|_| known.state == IndexState::Public).and_then(hidden);
            let entries = open.map(|hidden| Table::new(hidden, partitions)).transpose()?;
            compiled.unique.push(Arc::new(UniqueIndex {
                name: defined.name.clone(),
                layout: UniqueLayout::new(&table.definition, defined)?,
                entries: entries.map(Arc::new),
            }));
        }
        Ok(compiled)
    }

    /// Whether this is what the dictionary says.
    pub(crate) fn is_current(&self, table: &duet_protocol::schema::Table) -> bool {
        self.id == table.id && self.version == table.version && self.indexes == table.indexes
    }

    /// The unique index of this name, without regard to ASCII case.
    ///
    /// # Errors
    /// `IndexNotFound` when there is none in this handle; `IndexNotReady` while it is being built or dropped.
    pub(crate) fn unique_index(&self, name: &str) -> Result<(Arc<UniqueIndex>, Arc<Table>), Error> {
        let Some(index) = self.unique.iter().find(|index| index.name.eq_ignore_ascii_case(name)) else {
            let detail = format!("table '{}' has no unique index '{name}'", self.definition.name);
            return Err(Error::new(ErrorCode::IndexNotFound, &detail));
        };
        match &index.entries {
            Some(entries) => Ok((Arc::clone(index), Arc::clone(entries))),
            None => Err(Error::new(ErrorCode::IndexNotReady, &format!("'{name}'"))),
        }
    }

    /// The columns of a scan's result as a table of their own, without a primary key: it names them and reads their images.
    /// Its identity is 0, which no table of a cluster has.
    pub(crate) fn of_result(table: &Table, columns: Vec<Column>) -> Table {
        let definition = TableDefinition {
            database: table.definition.database.clone(),
            name: table.definition.name.clone(),
            columns,
            primary_key: Vec::new(),
            partition_key: Vec::new(),
            primary_key_order: PrimaryKeyOrder::HashOnly,
            indexes: Vec::new(),
            time_to_live: None,
            comment: String::new(),
        };
        let layout = TableLayout::without_key(definition.columns.clone());
        Table {
            id: 0,
            version: 0,
            definition,
            layout,
            partitions: 0,
            buckets: Arc::from([]),
            unique: Vec::new(),
            indexes: Vec::new(),
        }
    }

    /// Identity, never used again for another table.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Version of the definition.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Database name.
    pub fn database(&self) -> &str {
        &self.definition.database
    }

    /// Table name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// What its user defined.
    pub fn definition(&self) -> &TableDefinition {
        &self.definition
    }

    /// The compiled layout.
    pub fn layout(&self) -> &TableLayout {
        &self.layout
    }

    /// What the dictionary knows of its secondary indexes, in the order of their definitions.
    pub fn indexes(&self) -> &[TableIndex] {
        &self.indexes
    }

    /// The partition of rows whose partition key has this hash.
    pub(crate) fn partition_of(&self, hash: u64) -> Option<u16> {
        self.buckets.get(usize::from(bucket_of(hash))).copied()
    }

    /// Number of partitions that its rows are spread over.
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// Index of a column by name, without regard to ASCII case.
    ///
    /// # Errors
    /// `InvalidRequest` when there is none.
    pub fn column(&self, name: &str) -> Result<u16, Error> {
        self.definition.column_index(name).ok_or_else(|| {
            let detail = format!("table '{}' has no column '{name}'", self.definition.name);
            Error::new(ErrorCode::InvalidRequest, &detail)
        })
    }
}
