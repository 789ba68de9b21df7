//! What waits for a locked row: one-pass writes and operations of transactions, in bounded queues per row, threaded
//! through one bounded pool.

use crate::outbox::ReplyTo;

/// Most requests that wait for one row.
pub const MAX_WAITING_PER_ROW: u32 = 512;
/// Most requests that wait in one LDM.
const MAX_WAITING: usize = 16_384;
/// Most bytes that waiting requests hold in one LDM.
const MAX_WAITING_BYTES: usize = 32 << 20;
/// Buffers larger than this are not kept for the next waiting request.
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

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A one-pass write, answered here.
    Write(ReplyTo),
    /// An operation of this participant.
    Participant {
        /// The participant.
        number: u32,
        /// Whether it wants the row for itself.
        exclusive: bool,
    },
}

/// Where in a queue a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Behind everybody.
    Last,
    /// Before everybody but the requests of the same participant: it holds the row already and wants more.
    First,
    /// Behind the requests of the same participant, if it has any there, else last: they are granted together.
    WithOwn,
}

/// A waiting request, taken out of its queue.
#[derive(Debug)]
pub struct Waiting {
    /// The whole signal.
    pub signal: Vec<u8>,
    /// Who asked for it.
    pub asker: Asker,
    /// Partition.
    pub partition: u16,
    /// Slot of the table.
    pub table: usize,
    /// Hash of the primary key.
    pub hash: u64,
}

/// What is asked for: the parts of [`Waiting`].
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The whole signal.
    pub signal: &'a [u8],
    /// Who asks for it.
    pub asker: Asker,
    /// Partition.
    pub partition: u16,
    /// Slot of the table.
    pub table: usize,
    /// Hash of the primary key.
    pub hash: u64,
}

#[derive(Debug)]
struct Entry {
    waiting: Waiting,
    next: u32,
    /// When it came, by the ticks of the LDM.
    since: u64,
}

/// The pool of all waiting requests of an LDM.
#[derive(Debug, Default)]
pub struct WaitQueue {
    entries: Vec<Entry>,
    free: Vec<u32>,
    bytes: usize,
    /// Operations of transactions among the requests.
    pub operations: usize,
    /// Ticks of the LDM so far.
    pub ticks: u64,
}

impl WaitQueue {
    /// Number of waiting requests.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Puts a request into a row's queue; its place in the pool. None when the row's queue or the pool is full.
    #[must_use]
    pub fn push(&mut self, ends: &mut QueueEnds, wish: &Wish<'_>, turn: Turn) -> Option<u32> {
        let full = ends.count >= MAX_WAITING_PER_ROW
            || self.len() >= MAX_WAITING
            || self.bytes + wish.signal.len() > MAX_WAITING_BYTES;
        if full {
            return None;
        }
        self.bytes += wish.signal.len();
        self.operations += usize::from(matches!(wish.asker, Asker::Participant { .. }));
        let Wish { signal, asker, partition, table, hash } = *wish;
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let waiting = Waiting { signal: Vec::new(), asker, partition, table, hash };
                self.entries.push(Entry { waiting, next: NONE, since: 0 });
                (self.entries.len() - 1) as u32
            }
        };
        let entry = &mut self.entries[index as usize];
        entry.since = self.ticks;
        entry.waiting.signal.extend_from_slice(signal);
        entry.waiting.asker = asker;
        entry.waiting.partition = partition;
        entry.waiting.table = table;
        entry.waiting.hash = hash;
        let before = match turn {
            Turn::Last => ends.last,
            Turn::First => self.last_of(ends, asker).unwrap_or(NONE),
            Turn::WithOwn => self.last_of(ends, asker).unwrap_or(ends.last),
        };
        self.link(ends, before, index);
        Some(index)
    }

    /// The last request of the same participant.
    fn last_of(&self, ends: &QueueEnds, asker: Asker) -> Option<u32> {
        let Asker::Participant { number: wanted, .. } = asker else { return None };
        let own = |index: &u32| {
            let asker = self.entries[*index as usize].waiting.asker;
            matches!(asker, Asker::Participant { number, .. } if number == wanted)
        };
        self.places(ends).filter(own).last()
    }

    /// Whether requests of this participant wait in a queue.
    pub fn has_participant(&self, ends: &QueueEnds, number: u32) -> bool {
        self.last_of(ends, Asker::Participant { number, exclusive: false }).is_some()
    }

    /// Links an entry in behind another one, or as the first.
    fn link(&mut self, ends: &mut QueueEnds, before: u32, index: u32) {
        let next = if before == NONE {
            std::mem::replace(&mut ends.first, index)
        } else {
            std::mem::replace(&mut self.entries[before as usize].next, index)
        };
        self.entries[index as usize].next = next;
        if next == NONE {
            ends.last = index;
        }
        ends.count += 1;
    }

    /// The places of a queue in order.
    pub fn places(&self, ends: &QueueEnds) -> impl Iterator<Item = u32> + '_ {
        let mut at = ends.first;
        std::iter::from_fn(move || {
            let index = at;
            at = self.entries.get(index as usize)?.next;
            Some(index)
        })
    }

    /// Who waits at a place, and since which tick.
    pub fn asker_at(&self, place: u32) -> (Asker, u64) {
        let entry = &self.entries[place as usize];
        (entry.waiting.asker, entry.since)
    }

    /// What waits at a place.
    pub fn at(&self, place: u32) -> &Waiting {
        &self.entries[place as usize].waiting
    }

    /// The places of one-pass writes that have waited for more than so many ticks.
    pub fn writes_waiting_for(&self, ticks: u64) -> Vec<u32> {
        let tired = |entry: &Entry| {
            let waits = !entry.waiting.signal.is_empty() && matches!(entry.waiting.asker, Asker::Write(_));
            waits && self.ticks.saturating_sub(entry.since) > ticks
        };
        let places = self.entries.iter().enumerate().filter(|(_, entry)| tired(entry));
        places.map(|(place, _)| place as u32).collect()
    }

    /// Who is first.
    pub fn first(&self, ends: &QueueEnds) -> Option<Asker> {
        self.entries.get(ends.first as usize).map(|entry| entry.waiting.asker)
    }

    /// Takes the first request of a queue out; give it back with [`WaitQueue::recycle`].
    pub fn pop(&mut self, ends: &mut QueueEnds) -> Option<(u32, Waiting)> {
        let first = ends.first;
        if first == NONE {
            return None;
        }
        Some((first, self.take(ends, NONE, first)))
    }

    /// Takes the request at a place out of its queue, if it is there, and forgets it.
    pub fn remove(&mut self, ends: &mut QueueEnds, place: u32) {
        let mut before = NONE;
        let mut at = ends.first;
        while at != NONE && at != place {
            before = at;
            at = self.entries[at as usize].next;
        }
        if at == place {
            let waiting = self.take(ends, before, place);
            self.recycle(place, waiting);
        }
    }

    fn take(&mut self, ends: &mut QueueEnds, before: u32, index: u32) -> Waiting {
        let entry = &mut self.entries[index as usize];
        let next = entry.next;
        let waiting = Waiting {
            signal: std::mem::take(&mut entry.waiting.signal),
            asker: entry.waiting.asker,
            partition: entry.waiting.partition,
            table: entry.waiting.table,
            hash: entry.waiting.hash,
        };
        if before == NONE {
            ends.first = next;
        } else {
            self.entries[before as usize].next = next;
        }
        if next == NONE {
            ends.last = before;
        }
        ends.count -= 1;
        self.bytes -= waiting.signal.len();
        self.operations -= usize::from(matches!(waiting.asker, Asker::Participant { .. }));
        waiting
    }

    /// Gives the place and the buffer of a taken request back.
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

    fn wish(signal: &[u8], asker: Asker) -> Wish<'_> {
        Wish { signal, asker, partition: 0, table: 1, hash: 2 }
    }

    const WRITE: Asker = Asker::Write(ReplyTo { link: LinkId { slot: 0, generation: 0 }, request_id: 0 });

    #[test]
    fn queues_are_fair_bounded_and_reuse_their_places() {
        let mut pool = WaitQueue::default();
        let (mut first, mut second) = (QueueEnds::EMPTY, QueueEnds::EMPTY);
        for number in 0..2 * MAX_WAITING_PER_ROW {
            let pushed = pool.push(&mut first, &wish(&[number as u8], WRITE), Turn::Last);
            assert_eq!(pushed.is_some(), number < MAX_WAITING_PER_ROW);
        }
        assert!(pool.push(&mut second, &wish(b"other", WRITE), Turn::Last).is_some());
        for number in 0..MAX_WAITING_PER_ROW {
            let (index, waiting) = pool.pop(&mut first).expect("queued");
            assert_eq!(waiting.signal, [number as u8]);
            pool.recycle(index, waiting);
        }
        assert!(pool.pop(&mut first).is_none());
        assert_eq!(pool.len(), 1);
        assert!(pool.push(&mut first, &wish(b"again", WRITE), Turn::Last).is_some());
        assert_eq!(pool.entries.len(), MAX_WAITING_PER_ROW as usize + 1);
    }

    #[test]
    fn requests_of_one_participant_stay_together_and_leave_from_any_place() {
        let mut pool = WaitQueue::default();
        let mut ends = QueueEnds::EMPTY;
        let of = |number| Asker::Participant { number, exclusive: true };
        let mut push = |pool: &mut WaitQueue, name: &[u8], asker, turn| {
            pool.push(&mut ends, &wish(name, asker), turn).expect("room")
        };
        push(&mut pool, b"a", of(1), Turn::WithOwn);
        let write = push(&mut pool, b"b", WRITE, Turn::Last);
        push(&mut pool, b"c", of(1), Turn::WithOwn);
        let last = push(&mut pool, b"d", of(2), Turn::WithOwn);
        push(&mut pool, b"e", of(3), Turn::First);
        push(&mut pool, b"g", of(3), Turn::First);
        assert!(pool.has_participant(&ends, 3) && !pool.has_participant(&ends, 4));
        let names = |pool: &WaitQueue, ends: &QueueEnds| {
            pool.places(ends).flat_map(|place| pool.at(place).signal.clone()).collect::<Vec<u8>>()
        };
        assert_eq!(names(&pool, &ends), b"egacbd");
        pool.remove(&mut ends, write);
        pool.remove(&mut ends, last);
        assert_eq!(names(&pool, &ends), b"egac");
        assert!(pool.push(&mut ends, &wish(b"f", WRITE), Turn::Last).is_some());
        assert_eq!((names(&pool, &ends), ends.count, pool.len()), (b"egacf".to_vec(), 5, 5));
    }
}
