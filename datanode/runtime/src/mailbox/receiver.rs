//! The receiving end of a mailbox.

use super::ring::Ring;
use super::sync::Arc;

/// Slots are given back at the latest when this many are free (or half the mailbox, if that is less), so that a
/// sender never waits for a receiver that has long moved on.
const RELEASE_EVERY: usize = 32;

/// The only receiver of a mailbox. Dropped, it drops the messages published until then.
pub struct MailboxReceiver<T> {
    ring: Arc<Ring<T>>,
    /// Messages taken since the beginning.
    taken: usize,
    /// How many of their slots the sender may overwrite.
    released: usize,
    /// How many of those [`release`](Self::release) reported.
    reported: usize,
    /// Messages known to be published; the truth may be larger.
    published: usize,
    release_every: usize,
}

impl<T> MailboxReceiver<T> {
    pub(super) fn new(ring: Arc<Ring<T>>) -> Self {
        let release_every = RELEASE_EVERY.min((ring.capacity() / 2).max(1));
        Self { ring, taken: 0, released: 0, reported: 0, published: 0, release_every }
    }

    /// Takes the next message. `None` when there is none, all slots being given back then.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.taken == self.published && !self.find_messages() {
            return None;
        }
        let message = self.take();
        if self.taken.wrapping_sub(self.released) >= self.release_every {
            self.release_quietly();
        }
        Some(message)
    }

    /// Gives the next messages, at most `most`, to `take` and returns how many there were. Their slots are given
    /// back by one store at the end, so `most` is the size of a burst.
    #[inline]
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(T)) -> usize {
        let count = self.ready_at_least(most).min(most);
        for _ in 0..count {
            take(self.take());
        }
        self.release_quietly();
        count
    }

    /// Messages that can be taken now.
    #[inline]
    pub fn ready(&mut self) -> usize {
        self.published = self.ring.sender.count();
        self.published.wrapping_sub(self.taken)
    }

    /// Whether there is nothing to take now. What a thread asks of each of its mailboxes after
    /// [`Bell::prepare`](super::Bell::prepare) and before it sleeps.
    pub fn is_empty(&mut self) -> bool {
        self.ready() == 0
    }

    /// Message number `ahead` of those to come (0 is the next) where it lies, if [`ready`](Self::ready) or a call
    /// since has found it: for prefetching what it refers to.
    #[inline]
    #[must_use]
    pub fn peek(&self, ahead: usize) -> Option<&T> {
        if ahead >= self.published.wrapping_sub(self.taken) {
            return None;
        }
        // SAFETY: this is the only receiver and the message is among those published and not taken. Taking or
        // releasing needs `&mut self`, which the returned reference forbids.
        Some(unsafe { self.ring.look(self.taken.wrapping_add(ahead)) })
    }

    /// Gives the slots of all messages taken so far back to the sender. To be called after every burst: `true` when the
    /// sender waits for room (see [`await_room`](super::MailboxSender::await_room)), so that its bell must be rung.
    #[inline]
    #[must_use = "after `true` the sender's bell must be rung"]
    pub fn release(&mut self) -> bool {
        self.release_quietly();
        if self.reported == self.released {
            return false;
        }
        self.reported = self.released;
        self.ring.is_room_wanted()
    }

    /// Messages the mailbox holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Whether the sender was dropped. What it sent before can still be taken: after `true` the mailbox is finished
    /// as soon as it is empty.
    #[must_use]
    pub fn sender_is_gone(&self) -> bool {
        self.ring.sender.is_gone()
    }

    /// Messages that can be taken; looks again unless `wanted` are known already.
    #[inline]
    fn ready_at_least(&mut self, wanted: usize) -> usize {
        let known = self.published.wrapping_sub(self.taken);
        if known >= wanted { known } else { self.ready() }
    }

    /// The mailbox looks empty: look again, after giving the sender all its slots.
    #[inline]
    fn find_messages(&mut self) -> bool {
        self.release_quietly();
        self.ready() > 0
    }

    /// Moves out the next message; there must be one.
    #[inline]
    fn take(&mut self) -> T {
        debug_assert!(self.taken != self.published, "no message is known to be there");
        let number = self.taken;
        // Counted first: should the message's new owner panic, it must not be taken again.
        self.taken = number.wrapping_add(1);
        // SAFETY: this is the only receiver; the callers have made sure that the message is published, and the count
        // makes sure that it is read once.
        unsafe { self.ring.read(number) }
    }

    #[inline]
    fn release_quietly(&mut self) {
        if self.released != self.taken {
            self.ring.release(self.taken);
            self.released = self.taken;
        }
    }
}

impl<T> Drop for MailboxReceiver<T> {
    fn drop(&mut self) {
        // Bounded: whatever is published from here on is dropped with the ring.
        for _ in 0..self.ready() {
            drop(self.take());
        }
        self.release_quietly();
        self.ring.receiver.leave();
    }
}

impl<T> std::fmt::Debug for MailboxReceiver<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MailboxReceiver")
            .field("capacity", &self.capacity())
            .field("taken", &self.taken)
            .field("released", &self.released)
            .finish_non_exhaustive()
    }
}
