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

    /// Wakes the receiver although there is nothing new for it here.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Whether there is room for messages that wait: what a thread asks after [`LoopBell::prepare`] and before it sleeps.
    pub fn has_room_again(&mut self) -> bool {
        !self.waiting.is_empty() && self.mailbox.room() > 0
    }

    /// Makes everything visible that fits, and wakes the receiver if there is something new. When something does not fit,
    /// the receiver will ring this thread's bell as soon as it has made room.
    pub fn publish(&mut self) {
        loop {
            while let Some(message) = self.waiting.pop_front() {
                if let Err(message) = self.mailbox.push(message) {
                    self.waiting.push_front(message);
                    break;
                }
            }
            if self.waiting.is_empty() || !self.mailbox.await_room() {
                break;
            }
        }
        if self.mailbox.publish() {
            self.bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::inbound::Inbound;
    use super::*;
    use crate::mailbox::mailbox;
    use crate::poll::{Poll, Waker};

    /// Ends a wait for what does not come.
    const DEADLINE_MS: i32 = 20_000;

    struct Sleeper {
        bell: LoopBell,
        poll: Poll,
    }

    impl Sleeper {
        fn new() -> Sleeper {
            let bell = LoopBell::new(Waker::new().unwrap());
            let poll = Poll::new().unwrap();
            poll.add_waker(bell.waker(), 1).unwrap();
            Sleeper { bell, poll }
        }

        /// Sleeps until it is woken, unless there is something to do.
        fn sleep_unless(&mut self, has_work: impl FnOnce() -> bool) {
            let asleep = self.bell.prepare();
            if !has_work() {
                assert_eq!(self.poll.wait(DEADLINE_MS).unwrap(), 1, "a wake-up was lost");
            }
            drop(asleep);
        }
    }

    /// The sender is held back again and again, and nothing but the room that returns wakes it.
    #[test]
    fn room_that_returns_wakes_a_sender_that_is_held_back() {
        const MESSAGES: u64 = 50_000;
        let (mut sending, mut receiving) = (Sleeper::new(), Sleeper::new());
        let (sender, receiver) = mailbox::<u64>(16);
        let mut outbound = Outbound::new(sender, receiving.bell.clone());
        let mut inbound = Inbound::new(receiver, sending.bell.clone());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut next, mut held) = (0, 0);
                while next < MESSAGES || outbound.is_congested() {
                    while next < MESSAGES && !outbound.is_congested() {
                        outbound.push(next);
                        next += 1;
                    }
                    outbound.publish();
                    if outbound.is_congested() {
                        held += 1;
                        sending.sleep_unless(|| outbound.has_room_again());
                    }
                }
                assert!(held > 100, "the mailbox was hardly ever full");
            });
            let mut expected = 0;
            while expected < MESSAGES {
                let taken = inbound.drain(7, |message| {
                    assert_eq!(message, expected);
                    expected += 1;
                });
                if taken == 0 {
                    receiving.sleep_unless(|| !inbound.is_empty());
                }
            }
        });
    }
}
