//! Rows as Rust structs, for the blocking client.

use super::Client;
use crate::client::{OPEN_TRIES, OPEN_WAIT, unexpected};
use crate::mapping::{Mapping, checked_definition};
use crate::{
    Assignment, Batch, ErrorCode, Expectation, Key, Reply, Result, RowVersion, RowView, Table, TableRow,
    Written,
};
use duet_client_core::MAX_BATCH_OPERATIONS;

/// A table whose rows are `T`s, for the blocking client, which every operation is given.
///
/// ```no_run
/// use duet_client::{Row, blocking::Client};
///
/// #[derive(Row, Debug)]
/// #[duet(table = "shop.customers")]
/// struct Customer {
///     #[duet(key)]
///     id: i64,
///     name: String,
/// }
///
/// let mut client = Client::connect("127.0.0.1:4567")?;
/// let customers = client.open_or_create_typed_table::<Customer>()?;
/// customers.upsert(&mut client, &Customer { id: 7, name: "Ada".to_owned() })?;
/// println!("{:?}", customers.get(&mut client, 7_i64)?);
/// # Ok::<(), duet_client::Error>(())
/// ```
///
/// What holds for structs with only some of the columns is at [`crate::TypedTable`].
#[derive(Clone)]
pub struct TypedTable<T> {
    mapping: Mapping<T>,
}

impl<T> std::fmt::Debug for TypedTable<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TypedTable").field(&self.mapping.table).finish()
    }
}

impl Client {
    /// The table of a row type, which must fit it; see [`crate::Client::typed_table`].
    ///
    /// # Errors
    /// `TableNotFound`; `InvalidSchema` when the struct does not fit the table.
    pub fn typed_table<T: TableRow>(&mut self) -> Result<TypedTable<T>> {
        let definition = T::definition()?;
        let table = self.table(&format!("{}.{}", definition.database, definition.name))?;
        Ok(TypedTable { mapping: Mapping::new(table)? })
    }

    /// Creates the table of a row type, which must not exist yet; see [`crate::Client::create_typed_table`].
    ///
    /// # Errors
    /// See [`Client::create_table`]; `InvalidSchema` when a field cannot hold the column that it describes.
    pub fn create_typed_table<T: TableRow>(&mut self) -> Result<TypedTable<T>> {
        let table = self.create_table(&checked_definition::<T>()?)?;
        Ok(TypedTable { mapping: Mapping::new(table)? })
    }

    /// Opens the table of a row type, or creates it when there is none.
    ///
    /// # Errors
    /// See [`Client::typed_table`] and [`Client::create_typed_table`].
    pub fn open_or_create_typed_table<T: TableRow>(&mut self) -> Result<TypedTable<T>> {
        for _ in 0..OPEN_TRIES {
            match self.typed_table() {
                Err(error) if error.is(ErrorCode::TableNotFound) => {}
                opened => return opened,
            }
            match self.create_typed_table() {
                Err(error) if error.is(ErrorCode::TableExists) => std::thread::sleep(OPEN_WAIT),
                created => return created,
            }
        }
        self.typed_table()
    }
}

impl<T: TableRow> TypedTable<T> {
    pub(super) fn encode_whole<'r>(&'r self, row: &'r T) -> Result<Vec<crate::ValueRef<'r>>> {
        self.mapping.encode_whole(row)
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.mapping.table
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
    /// See [`Client::get`].
    pub fn get(&self, client: &mut Client, key: impl Key) -> Result<Option<T>> {
        Ok(self.get_versioned(client, key)?.map(|(row, _)| row))
    }

    /// Reads a row with its version.
    ///
    /// # Errors
    /// See [`Client::get`].
    pub fn get_versioned(&self, client: &mut Client, key: impl Key) -> Result<Option<(T, RowVersion)>> {
        client.single(|batch| batch.read(self.table(), &key), |batch| self.read(batch, 0))
    }

    /// The row that a batch has read.
    fn read(&self, batch: &Batch, index: usize) -> Result<Option<(T, RowVersion)>> {
        match batch.reply(index)? {
            Reply::Row { version, row } => Ok(Some((self.decode(&row)?, version))),
            Reply::NoRow => Ok(None),
            Reply::Written(_) | Reply::Page(_) | Reply::Resolved(_) | Reply::Ended(_) => Err(unexpected()),
        }
    }

    /// Reads many rows at once, in the order of their keys.
    ///
    /// # Errors
    /// The first error.
    pub fn get_many<K: Key>(
        &self,
        client: &mut Client,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<T>>> {
        let mut rows = Vec::new();
        client.read_each(self.table(), keys, |batch, index| {
            rows.push(self.read(batch, index)?.map(|(row, _)| row));
            Ok(())
        })?;
        Ok(rows)
    }

    /// Inserts a row; see [`crate::TypedTable::insert`].
    ///
    /// # Errors
    /// See [`crate::TypedTable::insert`].
    pub fn insert(&self, client: &mut Client, row: &T) -> Result<Written> {
        let values = self.mapping.encode_new(row)?;
        client.single(|batch| batch.insert(self.table(), &values), |batch| batch.written(0))
    }

    /// Inserts a row or replaces the one with its key; see [`crate::TypedTable::upsert`].
    ///
    /// # Errors
    /// See [`crate::TypedTable::upsert`].
    pub fn upsert(&self, client: &mut Client, row: &T) -> Result<Written> {
        self.replace(client, row, Expectation::Any)
    }

    /// Replaces a row if it still has the version that was read; else `VersionMismatch`.
    ///
    /// # Errors
    /// See [`crate::TypedTable::replace_if_version`].
    pub fn replace_if_version(&self, client: &mut Client, row: &T, version: RowVersion) -> Result<Written> {
        self.replace(client, row, Expectation::Version(version))
    }

    fn replace(&self, client: &mut Client, row: &T, expectation: Expectation) -> Result<Written> {
        let values = self.mapping.encode_whole(row)?;
        client.single(|batch| batch.upsert(self.table(), &values, expectation), |batch| batch.written(0))
    }

    /// Upserts many rows at once; see [`crate::TypedTable::upsert_many`].
    ///
    /// # Errors
    /// The first error; rows before and after it may have been written.
    pub fn upsert_many<'r>(&self, client: &mut Client, rows: impl IntoIterator<Item = &'r T>) -> Result<()>
    where
        T: 'r,
    {
        let mut batch = Batch::new();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            batch.clear();
            for row in rows.by_ref().take(MAX_BATCH_OPERATIONS) {
                batch.upsert(self.table(), &self.mapping.encode_whole(row)?, Expectation::Any)?;
            }
            client.execute(&mut batch);
            for index in 0..batch.len() {
                batch.written(index)?;
            }
        }
        Ok(())
    }

    /// Updates columns of a row and leaves the others as they are; `RowNotFound` when there is none.
    ///
    /// # Errors
    /// See [`Client::update`].
    pub fn update(
        &self,
        client: &mut Client,
        key: impl Key,
        assignments: &[(&str, Assignment<'_>)],
    ) -> Result<Written> {
        client.update(self.table(), key, assignments)
    }

    /// Deletes a row; `RowNotFound` when there is none.
    ///
    /// # Errors
    /// See [`Client::delete`].
    pub fn delete(&self, client: &mut Client, key: impl Key) -> Result<Written> {
        client.delete(self.table(), key)
    }

    /// Hands every row to `read`, in no particular order.
    ///
    /// # Errors
    /// When a page cannot be read in time, or what `read` returns.
    pub fn scan(&self, client: &mut Client, mut read: impl FnMut(RowVersion, T) -> Result<()>) -> Result<()> {
        client.scan(self.table(), |version, view| read(version, self.decode(&view)?))
    }
}
