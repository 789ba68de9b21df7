//! The sending end of a mailbox with room for what does not fit it, so that nothing is ever lost.

use crate::mailbox::{LoopBell, MailboxSender};
use std::collections::VecDeque;

/// A mailbox of another thread (or of this one), its bell, and what waits for room in it. Whoever fills it looks at
/// [`Outbound::is_congested`] before it takes more work, which bounds what waits.
pub(crate) struct Outbound<T> {
    mailbox: MailboxSender<T>,
    bell: LoopBell,
    waiting: VecDeque<T>,
}

impl<T: Send> Outbound<T> {
    pub fn new(mailbox: MailboxSender<T>, bell: LoopBell) -> Outbound<T> {
        Outbound { mailbox, bell, waiting: VecDeque::new() }
    }

    /// Puts a message behind all earlier ones.
    #[inline]
    pub fn push(&mut self, message: T) {
        if self.waiting.is_empty() {
            if let Err(message) = self.mailbox.push(message) {
                self.waiting.push_back(message);
            }
        } else {
            self.waiting.push_back(message);
        }
    }

    /// Whether messages wait for room: no more work should be taken that leads to further ones.
    pub fn is_congested(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Makes everything visible that fits, and wakes the receiver if there is something new.
    pub fn publish(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            if let Err(message) = self.mailbox.push(message) {
                self.waiting.push_front(message);
                break;
            }
        }
        if self.mailbox.publish() {
            self.bell.ring();
        }
    }
}
