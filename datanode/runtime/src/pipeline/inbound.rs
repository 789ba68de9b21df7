//! The receiving end of a mailbox, which wakes a sender that waits for room.

use crate::mailbox::{LoopBell, MailboxReceiver};

/// A mailbox of this thread and the bell of the thread that fills it.
pub(crate) struct Inbound<T> {
    mailbox: MailboxReceiver<T>,
    /// Rung when room returns that the sender has waited for.
    sender: LoopBell,
}

impl<T: Send> Inbound<T> {
    pub fn new(mailbox: MailboxReceiver<T>, sender: LoopBell) -> Inbound<T> {
        Inbound { mailbox, sender }
    }

    /// Gives the next messages, at most `most`, to `take` as long as it wants more; how many there were.
    #[inline]
    pub fn drain_while(&mut self, most: usize, mut take: impl FnMut(T) -> bool) -> usize {
        let mut count = 0;
        while count < most {
            let Some(message) = self.mailbox.pop() else { break };
            count += 1;
            if !take(message) {
                break;
            }
        }
        self.release();
        count
    }

    /// Gives the next messages, at most `most`, to `take`; how many there were.
    #[inline]
    pub fn drain(&mut self, most: usize, take: impl FnMut(T)) -> usize {
        let count = self.mailbox.drain(most, take);
        self.release();
        count
    }

    /// Whether there is nothing to take now.
    pub fn is_empty(&mut self) -> bool {
        self.mailbox.is_empty()
    }

    #[inline]
    fn release(&mut self) {
        if self.mailbox.release() {
            self.sender.ring();
        }
    }
}
