//! The mailbox and the bell in every order of events that the memory model allows (`--cfg loom`; see the loom crate).
//!
//! The models named `…_is_noticed` take one ordering away and must fail: they prove that the others would notice.

use super::bell::Weakened as WeakenedBell;
use super::ring::{Weakened, weakened_mailbox};
use super::{Bell, MailboxReceiver, MailboxSender, mailbox};
use loom::sync::{Arc, Notify};
use loom::thread;
use std::mem::ManuallyDrop;

/// Two threads pass three messages through a ring of two slots: all of them arrive, in order.
fn pass_three(sender: MailboxSender<Box<u32>>, receiver: MailboxReceiver<Box<u32>>) {
    // An end whose thread has failed is forgotten: its drop would fail again and end the process.
    let mut sender = ManuallyDrop::new(sender);
    let mut receiver = ManuallyDrop::new(receiver);
    let sending = thread::spawn(move || {
        for number in 0..3 {
            let mut message = Box::new(number);
            while let Err(refused) = sender.push(message) {
                message = refused;
                thread::yield_now();
            }
        }
        sender.publish();
        sender
    });
    for expected in 0..3 {
        let message = loop {
            match receiver.pop() {
                Some(message) => break message,
                None => thread::yield_now(),
            }
        };
        assert_eq!(*message, expected);
    }
    assert!(receiver.pop().is_none());
    drop(ManuallyDrop::into_inner(sending.join().expect("the sender does not panic")));
    assert!(receiver.sender_is_gone());
    drop(ManuallyDrop::into_inner(receiver));
}

#[test]
fn nothing_is_lost_or_reordered() {
    loom::model(|| {
        let (sender, receiver) = mailbox(2);
        pass_three(sender, receiver);
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_relaxed_publish_is_noticed() {
    loom::model(|| {
        let (sender, receiver) = weakened_mailbox(2, Weakened::Publish);
        pass_three(sender, receiver);
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_relaxed_release_is_noticed() {
    loom::model(|| {
        let (sender, receiver) = weakened_mailbox(2, Weakened::Release);
        pass_three(sender, receiver);
    });
}

/// The sender finds the mailbox full and sleeps until the receiver has made room, as the receiver sleeps until there is
/// a message. Should the room be missed, both sleep for ever, which loom reports as a deadlock.
fn make_room(sender: MailboxSender<u32>, receiver: MailboxReceiver<u32>) {
    let (mut sender, mut receiver) = (ManuallyDrop::new(sender), ManuallyDrop::new(receiver));
    let shared = || {
        let one = Arc::new(Notify::new());
        (ManuallyDrop::new(one.clone()), ManuallyDrop::new(one))
    };
    let ((room, room_came), (news, news_came)) = (shared(), shared());
    let sending = thread::spawn(move || {
        for number in 0..2 {
            while sender.push(number).is_err() {
                if !sender.await_room() {
                    room_came.wait();
                }
            }
            sender.publish();
            news.notify();
        }
        (sender, room_came, news)
    });
    for expected in 0..2 {
        let message = loop {
            match receiver.pop() {
                Some(message) => break message,
                None => news_came.wait(),
            }
        };
        assert_eq!(message, expected);
        if receiver.release() {
            room.notify();
        }
    }
    let (sender, room_came, news) = sending.join().expect("the sender does not panic");
    for notify in [room, room_came, news, news_came] {
        drop(ManuallyDrop::into_inner(notify));
    }
    drop(ManuallyDrop::into_inner(sender));
    drop(ManuallyDrop::into_inner(receiver));
}

#[test]
fn a_sender_that_waits_for_room_is_woken() {
    loom::model(|| {
        let (sender, receiver) = mailbox(1);
        make_room(sender, receiver);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_wish_for_room_without_its_fence_is_noticed() {
    loom::model(|| {
        let (sender, receiver) = weakened_mailbox(1, Weakened::Wish);
        make_room(sender, receiver);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_release_without_its_fence_is_noticed() {
    loom::model(|| {
        let (sender, receiver) = weakened_mailbox(1, Weakened::Answer);
        make_room(sender, receiver);
    });
}

/// The receiver goes away in the middle: loom reports a message (an `Arc` of its own) that is not dropped, and one
/// that is dropped twice.
#[test]
fn each_message_is_dropped_once_when_the_receiver_leaves() {
    loom::model(|| {
        let alive = Arc::new(());
        let (mut sender, mut receiver) = mailbox(2);
        let messages = [alive.clone(), alive.clone(), alive.clone()];
        let sending = thread::spawn(move || {
            for message in messages {
                let _ = sender.push(message);
                sender.publish();
            }
        });
        drop(receiver.pop());
        drop(receiver);
        sending.join().expect("the sender does not panic");
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn after_the_sender_left_all_it_sent_is_there() {
    loom::model(|| {
        let (mut sender, mut receiver) = mailbox(2);
        let sending = thread::spawn(move || {
            sender.push(1u32).expect("there is room");
            sender.push(2).expect("there is room");
        });
        while !receiver.sender_is_gone() {
            thread::yield_now();
        }
        assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(1), Some(2), None));
        sending.join().expect("the sender does not panic");
    });
}

/// `ringers` threads send one message each to a sleeper that waits for all of them. Should a wake-up be lost, the
/// sleeper waits for ever, which loom reports as a deadlock.
fn wake(bell: Bell, ringers: usize) {
    let bell = Arc::new(bell);
    let wake = Arc::new(Notify::new());
    let mut receivers = Vec::new();
    let mut ringing = Vec::new();
    for _ in 0..ringers {
        let (mut sender, receiver) = mailbox(1);
        receivers.push(receiver);
        let (bell, wake) = (bell.clone(), wake.clone());
        ringing.push(thread::spawn(move || {
            sender.push(()).expect("there is room");
            assert!(sender.publish());
            bell.ring_with(|| wake.notify());
            sender
        }));
    }
    let mut missing = ringers;
    loop {
        missing -= receivers.iter_mut().filter_map(MailboxReceiver::pop).count();
        if missing == 0 {
            break;
        }
        let asleep = bell.prepare();
        if receivers.iter_mut().all(MailboxReceiver::is_empty) {
            wake.wait();
        }
        drop(asleep);
    }
    for thread in ringing {
        drop(thread.join().expect("no ringer panics"));
    }
}

#[test]
fn one_ringer_is_heard() {
    loom::model(|| wake(Bell::new(), 1));
}

#[test]
fn two_ringers_are_heard() {
    loom::model(|| wake(Bell::new(), 2));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_ringer_without_its_fence_is_noticed() {
    loom::model(|| wake(Bell::weakened(WeakenedBell::Ringer), 1));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_sleeper_without_its_fence_is_noticed() {
    loom::model(|| wake(Bell::weakened(WeakenedBell::Sleeper), 1));
}
