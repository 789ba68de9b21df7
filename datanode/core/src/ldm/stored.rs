//! The rows of a table in a fragment, with all their indexes.
//!
//! Rows are in the hash index by their primary keys, and images of rows in ordered indexes by theirs. Writes maintain both
//! in two steps, the same at the primary and at the backup:
//!
//! 1. *Enter*, before anything is sent or promised: the new image gets entries in the ordered indexes, beside those of the
//!    committed row. Only this needs memory, so only this can be refused. Nobody sees the image before its state says so.
//! 2. *Put* when it is committed: the entries of the row before are taken out, and the image becomes the row; or *leave* when
//!    it is not: the entries of the image are taken out.
//!
//! An image has entries only where its key differs from that of the committed row: an update that changes no indexed column
//! touches no ordered index, neither when it is entered nor, as long as the row keeps its size, when it is put, because the
//! image is then copied to where the row is.

use crate::ldm::build::Building;
use crate::map::{LocalIndex, LocalTable};
use duet_memory::{
    Arena, HashIndex, InsertError, OrderedIndex, OutOfMemory, Position, Priority, RowHandle, RowKeys,
};
use duet_protocol::hash::key_hash;
use duet_protocol::key::IndexLayout;
use duet_protocol::row::RowView;
use duet_protocol::schema::IndexState;
use std::cell::RefCell;
use std::sync::Arc;

/// The rows of a table in a fragment, with all their indexes.
#[derive(Debug)]
pub struct StoredTable {
    /// Rows, locks on absent rows and pending inserts by primary key.
    pub rows: HashIndex,
    /// Images of rows by the keys of the ordered indexes.
    pub ordered: Vec<StoredIndex>,
}

/// An ordered index of a fragment.
#[derive(Debug)]
pub struct StoredIndex {
    /// Its number; that of the primary key is [`duet_protocol::schema::PRIMARY_KEY_INDEX`].
    pub id: u32,
    layout: Arc<IndexLayout>,
    tree: OrderedIndex,
    /// While it is being built.
    pub(super) building: Option<Building>,
    /// Buffers for keys that are being compared.
    spare: RefCell<Vec<Vec<u8>>>,
}

/// The keys of an ordered index, made of the rows.
struct IndexKeys<'a> {
    table: &'a LocalTable,
    index: &'a IndexLayout,
    spare: &'a RefCell<Vec<Vec<u8>>>,
}

impl IndexKeys<'_> {
    /// The key of a row in a buffer, which should be given back.
    fn key(&self, arena: &Arena, row: RowHandle) -> Vec<u8> {
        let row = arena.row(row);
        let view = RowView::new(self.table.layouts.of_row(row.table_version()), row.key, row.value);
        let mut key = self.spare.borrow_mut().pop().unwrap_or_default();
        key.clear();
        self.index.append_key(&view, &mut key);
        key
    }

    fn give_back(&self, key: Vec<u8>) {
        self.spare.borrow_mut().push(key);
    }
}

impl RowKeys for IndexKeys<'_> {
    #[inline]
    fn with_key<R>(&self, arena: &Arena, row: RowHandle, read: impl FnOnce(&[u8]) -> R) -> R {
        if self.index.is_primary() {
            return read(arena.key(row));
        }
        let key = self.key(arena, row);
        let result = read(&key);
        self.give_back(key);
        result
    }
}

impl StoredIndex {
    fn new(index: &LocalIndex) -> StoredIndex {
        let spare = RefCell::default();
        let (id, layout) = (index.id, Arc::clone(&index.layout));
        StoredIndex { id, layout, tree: OrderedIndex::unique(), building: None, spare }
    }

    /// Its nodes, of an index that is gone.
    pub(super) fn into_tree(self) -> OrderedIndex {
        self.tree
    }

    /// There is no memory for it: it is empty from now on. Its nodes until now.
    pub(super) fn give_up(&mut self) -> OrderedIndex {
        self.building = Some(Building::GivenUp);
        std::mem::replace(&mut self.tree, OrderedIndex::unique())
    }

    fn is_given_up(&self) -> bool {
        self.building == Some(Building::GivenUp)
    }

    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.tree.len()
    }

    /// Calls `read` with the key of a row.
    pub fn with_key<R>(
        &self,
        arena: &Arena,
        table: &LocalTable,
        row: RowHandle,
        read: impl FnOnce(&[u8]) -> R,
    ) -> R {
        self.keys(table).with_key(arena, row, read)
    }

    /// The images between two places, those that are not visible included.
    pub fn range<'arena>(
        &self,
        arena: &'arena Arena,
        table: &LocalTable,
        from: Position<'_>,
        to: Position<'_>,
    ) -> duet_memory::Range<'arena> {
        self.tree.range(arena, &self.keys(table), from, to)
    }

    fn keys<'a>(&'a self, table: &'a LocalTable) -> IndexKeys<'a> {
        IndexKeys { table, index: &self.layout, spare: &self.spare }
    }

    /// Whether two images of a row have the same key.
    pub(super) fn is_same(
        &self,
        arena: &Arena,
        table: &LocalTable,
        left: RowHandle,
        right: RowHandle,
    ) -> bool {
        if self.layout.is_primary() {
            return true;
        }
        let keys = self.keys(table);
        let (left, right) = (keys.key(arena, left), keys.key(arena, right));
        let is_same = left == right;
        keys.give_back(left);
        keys.give_back(right);
        is_same
    }

    pub(super) fn insert(
        &mut self,
        arena: &mut Arena,
        table: &LocalTable,
        row: RowHandle,
    ) -> Result<(), OutOfMemory> {
        if self.is_given_up() {
            return Ok(());
        }
        let keys = IndexKeys { table, index: &self.layout, spare: &self.spare };
        let key = keys.key(arena, row);
        let inserted = self.tree.insert(arena, &keys, &key, row, Priority::Normal);
        keys.give_back(key);
        match inserted {
            Ok(()) => Ok(()),
            Err(InsertError::OutOfMemory(error)) => Err(error),
            // A row that was written since the building began is entered already.
            Err(InsertError::Duplicate(other)) if other == row && self.building.is_some() => Ok(()),
            Err(InsertError::Duplicate(other)) => {
                unreachable!("index {}: the key of {row:?} is that of {other:?}", self.id)
            }
            Err(InsertError::KeyTooLong(bytes)) => {
                unreachable!("index {}: a key of {bytes} bytes fits no definition", self.id)
            }
        }
    }

    fn remove(&mut self, arena: &mut Arena, table: &LocalTable, row: RowHandle) {
        let keys = IndexKeys { table, index: &self.layout, spare: &self.spare };
        let key = keys.key(arena, row);
        let removed = self.tree.remove(arena, &keys, &key, row);
        keys.give_back(key);
        assert!(removed || self.building.is_some(), "index {}: {row:?} has an entry", self.id);
    }

    fn replace(&mut self, arena: &mut Arena, table: &LocalTable, old: RowHandle, new: RowHandle) {
        let keys = IndexKeys { table, index: &self.layout, spare: &self.spare };
        let key = keys.key(arena, new);
        let replaced = self.tree.replace(arena, &keys, &key, old, new, Priority::Normal);
        keys.give_back(key);
        let there = replaced.is_ok_and(|there| there);
        assert!(there || self.building.is_some(), "index {}: {old:?} has an entry", self.id);
    }
}

impl StoredTable {
    /// A table without rows and ordered indexes.
    pub fn new() -> StoredTable {
        StoredTable { rows: HashIndex::new(key_hash), ordered: Vec::new() }
    }

    /// Adds the ordered indexes that are not there.
    pub fn ensure_indexes(&mut self, indexes: &[LocalIndex]) {
        for index in indexes {
            if !self.ordered.iter().any(|stored| stored.id == index.id) {
                let mut new = StoredIndex::new(index);
                let is_built = index.state != IndexState::WriteOnly && self.rows.is_empty();
                new.building = (!is_built).then_some(Building::New);
                self.ordered.push(new);
            }
        }
    }

    /// The ordered index with this number.
    pub fn index(&self, id: u32) -> Option<&StoredIndex> {
        self.ordered.iter().find(|index| index.id == id)
    }

    /// Adds an image of a row that is not there, to all indexes.
    ///
    /// # Errors
    /// When there is no memory; nothing is changed then.
    pub fn insert(
        &mut self,
        arena: &mut Arena,
        table: &LocalTable,
        hash: u64,
        image: RowHandle,
    ) -> Result<(), OutOfMemory> {
        self.enter(arena, table, None, None, image)?;
        let inserted = self.rows.insert(arena, hash, image, Priority::Normal);
        if inserted.is_err() {
            self.leave(arena, table, None, image);
        }
        inserted
    }

    /// Adds an image to the ordered indexes: the one that a row will be, in place of `older`, which it was to be before.
    ///
    /// # Errors
    /// When there is no memory; nothing is changed then.
    #[inline]
    pub fn enter(
        &mut self,
        arena: &mut Arena,
        table: &LocalTable,
        committed: Option<RowHandle>,
        older: Option<RowHandle>,
        image: RowHandle,
    ) -> Result<(), OutOfMemory> {
        if committed.is_some() && !table.orders_columns {
            return Ok(());
        }
        self.enter_changed(arena, table, committed, older, image)
    }

    fn enter_changed(
        &mut self,
        arena: &mut Arena,
        table: &LocalTable,
        committed: Option<RowHandle>,
        older: Option<RowHandle>,
        image: RowHandle,
    ) -> Result<(), OutOfMemory> {
        // Where the entry of the image is neither that of the row nor that of the image before.
        let is_new = |index: &StoredIndex, arena: &Arena| {
            let differs = |other| !index.is_same(arena, table, other, image);
            committed.is_none_or(differs) && older.is_none_or(differs)
        };
        for number in 0..self.ordered.len() {
            if is_new(&self.ordered[number], arena)
                && let Err(error) = self.ordered[number].insert(arena, table, image)
            {
                for index in &mut self.ordered[..number] {
                    if is_new(index, arena) {
                        index.remove(arena, table, image);
                    }
                }
                return Err(error);
            }
        }
        let Some(older) = older else { return Ok(()) };
        for index in &mut self.ordered {
            if committed.is_none_or(|row| !index.is_same(arena, table, row, older)) {
                if index.is_same(arena, table, older, image) {
                    index.replace(arena, table, older, image);
                } else {
                    index.remove(arena, table, older);
                }
            }
        }
        Ok(())
    }

    /// Takes an entered image out of the ordered indexes: it will not be the row.
    pub fn leave(
        &mut self,
        arena: &mut Arena,
        table: &LocalTable,
        committed: Option<RowHandle>,
        image: RowHandle,
    ) {
        for index in &mut self.ordered {
            if committed.is_none_or(|row| !index.is_same(arena, table, row, image)) {
                index.remove(arena, table, image);
            }
        }
    }

    /// Makes an entered image, whose header is that of the new row, the row in place of the committed one. What the row
    /// is found by afterwards; the other one of the two handles is free.
    #[inline]
    pub fn put(
        &mut self,
        arena: &mut Arena,
        table: &LocalTable,
        hash: u64,
        row: RowHandle,
        image: RowHandle,
    ) -> RowHandle {
        self.put_but(arena, table, hash, row, image, false)
    }

    /// As [`Self::put`]. With `forgets`, a planted bug of the simulator's tests, the entries of the row before stay.
    #[inline]
    pub fn put_but(
        &mut self,
        arena: &mut Arena,
        table: &LocalTable,
        hash: u64,
        row: RowHandle,
        image: RowHandle,
        forgets: bool,
    ) -> RowHandle {
        if !table.orders_columns && arena.copy_over(row, image) {
            arena.free(image);
            return row;
        }
        self.put_changed(arena, table, hash, row, image, forgets)
    }

    fn put_changed(
        &mut self,
        arena: &mut Arena,
        table: &LocalTable,
        hash: u64,
        row: RowHandle,
        image: RowHandle,
        forgets: bool,
    ) -> RowHandle {
        // Bit n: the image has an entry of its own in index n.
        let mut changed = 0_u64;
        for (number, index) in self.ordered.iter_mut().enumerate() {
            if !index.is_same(arena, table, row, image) {
                changed |= 1 << number;
                if !forgets {
                    index.remove(arena, table, row);
                }
            }
        }
        if !forgets && arena.copy_over(row, image) {
            for (number, index) in self.ordered.iter_mut().enumerate() {
                if changed & 1 << number != 0 {
                    index.replace(arena, table, image, row);
                }
            }
            arena.free(image);
            return row;
        }
        let replaced = self.rows.replace(arena, hash, row, image);
        assert!(replaced, "a row is in the index");
        for (number, index) in self.ordered.iter_mut().enumerate() {
            if changed & 1 << number == 0 {
                index.replace(arena, table, row, image);
            }
        }
        if !forgets {
            arena.free(row);
        }
        image
    }

    /// Makes an entered image the row of a key that had none but an entry in the hash index, which is freed.
    pub fn put_new(&mut self, arena: &mut Arena, hash: u64, absent: RowHandle, image: RowHandle) {
        let replaced = self.rows.replace(arena, hash, absent, image);
        assert!(replaced, "the lock of an absent row is in the index");
        arena.free(absent);
    }

    /// Takes a row, or the image of one that was not to be, out of all indexes and frees it.
    pub fn remove(&mut self, arena: &mut Arena, table: &LocalTable, hash: u64, row: RowHandle) {
        let removed = self.rows.remove(arena, hash, row);
        assert!(removed, "a row is in the index");
        for index in &mut self.ordered {
            index.remove(arena, table, row);
        }
        arena.free(row);
    }

    /// What is wrong with the ordered indexes when no write is on its way: each must be what building it anew from the rows
    /// would give, entry by entry.
    pub fn index_faults(&self, arena: &Arena, table: &LocalTable) -> Vec<String> {
        let mut rows = Vec::new();
        let mut cursor = Some(0);
        while let Some(position) = cursor {
            cursor = self.rows.scan_step(arena, position, |row| rows.push(row));
        }
        let mut faults = Vec::new();
        for index in self.ordered.iter().filter(|index| index.building.is_none()) {
            let key = |row| index.with_key(arena, table, row, <[u8]>::to_vec);
            let mut expected: Vec<(Vec<u8>, RowHandle)> = rows.iter().map(|row| (key(*row), *row)).collect();
            expected.sort_unstable();
            let entries = index.range(arena, table, Position::First, Position::Last);
            let found: Vec<(Vec<u8>, RowHandle)> = entries.map(|row| (key(row), row)).collect();
            if found.len() as u64 != index.len() || found != expected {
                let differs = |at: &usize| found.get(*at) != expected.get(*at);
                let at = (0..found.len().max(expected.len())).find(differs);
                let (found, expected) = (found.len(), expected.len());
                faults.push(format!(
                    "table {}, index {}: {found} entries for {expected} rows, the first that differs is {at:?}",
                    table.id, index.id,
                ));
            }
        }
        faults
    }

    /// Whether nothing has to be freed.
    pub fn is_clear(&self) -> bool {
        self.rows.is_empty() && self.rows.bytes() == 0 && self.ordered.iter().all(|index| index.len() == 0)
    }

    /// Frees up to so many rows, and what the indexes have for as many, of a table that nobody uses any more. True when
    /// nothing is left.
    pub fn clear_step(&mut self, arena: &mut Arena, rows: usize) -> bool {
        /// A leaf has some fifty entries.
        const ROWS_PER_LEAF: usize = 50;
        for index in &mut self.ordered {
            if !index.tree.clear_step(arena, rows.div_ceil(ROWS_PER_LEAF)) {
                return false;
            }
        }
        self.rows.clear_step(arena, rows)
    }
}

impl Default for StoredTable {
    fn default() -> StoredTable {
        StoredTable::new()
    }
}
