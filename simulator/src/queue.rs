//! The event queue: virtual time, and a strict order of everything that happens in it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Virtual time in nanoseconds since the start of the run.
pub type Time = u64;

/// A microsecond.
pub const MICROSECOND: Time = 1_000;
/// A millisecond.
pub const MILLISECOND: Time = 1_000_000;
/// A second.
pub const SECOND: Time = 1_000_000_000;

struct Entry<E> {
    time: Time,
    order: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.time, self.order) == (other.time, other.order)
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.time, self.order).cmp(&(other.time, other.order))
    }
}

/// Events in the order of their times; events of the same time come in the order in which they were put in.
pub struct EventQueue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    next_order: u64,
    now: Time,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        EventQueue { heap: BinaryHeap::new(), next_order: 0, now: 0 }
    }
}

impl<E> EventQueue<E> {
    /// The time of the event taken out last.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Number of events that wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether no event waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Puts `event` in at `time`, or now if that has passed.
    pub fn push(&mut self, time: Time, event: E) {
        let entry = Entry { time: time.max(self.now), order: self.next_order, event };
        self.next_order += 1;
        self.heap.push(Reverse(entry));
    }

    /// Takes out the next event, if it is due at or before `limit`; the clock moves to its time.
    pub fn pop_until(&mut self, limit: Time) -> Option<E> {
        if self.heap.peek().is_none_or(|Reverse(entry)| entry.time > limit) {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.time;
        Some(entry.event)
    }

    /// Moves the clock to `time` without an event; no event may be due before.
    pub fn advance(&mut self, time: Time) {
        assert!(
            self.heap.peek().is_none_or(|Reverse(entry)| entry.time >= time),
            "an event is due before the time to move to"
        );
        self.now = self.now.max(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_insertion() {
        let mut queue = EventQueue::default();
        for (time, name) in [(5, "c"), (1, "a"), (5, "d"), (3, "b")] {
            queue.push(time, name);
        }
        assert_eq!(queue.pop_until(0), None);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop_until(9)).collect();
        assert_eq!(order, ["a", "b", "c", "d"]);
        assert_eq!(queue.now(), 5);
        queue.push(2, "late");
        assert_eq!(queue.pop_until(9), Some("late"));
        assert_eq!(queue.now(), 5);
    }
}
