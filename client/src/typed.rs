//! Rows as Rust structs.

use crate::client::unexpected;
use crate::mapping::Mapping;
use crate::{
    Assignment, Batch, Bound, Client, ColumnType, Condition, Expectation, Key, Range, Reply, Result,
    RowVersion, RowView, Scan, Table, TableDefinition, ValueRef, Written,
};
use std::collections::VecDeque;

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
///     #[duet(rename = "ordered_at", index = "by_time")]
///     at: Timestamp,
///     #[duet(length = 200)]
///     note: Option<String>,
/// }
///
/// let definition = Order::definition()?;
/// assert_eq!((definition.database.as_str(), definition.name.as_str()), ("shop", "orders"));
/// assert_eq!(definition.primary_key, [0, 1]);
/// assert!(definition.columns[3].nullable);
/// assert_eq!((definition.indexes[0].name.as_str(), &definition.indexes[0].columns), ("by_time", &vec![2]));
/// # Ok::<(), duet_client::Error>(())
/// ```
///
/// On the struct: `table = "database.table"` or `table = "table"`, and `hash_only` (no ordered index on the primary
/// key). On a field: `key` (the primary key is made of all such fields in their order), `partition_key` (also a `key`),
/// `index` or `index = "name"` (an ordered secondary index, made of all fields that give this name in their order;
/// without a name it is called as the column), `unique` or `unique = "name"` (the same for a unique index),
/// `rename = "column"`, `length = N` (characters or bytes of text and bytes), `column_type = EXPRESSION` (a
/// [`ColumnType`]). `Option<T>` is a nullable column.
pub trait TableRow: Sized {
    /// The table that the type describes.
    ///
    /// # Errors
    /// The code of an invalid definition.
    fn definition() -> Result<TableDefinition>;

    /// Names of the columns in the order of the fields.
    fn column_names() -> &'static [&'static str];

    /// The fields in their order, to check that they fit a table.
    fn fields() -> &'static [RowField];

    /// Values of the fields, in their order.
    fn values(&self) -> Vec<ValueRef<'_>>;

    /// Builds the struct of values in the order of its fields; on error the number of the field that does not take
    /// its value.
    ///
    /// # Errors
    /// The number of the field.
    fn from_values<'v>(value: impl FnMut(usize) -> ValueRef<'v>) -> std::result::Result<Self, usize>;
}

/// A field of a [`TableRow`].
#[derive(Clone, Copy, Debug)]
pub struct RowField {
    /// Name in the struct.
    pub name: &'static str,
    /// Name of its column.
    pub column: &'static str,
    /// Its Rust type as written.
    pub type_name: &'static str,
    /// Whether its column is one of the primary key.
    pub is_key: bool,
    /// Whether it takes NULL.
    pub is_nullable: bool,
    /// Whether it takes every value of a column of this type, NULL aside.
    pub holds: fn(ColumnType) -> bool,
}

/// A table whose rows are `T`s. The struct was found to fit the table when this was made.
///
/// A struct may have only some of the table's columns. Reads leave the others out, [`TypedTable::insert`] gives them
/// their defaults or NULL, [`TypedTable::update`] leaves them as they are; what replaces whole rows is refused, since it
/// would wipe them out.
#[derive(Clone)]
pub struct TypedTable<T> {
    client: Client,
    mapping: Mapping<T>,
}

impl<T> std::fmt::Debug for TypedTable<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TypedTable").field(&self.mapping.table).finish()
    }
}

impl<T: TableRow> TypedTable<T> {
    pub(crate) fn new(client: Client, table: Table) -> Result<TypedTable<T>> {
        Ok(TypedTable { client, mapping: Mapping::new(table)? })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.mapping.table
    }

    pub(crate) fn encode_new<'r>(&'r self, row: &'r T) -> Result<Vec<ValueRef<'r>>> {
        self.mapping.encode_new(row)
    }

    pub(crate) fn encode_whole<'r>(&'r self, row: &'r T) -> Result<Vec<ValueRef<'r>>> {
        self.mapping.encode_whole(row)
    }

    /// Reads a row as the struct.
    ///
    /// # Errors
    /// `InvalidRow` when a field does not take the value of its column.
    pub fn decode(&self, view: &RowView<'_>) -> Result<T> {
        self.mapping.decode(view)
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
        let mut pooled = self.client.run(|batch| batch.read(self.table(), &key)).await?;
        match pooled.batch().reply(0)? {
            Reply::Row { version, row } => Ok(Some((self.decode(&row)?, version))),
            Reply::NoRow => Ok(None),
            Reply::Written(_) | Reply::Page(_) | Reply::Resolved(_) | Reply::Ended(_) => Err(unexpected()),
        }
    }

    /// Reads many rows at once, in the order of their keys.
    ///
    /// # Errors
    /// The first error.
    pub async fn get_many<K: Key>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<T>>> {
        let mut rows = Vec::new();
        self.client
            .get_many_with(self.table(), keys, |_, view| {
                rows.push(view.map(|view| self.decode(&view)).transpose());
            })
            .await?;
        rows.into_iter().collect()
    }

    /// Inserts a row; `DuplicateKey` when there is one with its key. Columns that the struct does not have take their
    /// defaults or NULL.
    ///
    /// # Errors
    /// See [`Client::insert`]; `InvalidRequest` when a column that the struct does not have is neither nullable nor has a
    /// default.
    pub async fn insert(&self, row: &T) -> Result<Written> {
        let values = self.mapping.encode_new(row)?;
        self.client.run(|batch| batch.insert(self.table(), &values)).await?.batch().written(0)
    }

    /// Inserts a row or replaces the one with its key.
    ///
    /// # Errors
    /// See [`Client::upsert`]; `InvalidRequest` when the struct does not have all columns of the table, since replacing
    /// the row would wipe out the others: use [`TypedTable::update`] or [`TypedTable::insert`].
    pub async fn upsert(&self, row: &T) -> Result<Written> {
        let values = self.mapping.encode_whole(row)?;
        let build = |batch: &mut Batch| batch.upsert(self.table(), &values, Expectation::Any);
        self.client.run(build).await?.batch().written(0)
    }

    /// Upserts many rows at once.
    ///
    /// # Errors
    /// See [`TypedTable::upsert`]. The first error; rows before and after it may have been written.
    pub async fn upsert_many<'r>(&self, rows: impl IntoIterator<Item = &'r T>) -> Result<()>
    where
        T: 'r,
    {
        let mut batch = Batch::new();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            batch.clear();
            for row in rows.by_ref().take(1_024) {
                batch.upsert(self.table(), &self.mapping.encode_whole(row)?, Expectation::Any)?;
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
    /// See [`Client::update_if_version`] and [`TypedTable::upsert`].
    pub async fn replace_if_version(&self, row: &T, version: RowVersion) -> Result<Written> {
        let expectation = Expectation::Version(version);
        let values = self.mapping.encode_whole(row)?;
        let build = |batch: &mut Batch| batch.upsert(self.table(), &values, expectation);
        self.client.run(build).await?.batch().written(0)
    }

    /// Updates columns of a row and leaves the others as they are; `RowNotFound` when there is none.
    ///
    /// # Errors
    /// See [`Client::update`].
    pub async fn update(&self, key: impl Key, assignments: &[(&str, Assignment<'_>)]) -> Result<Written> {
        self.client.update(self.table(), key, assignments).await
    }

    /// Deletes a row; `RowNotFound` when there is none.
    ///
    /// # Errors
    /// See [`Client::delete`].
    pub async fn delete(&self, key: impl Key) -> Result<Written> {
        self.client.delete(self.table(), key).await
    }

    /// Reads all rows; see [`Client::scan`]. Decode its pages with [`TypedTable::decode`], or use [`TypedTable::find`].
    pub fn scan(&self) -> Scan {
        self.client.scan(self.table())
    }

    /// Reads the rows that meet a condition, in no particular order; the nodes evaluate it.
    ///
    /// ```no_run
    /// # use duet_client::{Row, TypedTable, col};
    /// # #[derive(Row)]
    /// # #[duet(table = "bank.accounts")]
    /// # struct Account { #[duet(key)] number: i64, balance: i64 }
    /// # async fn example(accounts: TypedTable<Account>) -> Result<(), duet_client::Error> {
    /// let mut rich = accounts.find(col("balance").gt(1_000_000)).limit(10);
    /// while let Some(account) = rich.next().await? {
    ///     println!("{}", account.number);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn find(&self, condition: Condition) -> TypedScan<T> {
        TypedScan {
            scan: self.scan().filter(condition),
            mapping: self.mapping.clone(),
            rows: VecDeque::new(),
        }
    }

    /// Reads the rows between two places of an ordered index: of the primary key, or with [`TypedRange::index`] of a
    /// secondary one. What it takes is that of [`Range`].
    ///
    /// ```no_run
    /// # use duet_client::{Row, TypedTable};
    /// # #[derive(Row)]
    /// # #[duet(table = "bank.accounts")]
    /// # struct Account { #[duet(key)] number: i64, #[duet(index)] balance: i64 }
    /// # async fn example(accounts: TypedTable<Account>) -> Result<(), duet_client::Error> {
    /// let richest = accounts.range().index("balance").from(1_000_000).reverse().limit(10).rows().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn range(&self) -> TypedRange<T> {
        let range = self.client.range(self.table());
        TypedRange { range, mapping: self.mapping.clone(), rows: VecDeque::new() }
    }
}

/// The rows of [`TypedTable::range`]; see [`Range`].
pub struct TypedRange<T> {
    range: Range,
    mapping: Mapping<T>,
    rows: VecDeque<T>,
}

impl<T> std::fmt::Debug for TypedRange<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TypedRange").field(&self.mapping.table).finish()
    }
}

impl<T: TableRow> TypedRange<T> {
    fn with(mut self, change: impl FnOnce(Range) -> Range) -> TypedRange<T> {
        self.range = change(self.range);
        self
    }

    /// The secondary index of this name in place of the primary key.
    #[must_use]
    pub fn index(self, name: &str) -> TypedRange<T> {
        self.with(|range| range.index(name))
    }

    /// Only rows that are not less than this.
    #[must_use]
    pub fn from(self, bound: impl Bound) -> TypedRange<T> {
        self.with(|range| range.from(bound))
    }

    /// Only rows that are greater than this.
    #[must_use]
    pub fn after(self, bound: impl Bound) -> TypedRange<T> {
        self.with(|range| range.after(bound))
    }

    /// Only rows that are not greater than this.
    #[must_use]
    pub fn to(self, bound: impl Bound) -> TypedRange<T> {
        self.with(|range| range.to(bound))
    }

    /// Only rows that are less than this.
    #[must_use]
    pub fn before(self, bound: impl Bound) -> TypedRange<T> {
        self.with(|range| range.before(bound))
    }

    /// Only rows that are equal to this.
    #[must_use]
    pub fn prefix(self, bound: impl Bound) -> TypedRange<T> {
        self.with(|range| range.prefix(bound))
    }

    /// Rows in the order of the index.
    #[must_use]
    pub fn ordered(self) -> TypedRange<T> {
        self.with(Range::ordered)
    }

    /// Rows in the opposite of the order of the index.
    #[must_use]
    pub fn reverse(self) -> TypedRange<T> {
        self.with(Range::reverse)
    }

    /// At most so many rows: the first ones in the order that was asked for, any ones without.
    #[must_use]
    pub fn limit(self, rows: u64) -> TypedRange<T> {
        self.with(|range| range.limit(rows))
    }

    /// Only rows that meet this condition, and those of filters before; see [`col`](crate::col).
    #[must_use]
    pub fn filter(self, condition: Condition) -> TypedRange<T> {
        self.with(|range| range.filter(condition))
    }

    /// The next row; `None` at the end of the range.
    ///
    /// # Errors
    /// See [`Range::next`] and [`TypedTable::decode`].
    pub async fn next(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Ok(Some(row));
            }
            let (mapping, mut page) = (&self.mapping, Vec::new());
            if !self.range.next_page(|_, view| page.push(mapping.decode(&view))).await? {
                return Ok(None);
            }
            for row in page {
                self.rows.push_back(row?);
            }
        }
    }

    /// All rows that are left. The caller answers for the memory.
    ///
    /// # Errors
    /// See [`TypedRange::next`].
    pub async fn rows(mut self) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            rows.push(row);
        }
        Ok(rows)
    }
}

/// The rows of [`TypedTable::find`].
pub struct TypedScan<T> {
    scan: Scan,
    mapping: Mapping<T>,
    rows: VecDeque<T>,
}

impl<T> std::fmt::Debug for TypedScan<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TypedScan").field(&self.mapping.table).finish()
    }
}

impl<T: TableRow> TypedScan<T> {
    /// At most so many rows; which ones is not promised.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> TypedScan<T> {
        self.scan = self.scan.limit(rows);
        self
    }

    /// The next row; `None` at the end of the table.
    ///
    /// # Errors
    /// See [`Scan::next`] and [`TypedTable::decode`].
    pub async fn next(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Ok(Some(row));
            }
            let (mapping, mut page) = (&self.mapping, Vec::new());
            if !self.scan.next_page(|_, view| page.push(mapping.decode(&view))).await? {
                return Ok(None);
            }
            for row in page {
                self.rows.push_back(row?);
            }
        }
    }

    /// All rows that are left. The caller answers for the memory.
    ///
    /// # Errors
    /// See [`TypedScan::next`].
    pub async fn rows(mut self) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            rows.push(row);
        }
        Ok(rows)
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
