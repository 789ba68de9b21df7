//! Rows as Rust structs.

use crate::client::unexpected;
use crate::{
    Batch, Client, ColumnType, Error, ErrorCode, Expectation, Key, Reply, Result, RowVersion, RowView, Scan,
    Table, TableDefinition, ValueRef, Written,
};
use std::marker::PhantomData;

/// A struct whose fields are the columns of a table. `#[derive(Row)]` implements it:
///
/// ```
/// use duet_client::{Row, TableRow, Timestamp};
///
/// #[derive(Row, Debug, PartialEq)]
/// #[duet(table = "shop.orders")]
/// struct Order {
///     #[duet(key)]
///     customer: i64,
///     #[duet(key)]
///     number: u32,
///     #[duet(rename = "ordered_at")]
///     at: Timestamp,
///     #[duet(length = 200)]
///     note: Option<String>,
/// }
///
/// let definition = Order::definition()?;
/// assert_eq!((definition.database.as_str(), definition.name.as_str()), ("shop", "orders"));
/// assert_eq!(definition.primary_key, [0, 1]);
/// assert!(definition.columns[3].nullable);
/// # Ok::<(), duet_client::Error>(())
/// ```
///
/// On the struct: `table = "database.table"` or `table = "table"`. On a field: `key` (the primary key is made of all
/// such fields in their order), `partition_key` (also a `key`), `rename = "column"`, `length = N` (characters or bytes
/// of text and bytes), `column_type = EXPRESSION` (a [`ColumnType`]). `Option<T>` is a nullable column.
pub trait TableRow: Sized {
    /// The table that the type describes.
    ///
    /// # Errors
    /// The code of an invalid definition.
    fn definition() -> Result<TableDefinition>;

    /// Names of the columns in the order of the fields.
    fn column_names() -> &'static [&'static str];

    /// Values of the fields, in their order.
    fn values(&self) -> Vec<ValueRef<'_>>;

    /// Builds the struct of values in the order of its fields; on error the number of the field that does not take
    /// its value.
    ///
    /// # Errors
    /// The number of the field.
    fn from_values<'v>(value: impl FnMut(usize) -> ValueRef<'v>) -> std::result::Result<Self, usize>;
}

/// A table whose rows are `T`s.
#[derive(Clone, Debug)]
pub struct TypedTable<T> {
    client: Client,
    table: Table,
    /// Column of each field.
    columns: Vec<u16>,
    /// Field of each column.
    fields: Vec<Option<usize>>,
    row: PhantomData<fn() -> T>,
}

impl<T: TableRow> TypedTable<T> {
    pub(crate) fn new(client: Client, table: Table) -> Result<TypedTable<T>> {
        let names = T::column_names();
        let columns: Vec<u16> = names
            .iter()
            .map(|name| {
                table.definition().column_index(name).ok_or_else(|| {
                    let detail = format!("table '{}' has no column '{name}'", table.name());
                    Error::new(ErrorCode::InvalidSchema, &detail)
                })
            })
            .collect::<Result<_>>()?;
        let mut fields = vec![None; table.definition().columns.len()];
        for (field, column) in columns.iter().enumerate() {
            fields[usize::from(*column)] = Some(field);
        }
        Ok(TypedTable { client, table, columns, fields, row: PhantomData })
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Reads a row as the struct.
    ///
    /// # Errors
    /// `InvalidRow` when a field does not take the value of its column.
    pub fn decode(&self, view: &RowView<'_>) -> Result<T> {
        let mut broken = None;
        let row = T::from_values(|field| {
            view.column(usize::from(self.columns[field])).unwrap_or_else(|error| {
                broken = Some(error);
                ValueRef::Null
            })
        });
        if let Some(error) = broken {
            return Err(error.into());
        }
        row.map_err(|field| {
            let name = T::column_names()[field];
            let detail = format!("column '{name}' of table '{}' does not fit its field", self.table.name());
            Error::new(ErrorCode::InvalidRow, &detail)
        })
    }

    /// Values of all columns in table order; columns without a field have their defaults.
    fn encode<'r>(&'r self, row: &'r T) -> Vec<ValueRef<'r>> {
        let values = row.values();
        let columns = self.table.definition().columns.iter().zip(&self.fields);
        let value = |(column, field): (&'r crate::Column, &Option<usize>)| match field {
            Some(field) => values[*field].clone(),
            None => column.default.as_ref().map_or(ValueRef::Null, ValueRef::from),
        };
        columns.map(value).collect()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// See [`Client::get`] and [`TypedTable::decode`].
    pub async fn get(&self, key: impl Key) -> Result<Option<T>> {
        Ok(self.get_versioned(key).await?.map(|(row, _)| row))
    }

    /// Reads a row with its version.
    ///
    /// # Errors
    /// See [`Client::get`] and [`TypedTable::decode`].
    pub async fn get_versioned(&self, key: impl Key) -> Result<Option<(T, RowVersion)>> {
        let mut pooled = self.client.run(|batch| batch.read(&self.table, &key)).await?;
        match pooled.batch().reply(0)? {
            Reply::Row { version, row } => Ok(Some((self.decode(&row)?, version))),
            Reply::NoRow => Ok(None),
            Reply::Written(_) | Reply::Page(_) | Reply::Resolved(_) => Err(unexpected()),
        }
    }

    /// Reads many rows at once, in the order of their keys.
    ///
    /// # Errors
    /// The first error.
    pub async fn get_many<K: Key>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<T>>> {
        let mut rows = Vec::new();
        self.client
            .get_many_with(&self.table, keys, |_, view| {
                rows.push(view.map(|view| self.decode(&view)).transpose());
            })
            .await?;
        rows.into_iter().collect()
    }

    /// Inserts a row; `DuplicateKey` when there is one with its key.
    ///
    /// # Errors
    /// See [`Client::insert`].
    pub async fn insert(&self, row: &T) -> Result<Written> {
        self.client.run(|batch| batch.insert(&self.table, &self.encode(row))).await?.batch().written(0)
    }

    /// Inserts a row or replaces the one with its key.
    ///
    /// # Errors
    /// See [`Client::upsert`].
    pub async fn upsert(&self, row: &T) -> Result<Written> {
        let build = |batch: &mut Batch| batch.upsert(&self.table, &self.encode(row), Expectation::Any);
        self.client.run(build).await?.batch().written(0)
    }

    /// Upserts many rows at once.
    ///
    /// # Errors
    /// The first error; rows before and after it may have been written.
    pub async fn upsert_many<'r>(&self, rows: impl IntoIterator<Item = &'r T>) -> Result<()>
    where
        T: 'r,
    {
        let mut batch = Batch::new();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            batch.clear();
            for row in rows.by_ref().take(1_024) {
                batch.upsert(&self.table, &self.encode(row), Expectation::Any)?;
            }
            self.client.execute(&mut batch).await?;
            for index in 0..batch.len() {
                batch.written(index)?;
            }
        }
        Ok(())
    }

    /// Replaces a row if it still has the version that was read; else `VersionMismatch`.
    ///
    /// # Errors
    /// See [`Client::update_if_version`].
    pub async fn replace_if_version(&self, row: &T, version: RowVersion) -> Result<Written> {
        let expectation = Expectation::Version(version);
        let build = |batch: &mut Batch| batch.upsert(&self.table, &self.encode(row), expectation);
        self.client.run(build).await?.batch().written(0)
    }

    /// Deletes a row; `RowNotFound` when there is none.
    ///
    /// # Errors
    /// See [`Client::delete`].
    pub async fn delete(&self, key: impl Key) -> Result<Written> {
        self.client.delete(&self.table, key).await
    }

    /// Reads all rows; see [`Client::scan`]. Decode its pages with [`TypedTable::decode`].
    pub fn scan(&self) -> Scan {
        self.client.scan(&self.table)
    }
}

/// The column type of text or bytes with a length; others are as they are. For `derive(Row)`.
#[doc(hidden)]
pub const fn with_length(column_type: ColumnType, length: u32) -> ColumnType {
    match column_type {
        ColumnType::Text | ColumnType::Varchar { .. } => ColumnType::Varchar { characters: length },
        ColumnType::Blob | ColumnType::Varbinary { .. } => ColumnType::Varbinary { bytes: length },
        other => other,
    }
}
