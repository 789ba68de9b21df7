//! The batches under way, and the request ids that name their operations.
//!
//! ```text
//! bit 48..64  slot of the batch (all ones: not an operation but a request of the core itself)
//!     20..48  generation of the slot, from 1
//!      6..20  operation in the batch
//!      0..6   attempt: an answer to an earlier one is dropped
//! ```
//! An answer may come long after its operation was given up. It is mistaken for another only if its slot was used
//! exactly a multiple of 2^28 times since, hours later at full speed; by then its link was given up too.

use crate::batch::{Batch, MAX_BATCH_OPERATIONS, Operation, State};

const SLOT_SHIFT: u32 = 48;
const GENERATION_SHIFT: u32 = 20;
const GENERATION_MASK: u64 = (1 << (SLOT_SHIFT - GENERATION_SHIFT)) - 1;
const INDEX_SHIFT: u32 = 6;
const INDEX_MASK: u64 = (1 << (GENERATION_SHIFT - INDEX_SHIFT)) - 1;
const ATTEMPT_MASK: u8 = (1 << INDEX_SHIFT) - 1;
/// Slot of requests that belong to no operation.
const INTERNAL_SLOT: u64 = (1 << (64 - SLOT_SHIFT)) - 1;
const _: () = assert!(MAX_BATCH_OPERATIONS as u64 <= INDEX_MASK + 1);
/// Most batches that request ids can name.
pub(crate) const MAX_SLOTS: usize = INTERNAL_SLOT as usize;

/// The request id of the core's own request with this number.
pub(crate) fn internal_request(number: u64) -> u64 {
    INTERNAL_SLOT << SLOT_SHIFT | number & ((1 << SLOT_SHIFT) - 1)
}

/// Whether a request id is one of the core's own.
#[inline]
pub(crate) fn is_internal(request_id: u64) -> bool {
    request_id >> SLOT_SHIFT == INTERNAL_SLOT
}

/// The id of operation `index` of the batch that has the id `base`, in an attempt.
#[inline]
pub(crate) fn request_id(base: u64, index: usize, attempt: u8) -> u64 {
    base | (index as u64) << INDEX_SHIFT | u64::from(attempt)
}

/// The operation that a request id names within its batch.
#[inline]
pub(crate) fn index_of(request_id: u64) -> usize {
    (request_id >> INDEX_SHIFT & INDEX_MASK) as usize
}

/// The id of the batch that a request id belongs to.
#[inline]
pub(crate) fn base_of(request_id: u64) -> u64 {
    request_id >> GENERATION_SHIFT << GENERATION_SHIFT
}

/// The attempt that a request id names.
#[inline]
fn attempt_of(request_id: u64) -> u8 {
    request_id as u8 & ATTEMPT_MASK
}

/// The attempt after this one.
#[inline]
pub(crate) fn next_attempt(attempt: u8) -> u8 {
    attempt.wrapping_add(1) & ATTEMPT_MASK
}

#[derive(Debug, Default)]
struct Entry {
    generation: u64,
    batch: Option<Box<Batch>>,
}

/// A slab of batches.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Operations not completed, of all batches.
    pub(crate) operations: usize,
}

impl Batches {
    /// Number of batches under way.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Reserves a slot and returns the base of its request ids.
    pub(crate) fn reserve(&mut self) -> u64 {
        let slot = self.free.pop().unwrap_or_else(|| {
            assert!(self.entries.len() < MAX_SLOTS, "the number of batches is bounded below the slots");
            self.entries.push(Entry::default());
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[slot as usize];
        entry.generation = (entry.generation % GENERATION_MASK) + 1;
        u64::from(slot) << SLOT_SHIFT | entry.generation << GENERATION_SHIFT
    }

    /// Puts a batch into a reserved slot.
    pub(crate) fn put(&mut self, base: u64, batch: Box<Batch>) {
        let entry = &mut self.entries[(base >> SLOT_SHIFT) as usize];
        debug_assert!(entry.batch.is_none(), "the slot was reserved");
        entry.batch = Some(batch);
    }

    /// Takes a batch out, ending its slot's generation.
    pub(crate) fn remove(&mut self, base: u64) -> Option<Box<Batch>> {
        let slot = base >> SLOT_SHIFT;
        let batch = self.entries.get_mut(slot as usize)?.batch.take()?;
        self.free.push(slot as u32);
        Some(batch)
    }

    /// The batch of a request id, if it is still under way.
    #[inline]
    pub(crate) fn batch(&mut self, request_id: u64) -> Option<&mut Batch> {
        let entry = self.entries.get_mut((request_id >> SLOT_SHIFT) as usize)?;
        if entry.generation != request_id >> GENERATION_SHIFT & GENERATION_MASK {
            return None;
        }
        entry.batch.as_deref_mut()
    }

    /// The batch and operation of a request id, if that very attempt is in `state`.
    #[inline]
    pub(crate) fn find(&mut self, request_id: u64, state: State) -> Option<(&mut Batch, usize)> {
        let index = index_of(request_id);
        let batch = self.batch(request_id)?;
        let operation = batch.operations.get(index)?;
        if operation.attempt != attempt_of(request_id) || operation.state != state {
            return None;
        }
        Some((batch, index))
    }

    /// Whether the operation still waits.
    pub(crate) fn is_waiting(&self, request_id: u64) -> bool {
        let Some(entry) = self.entries.get((request_id >> SLOT_SHIFT) as usize) else { return false };
        let Some(batch) = &entry.batch else { return false };
        entry.generation == request_id >> GENERATION_SHIFT & GENERATION_MASK
            && batch.operations.get(index_of(request_id)).is_some_and(|operation: &Operation| {
                operation.attempt == attempt_of(request_id) && operation.state == State::Waiting
            })
    }

    /// All batches under way with the base of their request ids, in order of their slots.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Batch)> {
        self.entries.iter_mut().enumerate().filter_map(|(slot, entry)| {
            let base = (slot as u64) << SLOT_SHIFT | entry.generation << GENERATION_SHIFT;
            entry.batch.as_deref_mut().map(|batch| (base, batch))
        })
    }
}
