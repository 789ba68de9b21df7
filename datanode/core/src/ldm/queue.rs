//! Writes that wait for a locked row: bounded queues per row, threaded through one bounded pool.

use crate::outbox::ReplyTo;

/// Most writes that wait for one row.
pub const MAX_WAITING_PER_ROW: u32 = 512;
/// Most writes that wait in one LDM.
const MAX_WAITING: usize = 16_384;
/// Most bytes that waiting writes hold in one LDM.
const MAX_WAITING_BYTES: usize = 32 << 20;
/// Buffers larger than this are not kept for the next waiting write.
const SPARE_BUFFER_BYTES: usize = 4096;
const NONE: u32 = u32::MAX;

/// First and last entry of the queue of one row.
#[derive(Clone, Copy, Debug)]
pub struct QueueEnds {
    first: u32,
    last: u32,
    count: u32,
}

impl QueueEnds {
    /// An empty queue.
    pub const EMPTY: QueueEnds = QueueEnds { first: NONE, last: NONE, count: 0 };
}

/// A waiting write, taken out of its queue.
#[derive(Debug)]
pub struct Waiting {
    /// The whole `Write` signal.
    pub signal: Vec<u8>,
    /// Who asked for it.
    pub reply: ReplyTo,
    /// Slot of the table.
    pub table: usize,
    /// Hash of the primary key.
    pub hash: u64,
}

#[derive(Debug)]
struct Entry {
    waiting: Waiting,
    next: u32,
}

/// The pool of all waiting writes of an LDM.
#[derive(Debug, Default)]
pub struct WaitQueue {
    entries: Vec<Entry>,
    free: Vec<u32>,
    bytes: usize,
}

impl WaitQueue {
    /// Number of waiting writes.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Appends a write to a row's queue. False when the row's queue or the pool is full.
    #[must_use]
    pub fn push(
        &mut self,
        ends: &mut QueueEnds,
        signal: &[u8],
        reply: ReplyTo,
        table: usize,
        hash: u64,
    ) -> bool {
        let full = ends.count >= MAX_WAITING_PER_ROW
            || self.len() >= MAX_WAITING
            || self.bytes + signal.len() > MAX_WAITING_BYTES;
        if full {
            return false;
        }
        self.bytes += signal.len();
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let waiting = Waiting { signal: Vec::new(), reply, table, hash };
                self.entries.push(Entry { waiting, next: NONE });
                (self.entries.len() - 1) as u32
            }
        };
        let entry = &mut self.entries[index as usize];
        entry.next = NONE;
        entry.waiting.signal.extend_from_slice(signal);
        entry.waiting.reply = reply;
        entry.waiting.table = table;
        entry.waiting.hash = hash;
        if ends.first == NONE {
            ends.first = index;
        } else {
            self.entries[ends.last as usize].next = index;
        }
        ends.last = index;
        ends.count += 1;
        true
    }

    /// Takes the first write of a queue out; give it back with [`WaitQueue::recycle`].
    pub fn pop(&mut self, ends: &mut QueueEnds) -> Option<(u32, Waiting)> {
        if ends.first == NONE {
            return None;
        }
        let index = ends.first;
        let entry = &mut self.entries[index as usize];
        ends.first = entry.next;
        ends.count -= 1;
        if ends.first == NONE {
            ends.last = NONE;
        }
        let waiting = Waiting {
            signal: std::mem::take(&mut entry.waiting.signal),
            reply: entry.waiting.reply,
            table: entry.waiting.table,
            hash: entry.waiting.hash,
        };
        self.bytes -= waiting.signal.len();
        Some((index, waiting))
    }

    /// Gives the place and the buffer of a taken write back.
    pub fn recycle(&mut self, index: u32, waiting: Waiting) {
        let mut signal = waiting.signal;
        if signal.capacity() <= SPARE_BUFFER_BYTES {
            signal.clear();
            self.entries[index as usize].waiting.signal = signal;
        }
        self.free.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::LinkId;

    #[test]
    fn queues_are_fair_bounded_and_reuse_their_places() {
        let reply = ReplyTo { link: LinkId { slot: 0, generation: 0 }, request_id: 0 };
        let mut pool = WaitQueue::default();
        let (mut first, mut second) = (QueueEnds::EMPTY, QueueEnds::EMPTY);
        for number in 0..MAX_WAITING_PER_ROW as u8 as u32 + MAX_WAITING_PER_ROW {
            let pushed = pool.push(&mut first, &[number as u8], reply, 0, 0);
            assert_eq!(pushed, number < MAX_WAITING_PER_ROW);
        }
        assert!(pool.push(&mut second, b"other", reply, 1, 2));
        for number in 0..MAX_WAITING_PER_ROW {
            let (index, waiting) = pool.pop(&mut first).expect("queued");
            assert_eq!(waiting.signal, [number as u8]);
            pool.recycle(index, waiting);
        }
        assert!(pool.pop(&mut first).is_none());
        assert_eq!(pool.len(), 1);
        assert!(pool.push(&mut first, b"again", reply, 0, 0));
        assert_eq!(pool.entries.len(), MAX_WAITING_PER_ROW as usize + 1);
    }
}
