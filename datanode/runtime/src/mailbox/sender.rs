//! The sending end of a mailbox.

use super::ring::Ring;
use super::sync::Arc;

/// The only sender of a mailbox. Dropped, it publishes what it pushed.
pub struct MailboxSender<T> {
    ring: Arc<Ring<T>>,
    /// Messages pushed since the beginning.
    pushed: usize,
    /// How many of them the receiver may see.
    published: usize,
    /// How many of them [`publish`](Self::publish) reported.
    reported: usize,
    /// Slots known to be released; the truth may be larger.
    released: usize,
}

impl<T> MailboxSender<T> {
    pub(super) fn new(ring: Arc<Ring<T>>) -> Self {
        Self { ring, pushed: 0, published: 0, reported: 0, released: 0 }
    }

    /// Appends a message, which the receiver sees after the next [`publish`](Self::publish).
    ///
    /// # Errors
    /// Gives the message back when the mailbox is full. Everything pushed before is published then, so that the
    /// receiver can make room; it may still be asleep, so publish and ring its bell as after every burst.
    #[inline]
    pub fn push(&mut self, message: T) -> Result<(), T> {
        if self.pushed.wrapping_sub(self.released) == self.ring.capacity() && !self.find_room() {
            return Err(message);
        }
        // SAFETY: this is the only sender and message `pushed` is unpublished; less than a whole round lies between
        // it and the released slots, so its own slot is released or was never used.
        unsafe { self.ring.write(self.pushed, message) };
        self.pushed = self.pushed.wrapping_add(1);
        Ok(())
    }

    /// Shows the receiver everything pushed so far, by one store. Returns whether that is more than the last call
    /// showed it: then its bell must be rung.
    #[inline]
    pub fn publish(&mut self) -> bool {
        self.publish_quietly();
        let news = self.reported != self.published;
        self.reported = self.published;
        news
    }

    /// Messages that can be pushed now.
    pub fn room(&mut self) -> usize {
        self.ring.capacity() - self.used()
    }

    /// Messages that were pushed and whose slots are not released.
    pub fn used(&mut self) -> usize {
        self.released = self.ring.receiver.count();
        self.pushed.wrapping_sub(self.released)
    }

    /// To be called before waiting for room: the next [`release`](super::MailboxReceiver::release) of slots will say
    /// that this sender waits. `true` when there is room now, so that there is nothing to wait for.
    #[must_use = "after `true` there is room"]
    pub fn await_room(&mut self) -> bool {
        self.ring.want_room();
        self.room() > 0
    }

    /// Whether the receiver has taken and released everything that was pushed.
    pub fn is_drained(&mut self) -> bool {
        self.room() == self.ring.capacity()
    }

    /// Messages the mailbox holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Whether the receiver was dropped: nobody will take what is pushed.
    #[must_use]
    pub fn receiver_is_gone(&self) -> bool {
        self.ring.receiver.is_gone()
    }

    /// The mailbox looks full: look again. When it is, give the receiver all it could take.
    #[cold]
    fn find_room(&mut self) -> bool {
        let found = self.room() > 0;
        if !found {
            self.publish_quietly();
        }
        found
    }

    #[inline]
    fn publish_quietly(&mut self) {
        if self.published != self.pushed {
            self.ring.publish(self.pushed);
            self.published = self.pushed;
        }
    }
}

impl<T> Drop for MailboxSender<T> {
    fn drop(&mut self) {
        self.publish_quietly();
        self.ring.sender.leave();
    }
}

impl<T> std::fmt::Debug for MailboxSender<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MailboxSender")
            .field("capacity", &self.capacity())
            .field("pushed", &self.pushed)
            .field("published", &self.published)
            .finish_non_exhaustive()
    }
}
