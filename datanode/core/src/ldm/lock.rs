//! Row locks of transactions.
//!
//! A lock is found through its row: the state says that there is one, the `older` field holds its number. A key without a
//! row gets an invisible one for as long as it is locked. So rows without locks cost nothing, and a one-pass write, which
//! must look at the state anyway, meets the same queue as everybody else.

use crate::ldm::queue::QueueEnds;
use duet_memory::RowHandle;

/// Most row locks of one LDM.
pub const MAX_LOCKS: usize = 262_144;

/// What the holder of an exclusive lock has done to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The row will be this image.
    Put(RowHandle),
    /// The row will be removed.
    Delete,
}

impl Change {
    /// The image that the row will be.
    pub fn image(self) -> Option<RowHandle> {
        match self {
            Change::Put(image) => Some(image),
            Change::None | Change::Delete => None,
        }
    }
}

/// Where a row belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Partition.
    pub partition: u16,
    /// Slot of the table.
    pub table: usize,
    /// Table id.
    pub table_id: u32,
    /// Hash of the primary key.
    pub hash: u64,
}

/// One locked row.
#[derive(Debug)]
pub struct RowLock {
    /// Where the row belongs.
    pub place: Place,
    /// Version of the table that the change follows.
    pub table_version: u16,
    /// The row in the index, visible or not; null when its removal was committed.
    pub row: RowHandle,
    /// Whether the only holder has the row for itself.
    pub exclusive: bool,
    /// Participants that hold the lock.
    pub holders: Vec<u32>,
    /// What the holder of an exclusive lock has done.
    pub change: Change,
    /// Position of the prepared change.
    pub position: u64,
    /// Requests that wait.
    pub waiting: QueueEnds,
}

/// All row locks of an LDM.
#[derive(Debug, Default)]
pub struct LockTable {
    locks: Vec<RowLock>,
    free: Vec<u32>,
}

impl LockTable {
    /// Number of locks held.
    pub fn len(&self) -> usize {
        self.locks.len() - self.free.len()
    }

    /// Whether no further lock can be taken.
    pub fn is_full(&self) -> bool {
        self.len() >= MAX_LOCKS
    }

    /// A new lock on `row`, held by one participant; its number.
    pub fn add(&mut self, place: Place, row: RowHandle, holder: u32, exclusive: bool) -> u32 {
        let new = |holders| RowLock {
            place,
            table_version: 0,
            row,
            exclusive,
            holders,
            change: Change::None,
            position: 0,
            waiting: QueueEnds::EMPTY,
        };
        let Some(index) = self.free.pop() else {
            self.locks.push(new(vec![holder]));
            return (self.locks.len() - 1) as u32;
        };
        let lock = &mut self.locks[index as usize];
        let mut holders = std::mem::take(&mut lock.holders);
        holders.clear();
        holders.push(holder);
        *lock = new(holders);
        index
    }

    /// A lock.
    pub fn get(&self, number: u32) -> &RowLock {
        &self.locks[number as usize]
    }

    /// A lock, to be changed.
    pub fn get_mut(&mut self, number: u32) -> &mut RowLock {
        &mut self.locks[number as usize]
    }

    /// The images that rows of a table in a partition are to be, each with the row of the lock.
    pub fn images(&self, partition: u16, table: usize) -> impl Iterator<Item = (RowHandle, RowHandle)> {
        let here = move |lock: &&RowLock| lock.place.partition == partition && lock.place.table == table;
        self.locks.iter().filter(here).filter_map(|lock| match lock.change {
            Change::Put(image) => Some((lock.row, image)),
            Change::None | Change::Delete => None,
        })
    }

    /// Whether somebody holds a shared lock on a row of a table: entries of unique indexes are so locked only by look-ups.
    pub fn has_shared(&self, of: impl Fn(usize) -> bool) -> bool {
        let shared = |lock: &RowLock| !lock.exclusive && !lock.holders.is_empty() && of(lock.place.table);
        self.locks.iter().any(shared)
    }

    /// Forgets a lock that nobody holds or waits for.
    pub fn remove(&mut self, number: u32) {
        debug_assert!(self.locks[number as usize].waiting.is_empty(), "nobody waits for a lock that is gone");
        self.free.push(number);
    }
}

/// The `older` field of a row with this lock.
pub fn lock_handle(number: u32) -> RowHandle {
    RowHandle::from_u32(number)
}
