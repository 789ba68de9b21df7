//! The sending end of a mailbox with room for what does not fit it, so that nothing is ever lost.

use crate::mailbox::{LoopBell, MailboxSender};
use std::collections::VecDeque;

/// A mailbox of another thread (or of this one), its bell, and what waits for room in it. Whoever fills it looks at
/// [`Outbound::is_congested`] before it takes more work, which bounds what waits.
pub(crate) struct Outbound<T> {
    mailbox: MailboxSender<T>,
    bell: LoopBell,
    load: Option<Load<T>>,
    waiting: VecDeque<T>,
}

/// What the messages in a mailbox weigh.
struct Load<T> {
    /// Weight from which on the mailbox is full.
    most: usize,
    /// The weight of a message, never 0, so that there are never more than `most` of them.
    weigh: fn(&T) -> usize,
    /// Those of the messages in the mailbox, oldest first, as far as it is known that they are in it.
    weights: VecDeque<usize>,
    sum: usize,
}

impl<T> Load<T> {
    fn add(&mut self, weight: usize) {
        self.weights.push_back(weight);
        self.sum += weight;
    }

    /// Whether there is room beside this many messages, which are in the mailbox still.
    fn has_room(&mut self, messages: usize) -> bool {
        while self.weights.len() > messages {
            self.sum -= self.weights.pop_front().unwrap_or(0);
        }
        self.sum < self.most
    }
}

impl<T: Send> Outbound<T> {
    pub fn new(mailbox: MailboxSender<T>, bell: LoopBell) -> Outbound<T> {
        Outbound { mailbox, bell, load: None, waiting: VecDeque::new() }
    }

    /// The mailbox is full, too, when what is in it weighs this much.
    #[must_use]
    pub fn weighed(self, most: usize, weigh: fn(&T) -> usize) -> Outbound<T> {
        let weights = VecDeque::with_capacity(self.mailbox.capacity());
        Outbound { load: Some(Load { most, weigh, weights, sum: 0 }), ..self }
    }

    /// Puts a message behind all earlier ones.
    #[inline]
    pub fn push(&mut self, message: T) {
        if self.waiting.is_empty() {
            if let Err(message) = self.offer(message) {
                self.waiting.push_back(message);
            }
        } else {
            self.waiting.push_back(message);
        }
    }

    /// Puts a message into the mailbox if it fits.
    #[inline]
    fn offer(&mut self, message: T) -> Result<(), T> {
        let Some(load) = &mut self.load else { return self.mailbox.push(message) };
        if load.sum >= load.most && !load.has_room(self.mailbox.used()) {
            return Err(message);
        }
        let weight = (load.weigh)(&message);
        self.mailbox.push(message)?;
        load.add(weight);
        Ok(())
    }

    /// Whether one more message fits the mailbox.
    fn has_room(&mut self) -> bool {
        let used = self.mailbox.used();
        used < self.mailbox.capacity() && self.load.as_mut().is_none_or(|load| load.has_room(used))
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
        !self.waiting.is_empty() && self.has_room()
    }

    /// Makes everything visible that fits, and wakes the receiver if there is something new. When something does not fit,
    /// the receiver will ring this thread's bell as soon as it has made room.
    pub fn publish(&mut self) {
        loop {
            while let Some(message) = self.waiting.pop_front() {
                if let Err(message) = self.offer(message) {
                    self.waiting.push_front(message);
                    break;
                }
            }
            if self.waiting.is_empty() || !self.mailbox.await_room() || !self.has_room() {
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
    use crate::mailbox::{MailboxReceiver, mailbox};
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

    #[test]
    fn room_that_returns_wakes_a_sender_that_is_held_back() {
        let (sender, receiver) = mailbox(16);
        held_back(|bell| Outbound::new(sender, bell), receiver);
    }

    #[test]
    fn weight_that_is_taken_wakes_a_sender_that_is_held_back() {
        let (sender, receiver) = mailbox(1_024);
        held_back(
            |bell| Outbound::new(sender, bell).weighed(100, |message| 1 + (message % 32) as usize),
            receiver,
        );
    }

    #[test]
    fn a_mailbox_is_full_by_weight_or_by_number() {
        let (sender, receiver) = mailbox::<u64>(8);
        let sleeper = Sleeper::new();
        let mut outbound =
            Outbound::new(sender, sleeper.bell.clone()).weighed(100, |message| *message as usize + 1);
        let mut inbound = Inbound::new(receiver, sleeper.bell.clone());
        let take = |inbound: &mut Inbound<u64>, most| {
            let mut taken = Vec::new();
            inbound.drain(most, |message| taken.push(message));
            taken
        };
        // A message of any weight fits while there is room at all.
        [40, 50, 1_000, 7].into_iter().for_each(|message| outbound.push(message));
        assert!(outbound.is_congested() && !outbound.has_room_again());
        outbound.publish();
        assert_eq!(take(&mut inbound, 2), [40, 50]);
        outbound.publish();
        assert!(outbound.is_congested() && take(&mut inbound, 9) == [1_000]);
        assert!(outbound.has_room_again());
        outbound.publish();
        assert!(!outbound.is_congested() && take(&mut inbound, 9) == [7]);
        (0..9).for_each(|_| outbound.push(0));
        outbound.publish();
        assert!(outbound.is_congested() && take(&mut inbound, 9) == [0; 8]);
    }

    /// The sender is held back again and again, and nothing but the room that returns wakes it.
    fn held_back(outbound: impl FnOnce(LoopBell) -> Outbound<u64>, receiver: MailboxReceiver<u64>) {
        const MESSAGES: u64 = 50_000;
        let (mut sending, mut receiving) = (Sleeper::new(), Sleeper::new());
        let mut outbound = outbound(receiving.bell.clone());
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
