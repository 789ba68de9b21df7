//! How a thread sleeps without missing a message.
//!
//! # The protocol, and why no wake-up is lost
//!
//! The sleeper raises its flag and then looks at its mailboxes once more; a ringer publishes and then looks at the
//! flag. Each stores first and loads the other's word second, so unless both loads may pass the stores, at least one
//! sees the other: either the sleeper finds the message and stays awake, or the ringer finds the flag and wakes. Only
//! a sequentially consistent fence between the store and the load, on *both* sides, forbids that both miss (Dekker's
//! pattern; C++ standard, `atomics.order`: of two such fences one comes first, and what was stored before it is seen
//! after the other). Release and acquire do not order a store before a later load, so they cannot do this.
//!
//! The ringer that swaps the flag off is the one that wakes, so a sleep costs at most one system call to end, however
//! many ringers there are. While the flag is off, a ring costs one fence and one load.

use super::sync::{Arc, AtomicBool, Ordering, fence};
use crate::poll::Waker;
use crossbeam::utils::CachePadded;

/// The sleeper's flag of one thread: one sleeper, any number of ringers.
///
/// It wakes nobody itself: how the thread sleeps (`epoll_wait`, a futex) and how it is woken are the caller's, with
/// the condition that a wake-up that comes before the thread sleeps makes it return at once (eventfd, futex and
/// `park` all do).
#[derive(Debug)]
pub struct Bell {
    asleep: CachePadded<AtomicBool>,
    #[cfg(loom)]
    weakened: Option<Weakened>,
}

/// A deliberate mistake for the models.
#[cfg(loom)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "only the models make mistakes")]
pub(super) enum Weakened {
    /// The ringer does not fence.
    Ringer,
    /// The sleeper does not fence.
    Sleeper,
}

impl Bell {
    /// The bell of a thread that is awake.
    #[must_use]
    pub fn new() -> Self {
        Self {
            asleep: CachePadded::new(AtomicBool::new(false)),
            #[cfg(loom)]
            weakened: None,
        }
    }

    /// A bell without one of its fences, which the models must notice.
    #[cfg(all(test, loom))]
    pub(super) fn weakened(weakened: Weakened) -> Self {
        Self { weakened: Some(weakened), ..Self::new() }
    }

    /// Announces that the thread is about to sleep. It must then look at all its mailboxes once more and either drop
    /// the returned value (there is work) or sleep until it is woken, and drop it afterwards.
    #[must_use = "dropping it says that the thread is awake"]
    pub fn prepare(&self) -> Asleep<'_> {
        self.asleep.store(true, Ordering::Relaxed);
        #[cfg(loom)]
        if self.weakened == Some(Weakened::Sleeper) {
            return Asleep { bell: self };
        }
        fence(Ordering::SeqCst);
        Asleep { bell: self }
    }

    /// To be called after publishing. `true` when the thread sleeps, or is about to, and the caller is the one who
    /// must wake it.
    #[must_use = "after `true` the caller must wake the thread"]
    #[inline]
    pub fn ring(&self) -> bool {
        #[cfg(loom)]
        if self.weakened == Some(Weakened::Ringer) {
            return self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// To be called after publishing: calls `wake` when the thread sleeps and nobody else wakes it.
    #[inline]
    pub fn ring_with(&self, wake: impl FnOnce()) {
        if self.ring() {
            wake();
        }
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}

/// Says that a thread sleeps or is about to; dropped, that it is awake.
#[must_use = "dropping it says that the thread is awake"]
#[derive(Debug)]
pub struct Asleep<'a> {
    bell: &'a Bell,
}

impl Drop for Asleep<'_> {
    /// Should a ringer have swapped the flag off, its wake-up may still be on its way and make a later sleep return
    /// at once, which is harmless.
    fn drop(&mut self) {
        self.bell.asleep.store(false, Ordering::Relaxed);
    }
}

/// The bell of a loop that waits in epoll with this bell's [`Waker`] among its descriptors. Clones ring the same loop.
#[derive(Clone, Debug)]
pub struct LoopBell {
    bell: Arc<Bell>,
    waker: Waker,
}

impl LoopBell {
    /// A bell that ends the waits of the loop that listens to `waker`.
    #[must_use]
    pub fn new(waker: Waker) -> Self {
        Self { bell: Arc::new(Bell::new()), waker }
    }

    /// To be called by other threads after publishing to a mailbox of the loop.
    #[inline]
    pub fn ring(&self) {
        self.bell.ring_with(|| self.waker.wake());
    }

    /// To be called by the loop before a wait that may block; see [`Bell::prepare`]. The waker is
    /// edge-triggered, so that a wait that reports it needs no further call.
    #[must_use = "dropping it says that the loop is awake"]
    pub fn prepare(&self) -> Asleep<'_> {
        self.bell.prepare()
    }

    /// What ends the waits of the loop, also without the bell.
    #[must_use]
    pub fn waker(&self) -> &Waker {
        &self.waker
    }
}
