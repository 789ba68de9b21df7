//! The mailbox against a model, its ends' drops, and bells over real threads.

use super::{Bell, LoopBell, MailboxReceiver, MailboxSender, mailbox};
use crate::poll::{Poll, Waker};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;

const WAKER: u64 = 1;
/// Ends a test that waits for what does not come.
const DEADLINE_MS: i32 = 20_000;

#[derive(Clone, Debug)]
enum Step {
    Push,
    Publish,
    Room,
    Pop,
    Peek(usize),
    Drain(usize),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Push),
        3 => Just(Step::Publish),
        1 => Just(Step::Room),
        4 => Just(Step::Pop),
        2 => (0usize..6).prop_map(Step::Peek),
        2 => (0usize..6).prop_map(Step::Drain),
        1 => Just(Step::Release),
    ]
}

/// What a mailbox is supposed to hold.
struct Model {
    capacity: usize,
    unpublished: VecDeque<u64>,
    published: VecDeque<u64>,
    /// Taken, slot not given back as far as the sender can rely on it; an upper bound.
    unreleased: usize,
    next: u64,
}

impl Model {
    fn used(&self) -> usize {
        self.unpublished.len() + self.published.len()
    }

    fn publish(&mut self) {
        self.published.append(&mut self.unpublished);
    }
}

fn run(steps: &[Step], capacity: usize) {
    let (mut sender, mut receiver): (MailboxSender<Counted>, MailboxReceiver<Counted>) = mailbox(capacity);
    let alive = Arc::new(());
    let mut model = Model {
        capacity: capacity.next_power_of_two(),
        unpublished: VecDeque::new(),
        published: VecDeque::new(),
        unreleased: 0,
        next: 0,
    };
    assert_eq!(sender.capacity(), model.capacity);
    for step in steps {
        match step {
            Step::Push => match sender.push(Counted(model.next, alive.clone())) {
                Ok(()) => {
                    model.unpublished.push_back(model.next);
                    model.next += 1;
                    assert!(model.used() <= model.capacity);
                }
                Err(refused) => {
                    assert_eq!(refused.0, model.next);
                    assert!(model.used() + model.unreleased >= model.capacity, "refused with room left");
                    model.publish();
                }
            },
            Step::Publish => {
                let anything = !model.unpublished.is_empty();
                let news = sender.publish();
                assert!(news || !anything);
                model.publish();
                assert!(!sender.publish(), "the second call has no news");
            }
            Step::Room => {
                let room = sender.room();
                assert!(room <= model.capacity - model.used());
                assert!(room + model.unreleased >= model.capacity - model.used());
            }
            Step::Pop => {
                let popped = receiver.pop();
                assert_eq!(popped.as_ref().map(|message| message.0), model.published.pop_front());
                model.unreleased = if popped.is_some() { model.unreleased + 1 } else { 0 };
            }
            Step::Peek(ahead) => {
                assert_eq!(receiver.ready(), model.published.len());
                assert_eq!(receiver.peek(*ahead).map(|message| &message.0), model.published.get(*ahead));
            }
            Step::Drain(most) => {
                let mut taken = Vec::new();
                let count = receiver.drain(*most, |message| taken.push(message.0));
                let expected: Vec<u64> =
                    model.published.drain(..(*most).min(model.published.len())).collect();
                assert_eq!(taken, expected);
                assert_eq!(count, taken.len());
                model.unreleased = 0;
            }
            Step::Release => {
                assert!(!receiver.release(), "nobody waits for room");
                model.unreleased = 0;
            }
        }
        assert_eq!(Arc::strong_count(&alive) - 1, model.used(), "each message exists exactly once");
    }
    drop(sender);
    assert!(receiver.sender_is_gone());
    model.publish();
    assert_eq!(receiver.ready(), model.published.len());
    drop(receiver);
    assert_eq!(Arc::strong_count(&alive), 1, "every message was dropped once");
}

/// A message that is counted while it exists.
struct Counted(u64, #[expect(dead_code, reason = "its count is what matters")] Arc<()>);

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_two_queues(steps in proptest::collection::vec(step(), 0..200), capacity in 1usize..9) {
        run(&steps, capacity);
    }
}

#[test]
fn a_full_mailbox_refuses_and_shows_what_it_has() {
    let (mut sender, mut receiver) = mailbox(2);
    sender.push(1).unwrap();
    sender.push(2).unwrap();
    assert!(receiver.is_empty());
    assert_eq!(sender.push(3), Err(3));
    assert_eq!(receiver.ready(), 2);
    assert!(sender.publish(), "what a full mailbox published is news still");
    assert_eq!(receiver.pop(), Some(1));
    sender.push(3).unwrap();
    assert_eq!(sender.push(4), Err(4));
    assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(2), Some(3), None));
    assert!(sender.is_drained());
    assert!(!receiver.release(), "nobody waits for room");
}

#[test]
fn a_sender_that_waits_for_room_is_reported_once() {
    let (mut sender, mut receiver) = mailbox(2);
    sender.push(1).unwrap();
    assert!(sender.await_room(), "there is room for another");
    sender.push(2).unwrap();
    assert_eq!(sender.push(3), Err(3));
    assert!(!sender.await_room());
    assert!(!receiver.release(), "nothing was taken");
    assert_eq!(receiver.pop(), Some(1));
    assert!(receiver.release());
    assert!(!receiver.release());
    assert_eq!(receiver.pop(), Some(2));
    assert!(!receiver.release(), "the sender does not wait any more");
}

#[test]
fn slots_come_back_before_the_mailbox_is_empty() {
    let (mut sender, mut receiver) = mailbox(8);
    (0..8).for_each(|number| sender.push(number).unwrap());
    sender.publish();
    (0..4).for_each(|number| assert_eq!(receiver.pop(), Some(number)));
    assert_eq!(sender.room(), 4);
}

#[test]
fn each_end_learns_that_the_other_is_gone() {
    let (mut sender, mut receiver) = mailbox(4);
    assert!(!receiver.sender_is_gone());
    sender.push(7).unwrap();
    drop(sender);
    assert!(receiver.sender_is_gone());
    assert_eq!((receiver.pop(), receiver.pop()), (Some(7), None), "what it pushed last is not lost");

    let (mut sender, receiver) = mailbox(4);
    sender.push(Arc::new(1)).unwrap();
    sender.publish();
    let late = Arc::new(2);
    assert!(!sender.receiver_is_gone());
    drop(receiver);
    assert!(sender.receiver_is_gone());
    sender.push(late.clone()).unwrap();
    drop(sender);
    assert_eq!(Arc::strong_count(&late), 1);
}

#[test]
fn a_panic_while_draining_drops_each_message_once() {
    let alive = Arc::new(());
    let (mut sender, mut receiver) = mailbox(4);
    for _ in 0..3 {
        sender.push(alive.clone()).unwrap();
    }
    sender.publish();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        receiver.drain(3, |_message| panic!("the second message never arrives"));
    }));
    assert!(result.is_err());
    assert_eq!(Arc::strong_count(&alive), 3);
    drop((sender, receiver));
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn messages_lie_on_cache_lines_of_their_own() {
    let (mut sender, mut receiver) = mailbox::<[u64; 8]>(2);
    sender.push([1; 8]).unwrap();
    sender.push([2; 8]).unwrap();
    sender.publish();
    assert_eq!(receiver.ready(), 2);
    let first = std::ptr::from_ref(receiver.peek(0).unwrap()).addr();
    let second = std::ptr::from_ref(receiver.peek(1).unwrap()).addr();
    assert_eq!((first % 64, second - first), (0, 64));
}

#[test]
fn only_the_first_ringer_of_a_sleep_wakes() {
    let bell = Bell::new();
    assert!(!bell.ring(), "nobody sleeps");
    let asleep = bell.prepare();
    assert!(bell.ring());
    assert!(!bell.ring());
    drop(asleep);
    drop(bell.prepare());
    assert!(!bell.ring(), "the sleep was cancelled");
}

/// One thread that sleeps in epoll whenever its mailboxes are empty, and two that fill them. Every wait is ended by
/// a bell: a lost wake-up runs into the deadline of the wait.
#[test]
fn a_loop_in_epoll_misses_no_message() {
    const EACH: u64 = 20_000;
    let bell = LoopBell::new(Waker::new().unwrap());
    let mut poll = Poll::new().unwrap();
    poll.add_waker(bell.waker(), WAKER).unwrap();
    std::thread::scope(|scope| {
        let mut receivers = Vec::new();
        for _ in 0..2 {
            let (mut sender, receiver) = mailbox::<u64>(16);
            receivers.push((receiver, 0u64));
            let bell = bell.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    while sender.push(number).is_err() {
                        bell.ring();
                        assert!(!sender.receiver_is_gone(), "the receiver has failed");
                        std::thread::yield_now();
                    }
                    if number % 7 == 0 && sender.publish() {
                        bell.ring();
                    }
                }
                drop(sender);
                bell.ring();
            });
        }
        while !receivers.is_empty() {
            let asleep = bell.prepare();
            let idle =
                receivers.iter_mut().all(|(receiver, _)| !receiver.sender_is_gone() && receiver.is_empty());
            if idle {
                let events = poll.wait(DEADLINE_MS).unwrap();
                assert_eq!(events, 1, "a wake-up was lost");
            }
            drop(asleep);
            receivers.retain_mut(|(receiver, expected)| {
                let last = receiver.sender_is_gone();
                receiver.drain(16, |number| {
                    assert_eq!(number, *expected);
                    *expected += 1;
                });
                assert!(!last || !receiver.is_empty() || *expected == EACH);
                !(last && receiver.is_empty())
            });
        }
    });
}
