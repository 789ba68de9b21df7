//! The ordered index: a B+tree of row handles, owned by one thread.
//!
//! The tree (D. Comer: The ubiquitous B-tree, Computing Surveys 1979) holds no keys but those of its separators. A leaf
//! of 512 bytes has 82 places of six bytes: a row handle and a head of 16 bits, which says where the key lies between
//! the separators around the leaf. Inner nodes of 1 KiB have 62 separators, cut as short as possible, and compare eight
//! bytes after the prefix that all of them share. Heads decide nearly all comparisons; where they are equal, the rows
//! are asked for their keys ([`RowKeys`]). So a lookup usually reads one row, and an insertion none. (P. Bohannon,
//! P. McIlroy, R. Rastogi: Main-memory index structures with fixed-size partial keys, SIGMOD 2001; the bounds give
//! the heads the resolution of an interpolation search.)
//!
//! A full leaf first moves entries to a neighbour and is split when both neighbours are nearly full. At the ends of the
//! tree a leaf is left full and an empty one begun, so ascending keys fill leaves entirely. Halves keep the heads of the
//! whole; they are computed anew, which reads the rows, only when they no longer tell the keys apart. A leaf that became
//! less than half full is merged with a neighbour as soon as both fit into 7/8 of one; inner nodes are merged or
//! balanced. Removing never needs memory.
//!
//! Measured with 4 M rows (`examples/ordered.rs`): 8.3 bytes per row with random keys of 8 bytes, 6.6 with ascending
//! ones. Splitting without the neighbours would make it 9.7 and insertions a fifth cheaper; heads of four bytes would
//! make it more than ten. Rows whose keys differ from their neighbours' only after more than eight bytes have equal
//! heads, so a search reads some more rows (the logarithm of how many are alike).
//!
//! Insertion reserves all the memory it needs before it changes anything. Nothing recurses: the height is bounded.

mod batch;
mod bulk;
mod grow;
mod inner;
mod key;
mod leaf;
mod node;
mod path;
mod range;
mod scale;
mod shrink;
#[cfg(test)]
mod tests;

use crate::arena::{Arena, RowHandle};
use crate::budget::{OutOfMemory, Priority};
use inner::INNER_BYTES;
use key::Target;
use leaf::{LEAF_BYTES, LEAF_ROOM, Leaf};

use scale::insert_into_leaf;

pub use bulk::BulkError;
pub use key::{PrimaryKeys, RowKeys};
pub use range::{Position, Range};

/// The longest key that can be indexed, in bytes.
pub const MAX_KEY_BYTES: usize = u16::MAX as usize;

/// Why an entry could not be inserted; the index is unchanged then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// The key is there already, with this row (in an index that is not unique: the key together with this row).
    #[error("the key is in the index already")]
    Duplicate(RowHandle),
    /// The key has more than [`MAX_KEY_BYTES`].
    #[error("the key has {0} bytes, more than {MAX_KEY_BYTES}")]
    KeyTooLong(usize),
    /// There is no memory.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// An ordered index of rows by their keys. It must always be used with the same arena and the same [`RowKeys`].
///
/// ```
/// use duet_memory::{Arena, ArenaOptions, MemoryBudget, OrderedIndex, Position, PrimaryKeys, Priority};
/// use duet_memory::{RowHandle, RowHeader};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut arena = Arena::new(MemoryBudget::new(64 << 20), ArenaOptions::small(8 << 20))?;
/// let mut index = OrderedIndex::unique();
/// let header = RowHeader { epoch: 1, sequence: 1, table_version: 1, state: 0, older: RowHandle::NULL };
/// for key in [b"pear", b"plum", b"kiwi"] {
///     let row = arena.allocate_row(&header, key, b"value", Priority::Normal)?;
///     index.insert(&mut arena, &PrimaryKeys, key, row, Priority::Normal)?;
/// }
/// let range = index.range(&arena, &PrimaryKeys, Position::Before(b"l"), Position::Last);
/// let keys: Vec<&[u8]> = range.map(|row| arena.key(row)).collect();
/// assert_eq!(keys, [b"pear", b"plum"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OrderedIndex {
    /// Word index of the root; meaningless while the index is empty.
    root: u32,
    /// Levels of inner nodes.
    height: usize,
    entries: u64,
    leaves: u64,
    inners: u64,
    separator_bytes: u64,
    is_unique: bool,
}

impl OrderedIndex {
    /// An empty index in which every key is at most once.
    #[must_use]
    pub fn unique() -> Self {
        Self { root: 0, height: 0, entries: 0, leaves: 0, inners: 0, separator_bytes: 0, is_unique: true }
    }

    /// An empty index in which keys may be equal; their entries are in the order of the row handles.
    ///
    /// When a row gets another handle, it changes its place among equal keys. A scan in slices that must neither miss
    /// nor repeat such a row needs distinct keys: append the primary key.
    #[must_use]
    pub fn with_duplicates() -> Self {
        Self { is_unique: false, ..Self::unique() }
    }

    /// Entries in the index.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.entries
    }

    /// Whether no entry is in the index.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes of all nodes and separators.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.leaves * LEAF_BYTES as u64 + self.inners * INNER_BYTES as u64 + self.separator_bytes
    }

    /// The row with `key`; the one with the smallest handle when there are several.
    #[inline]
    #[must_use]
    pub fn find(&self, arena: &Arena, keys: &impl RowKeys, key: &[u8]) -> Option<RowHandle> {
        if self.is_empty() {
            return None;
        }
        if !self.is_unique {
            return self.range(arena, keys, Position::Before(key), Position::After(key)).next();
        }
        let path = self.descend(arena, Target { key, row: 0 });
        let leaf = arena.leaf(path.leaf);
        find_among(leaf.ties(key), leaf, arena, keys, key)
    }

    /// Adds a row. `key` must be what `keys` gives for it.
    ///
    /// # Errors
    /// When the key is there or too long, or when memory is needed and there is none; the index is unchanged then.
    pub fn insert(
        &mut self,
        arena: &mut Arena,
        keys: &impl RowKeys,
        key: &[u8],
        row: RowHandle,
        priority: Priority,
    ) -> Result<(), InsertError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(InsertError::KeyTooLong(key.len()));
        }
        if self.is_empty() {
            self.root = arena.new_leaf(priority)?;
            self.leaves = 1;
        }
        let target = self.target(key, row);
        loop {
            let path = self.descend(arena, target);
            let index = path.rank(arena, keys, target);
            if let Some(equal) = self.equal_entry(arena, keys, &path, index, key, row) {
                return Err(InsertError::Duplicate(equal));
            }
            if arena.leaf(path.leaf).count() < LEAF_ROOM {
                insert_into_leaf(arena, keys, &path, index, key, row);
                self.entries += 1;
                return Ok(());
            }
            self.make_room(arena, keys, &path, index, target, priority)?;
        }
    }

    /// Takes out the entry of `row`, whose key is `key`. Returns false if it is not there. Needs no memory.
    #[must_use]
    pub fn remove(&mut self, arena: &mut Arena, keys: &impl RowKeys, key: &[u8], row: RowHandle) -> bool {
        let Some((path, place)) = self.locate(arena, key, row) else { return false };
        arena.leaf_mut(path.leaf).remove(place, place + 1);
        self.entries -= 1;
        self.shrink(arena, keys, &path);
        true
    }

    /// Puts the row `new`, whose key is the same, into the place of `old`. Returns false if `old` is not there.
    ///
    /// # Errors
    /// Only in an index with duplicates, where the entry may have to move: when `new` is there already, or when memory
    /// is needed and there is none. The index is unchanged then.
    pub fn replace(
        &mut self,
        arena: &mut Arena,
        keys: &impl RowKeys,
        key: &[u8],
        old: RowHandle,
        new: RowHandle,
        priority: Priority,
    ) -> Result<bool, InsertError> {
        let Some((path, place)) = self.locate(arena, key, old) else { return Ok(false) };
        if self.is_unique {
            arena.leaf_mut(path.leaf).rows_mut()[place] = new.0;
            return Ok(true);
        }
        if old != new {
            self.insert(arena, keys, key, new, priority)?;
            let is_removed = self.remove(arena, keys, key, old);
            debug_assert!(is_removed, "the entry was there just now");
        }
        Ok(true)
    }

    /// Where the entry of a row belongs.
    #[inline(always)]
    fn target<'key>(&self, key: &'key [u8], row: RowHandle) -> Target<'key> {
        Target { key, row: if self.is_unique { 0 } else { row.0.into() } }
    }

    /// Leaf and place of an entry.
    fn locate(&self, arena: &Arena, key: &[u8], row: RowHandle) -> Option<(path::Path, usize)> {
        if self.is_empty() {
            return None;
        }
        let path = self.descend(arena, self.target(key, row));
        let leaf = arena.leaf(path.leaf);
        let (first, end) = leaf.ties(key);
        let place = leaf.rows()[first..end].iter().position(|&other| other == row.0)?;
        Some((path, first + place))
    }

    /// The entry at `index` of a leaf if it forbids to insert `key` and `row` there.
    fn equal_entry(
        &self,
        arena: &Arena,
        keys: &impl RowKeys,
        path: &path::Path,
        index: usize,
        key: &[u8],
        row: RowHandle,
    ) -> Option<RowHandle> {
        let leaf = arena.leaf(path.leaf);
        let other = RowHandle(*leaf.rows().get(index)?);
        if !self.is_unique {
            return (other == row).then_some(other);
        }
        let is_tie = leaf.heads()[index] == leaf.scale().head(key);
        (is_tie && keys.with_key(arena, other, |other| other == key)).then_some(other)
    }
}

/// The row with `key` among those with the same head, in a unique index.
#[inline(always)]
fn find_among(
    (first, end): (usize, usize),
    leaf: &Leaf,
    arena: &Arena,
    keys: &impl RowKeys,
    key: &[u8],
) -> Option<RowHandle> {
    let ties = &leaf.rows()[first..end];
    let compare = |row: u32| keys.with_key(arena, RowHandle(row), |other| other.cmp(key));
    ties.binary_search_by(|&row| compare(row)).ok().map(|place| RowHandle(ties[place]))
}
