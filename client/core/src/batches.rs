//! The batches under way, and the request ids that name their operations.
//!
//! ```text
//! bit 44..64  slot of the batch (all ones: not an operation but a request of the core itself)
//!     24..44  generation of the slot, from 1
//!      8..24  operation in the batch
//!      0..8   attempt: an answer to an earlier one is dropped
//! ```

use crate::batch::{Batch, Operation, State};

const SLOT_SHIFT: u32 = 44;
const GENERATION_SHIFT: u32 = 24;
const GENERATION_MASK: u64 = (1 << 20) - 1;
const INDEX_SHIFT: u32 = 8;
/// Slot of requests that belong to no operation.
const INTERNAL_SLOT: u64 = (1 << 20) - 1;
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
    (request_id >> INDEX_SHIFT) as u16 as usize
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
        if operation.attempt != request_id as u8 || operation.state != state {
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
                operation.attempt == request_id as u8 && operation.state == State::Waiting
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
