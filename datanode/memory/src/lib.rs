//! Arenas, row slots and the indexes of a Duet data node.
//!
//! Rows and indexes belong to one thread at a time and are reached through `&` and `&mut`: no locks, no latches. What
//! a node's threads share is the [`MemoryBudget`], from which each [`Arena`] takes pages, and the [`SectionPool`],
//! whose buffers move between them. Rows and index buckets live in the arena and are named by 32-bit handles.
//!
//! ```
//! use duet_memory::{Arena, ArenaOptions, HashIndex, MemoryBudget, Priority, RowHandle, RowHeader};
//!
//! # fn main() -> Result<(), duet_memory::OutOfMemory> {
//! fn hash(key: &[u8]) -> u64 {
//!     key.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
//! }
//! let budget = MemoryBudget::new(64 << 20);
//! let mut arena = Arena::new(budget, ArenaOptions::small(8 << 20))?;
//! let mut index = HashIndex::new(hash);
//! let header = RowHeader { epoch: 1, sequence: 7, table_version: 1, state: 0, older: RowHandle::NULL };
//! let row = arena.allocate_row(&header, b"key", b"value", Priority::Normal)?;
//! index.insert(&mut arena, hash(b"key"), row, Priority::Normal)?;
//! let found = index.find(&arena, hash(b"key"), b"key").expect("just inserted");
//! assert_eq!(arena.row(found).value, b"value");
//! # Ok(())
//! # }
//! ```

mod arena;
mod budget;
mod index;
mod ordered;
mod prefetch;
mod preparer;
mod reservation;
mod row;
mod section;
mod size_class;

pub use arena::{Arena, ArenaOptions, RowHandle};
pub use budget::{MemoryBudget, OutOfMemory, Priority};
pub use index::{HashIndex, Probe};
pub use ordered::{
    BulkError, InsertError, MAX_KEY_BYTES, OrderedIndex, Position, PrimaryKeys, Range, RowKeys,
};
pub use preparer::MemoryPreparer;
pub use row::{MAX_ROW_BYTES, ROW_HEADER_BYTES, RowHeader, RowView};
pub use section::{Section, SectionMut, SectionPool};
pub use size_class::PAGE_BYTES;
