//! Step-by-step construction of a table definition.

use super::{
    Column, ColumnType, IndexDefinition, IndexKind, PrimaryKeyOrder, SchemaError, TableDefinition, TimeToLive,
};

/// Collects the parts of a [`TableDefinition`]; keys are given by column name.
#[derive(Clone, Debug)]
pub struct TableBuilder {
    definition: TableDefinition,
    primary_key: Vec<String>,
    partition_key: Vec<String>,
    indexes: Vec<(String, IndexKind, Vec<String>)>,
    time_to_live: Option<(u64, String)>,
}

impl TableBuilder {
    pub(super) fn new(database: String, name: String) -> Self {
        let definition = TableDefinition {
            database,
            name,
            columns: Vec::new(),
            primary_key: Vec::new(),
            partition_key: Vec::new(),
            primary_key_order: PrimaryKeyOrder::default(),
            indexes: Vec::new(),
            time_to_live: None,
            comment: String::new(),
        };
        Self {
            definition,
            primary_key: Vec::new(),
            partition_key: Vec::new(),
            indexes: Vec::new(),
            time_to_live: None,
        }
    }

    /// Adds a column.
    #[must_use]
    pub fn column(mut self, column: Column) -> Self {
        self.definition.columns.push(column);
        self
    }

    /// Adds a NOT NULL column without default.
    #[must_use]
    pub fn required(self, name: impl Into<String>, column_type: ColumnType) -> Self {
        self.column(Column::new(name, column_type))
    }

    /// Adds a column that may be NULL.
    #[must_use]
    pub fn nullable(self, name: impl Into<String>, column_type: ColumnType) -> Self {
        self.column(Column::new(name, column_type).nullable())
    }

    /// Sets the primary key.
    #[must_use]
    pub fn primary_key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.primary_key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the partition key; without it the whole primary key places a row.
    #[must_use]
    pub fn partition_key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.partition_key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Leaves out the ordered index on the primary key: rows are found by whole keys only.
    #[must_use]
    pub fn hash_only(mut self) -> Self {
        self.definition.primary_key_order = PrimaryKeyOrder::HashOnly;
        self
    }

    /// Adds an ordered secondary index on these columns, in the order in which they are compared.
    #[must_use]
    pub fn ordered_index(self, name: impl Into<String>, columns: &[&str]) -> Self {
        self.index(name.into(), IndexKind::Ordered, columns)
    }

    /// Adds a unique secondary index on these columns.
    #[must_use]
    pub fn unique_index(self, name: impl Into<String>, columns: &[&str]) -> Self {
        self.index(name.into(), IndexKind::Unique, columns)
    }

    fn index(mut self, name: String, kind: IndexKind, columns: &[&str]) -> Self {
        self.indexes.push((name, kind, columns.iter().map(|column| (*column).to_owned()).collect()));
        self
    }

    /// Lets rows expire this many seconds after their event time.
    #[must_use]
    pub fn time_to_live(mut self, seconds: u64, event_time_column: impl Into<String>) -> Self {
        self.time_to_live = Some((seconds, event_time_column.into()));
        self
    }

    /// Says what the table is for.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.definition.comment = comment.into();
        self
    }

    /// Resolves the names and checks the definition.
    ///
    /// # Errors
    /// See [`SchemaError`].
    pub fn build(self) -> Result<TableDefinition, SchemaError> {
        let mut definition = self.definition;
        let index = |part: &'static str, name: &String| {
            definition
                .column_index(name)
                .ok_or_else(|| SchemaError::UnknownColumn { part, column: name.clone() })
        };
        let indexes = |part, names: &[String]| {
            names.iter().map(|name| index(part, name)).collect::<Result<Vec<u16>, _>>()
        };
        let primary_key = indexes("primary key", &self.primary_key)?;
        let partition_key = indexes("partition key", &self.partition_key)?;
        let time_to_live = match &self.time_to_live {
            None => None,
            Some((seconds, column)) => {
                Some(TimeToLive { seconds: *seconds, event_time_column: index("time to live", column)? })
            }
        };
        let mut secondary = Vec::with_capacity(self.indexes.len());
        for (name, kind, columns) in &self.indexes {
            secondary.push(IndexDefinition {
                name: name.clone(),
                kind: *kind,
                columns: indexes("index", columns)?,
            });
        }
        definition.indexes = secondary;
        definition.partition_key = if partition_key.is_empty() { primary_key.clone() } else { partition_key };
        definition.primary_key = primary_key;
        definition.time_to_live = time_to_live;
        definition.validate()?;
        Ok(definition)
    }
}
