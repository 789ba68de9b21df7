//! What both ends of a mailbox share.
//!
//! # The algorithm, and why its orderings suffice
//!
//! Lamport's single-producer single-consumer ring (*Proving the Correctness of Multiprocess Programs*, 1977): two
//! counters that only grow, each written by one side. `published` counts the messages the receiver may read,
//! `released` those whose slots the sender may overwrite; a message's slot is its number modulo the capacity. As in
//! MCRingBuffer (Lee, Bu, Chandranmenon, *A Lock-Free, Cache-Efficient Multi-Core Synchronization Mechanism for
//! Line-Rate Network Traffic Monitoring*, IPDPS 2010), each side keeps a private copy of the other's counter, reads
//! the shared one only when the copy says "full" or "empty", and writes its own once per batch, so that the cache
//! lines of the counters move between cores once per batch instead of once per message.
//!
//! - The sender writes slots, then stores `published` with *release*; the receiver loads it with *acquire* before it
//!   reads those slots. So every slot below `published` is seen whole.
//! - The receiver moves messages out, then stores `released` with *release*; the sender loads it with *acquire*
//!   before it overwrites those slots. So no slot is overwritten while it is still being read.
//! - A sender that found no room and will sleep says so (`room_wanted`) and looks at `released` once more; a receiver
//!   that has released slots looks at the flag. As with the sleeper's flag of [`super::Bell`], each stores first and
//!   loads second with a sequentially consistent fence between, so at least one of them sees the other.
//! - Everything else is private to one side. A stale counter is harmless: it shows less than there is.

use super::receiver::MailboxReceiver;
use super::sender::MailboxSender;
use super::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, fence};
use crossbeam::utils::CachePadded;
use std::mem::MaybeUninit;

/// A mailbox for at least `capacity` messages (rounded up to a power of two), which are allocated here and never
/// again. A message takes whole cache lines of 64 bytes.
///
/// # Panics
/// When `capacity` is zero.
#[must_use]
pub fn mailbox<T: Send>(capacity: usize) -> (MailboxSender<T>, MailboxReceiver<T>) {
    ends(Ring::new(capacity))
}

/// A mailbox with one ordering taken away, which the models must notice.
#[cfg(all(test, loom))]
pub(super) fn weakened_mailbox<T: Send>(
    capacity: usize,
    weakened: Weakened,
) -> (MailboxSender<T>, MailboxReceiver<T>) {
    let mut ring = Ring::new(capacity);
    ring.weakened = Some(weakened);
    ends(ring)
}

fn ends<T>(ring: Ring<T>) -> (MailboxSender<T>, MailboxReceiver<T>) {
    let ring = Arc::new(ring);
    (MailboxSender::new(ring.clone()), MailboxReceiver::new(ring))
}

/// A deliberate mistake for the models.
#[cfg(loom)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "only the models make mistakes")]
pub(super) enum Weakened {
    /// Messages are published with a relaxed store.
    Publish,
    /// Slots are released with a relaxed store.
    Release,
    /// A sender that wants room does not fence.
    Wish,
    /// A receiver that looks whether room is wanted does not fence.
    Answer,
}

/// One message, on cache lines of its own.
#[repr(align(64))]
struct Slot<T>(UnsafeCell<MaybeUninit<T>>);

/// What one side tells the other, on a cache line of its own.
#[derive(Debug)]
pub(super) struct Side {
    /// Messages published (the sender's) or slots released (the receiver's) since the beginning.
    count: AtomicUsize,
    /// This side was dropped; its count will not grow any more.
    gone: AtomicBool,
}

impl Side {
    fn new() -> Self {
        Self { count: AtomicUsize::new(0), gone: AtomicBool::new(false) }
    }

    /// What the other side may rely on.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether the side was dropped. After `true`, [`count`](Self::count) is its last word.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// The side's last act.
    pub(super) fn leave(&self) {
        self.gone.store(true, Ordering::Release);
    }
}

/// The slots and the two counters. Alive until both ends are dropped.
pub(super) struct Ring<T> {
    slots: Box<[Slot<T>]>,
    mask: usize,
    #[cfg(loom)]
    weakened: Option<Weakened>,
    pub(super) sender: CachePadded<Side>,
    pub(super) receiver: CachePadded<Side>,
    /// The sender waits for room. Hardly ever written, so that both sides keep it in their caches.
    room_wanted: CachePadded<AtomicBool>,
}

// SAFETY: the ring moves values of `T` between threads but never shares them: a slot is touched by the sender alone
// before it is published, and by the receiver alone from then until it is released.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a mailbox without slots never delivers");
        let capacity = capacity.next_power_of_two();
        Self {
            slots: (0..capacity).map(|_| Slot(UnsafeCell::new(MaybeUninit::uninit()))).collect(),
            mask: capacity - 1,
            #[cfg(loom)]
            weakened: None,
            sender: CachePadded::new(Side::new()),
            receiver: CachePadded::new(Side::new()),
            room_wanted: CachePadded::new(AtomicBool::new(false)),
        }
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.mask + 1
    }

    /// Lets the receiver see every message below `count`.
    #[inline]
    pub(super) fn publish(&self, count: usize) {
        #[cfg(loom)]
        if self.weakened == Some(Weakened::Publish) {
            return self.sender.count.store(count, Ordering::Relaxed);
        }
        self.sender.count.store(count, Ordering::Release);
    }

    /// Lets the sender overwrite the slots of every message below `count`.
    #[inline]
    pub(super) fn release(&self, count: usize) {
        #[cfg(loom)]
        if self.weakened == Some(Weakened::Release) {
            return self.receiver.count.store(count, Ordering::Relaxed);
        }
        self.receiver.count.store(count, Ordering::Release);
    }

    /// The sender waits for room; it must look once more afterwards.
    pub(super) fn want_room(&self) {
        self.room_wanted.store(true, Ordering::Relaxed);
        #[cfg(loom)]
        if self.weakened == Some(Weakened::Wish) {
            return;
        }
        fence(Ordering::SeqCst);
    }

    /// After releasing: whether the sender waits for room, which only the first call after each wish says.
    #[inline]
    pub(super) fn is_room_wanted(&self) -> bool {
        #[cfg(loom)]
        if self.weakened == Some(Weakened::Answer) {
            return self.room_wanted.load(Ordering::Relaxed)
                && self.room_wanted.swap(false, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.room_wanted.load(Ordering::Relaxed) && self.room_wanted.swap(false, Ordering::Relaxed)
    }

    /// Puts message `number` into its slot.
    ///
    /// # Safety
    /// Only for the sender, when `number` is unpublished and the slot is released or was never used.
    #[inline]
    pub(super) unsafe fn write(&self, number: usize, message: T) {
        self.slot(number).with_mut(|slot| {
            // SAFETY: by the contract nobody else touches the slot now; it holds no live value that would be lost.
            unsafe { (*slot).write(message) };
        });
    }

    /// Moves message `number` out of its slot.
    ///
    /// # Safety
    /// Only for the receiver, once, when `number` is published (seen by [`Side::count`]) and unreleased.
    #[inline]
    pub(super) unsafe fn read(&self, number: usize) -> T {
        // SAFETY: the slot was written before it was published, and by the contract it is not read a second time, so
        // the value is initialised and moved exactly once. The sender leaves it alone until it is released.
        self.slot(number).with(|slot| unsafe { (*slot).assume_init_read() })
    }

    /// Looks at message `number` where it lies.
    ///
    /// # Safety
    /// Only for the receiver, when `number` is published (seen by [`Side::count`]), and neither read nor released as
    /// long as the reference lives.
    #[inline]
    pub(super) unsafe fn look(&self, number: usize) -> &T {
        // SAFETY: the slot was written before it was published and is not moved out yet; nobody writes it before it
        // is released, which the contract puts after the end of the reference.
        self.slot(number).with(|slot| unsafe { (*slot).assume_init_ref() })
    }

    #[inline]
    fn slot(&self, number: usize) -> &UnsafeCell<MaybeUninit<T>> {
        // SAFETY: `mask` is the number of slots, a power of two, minus one; so the index is below that number.
        unsafe { &self.slots.get_unchecked(number & self.mask).0 }
    }
}

impl<T> Drop for Ring<T> {
    /// Both ends are gone, and what they last published and released is final: the messages between are the remains.
    fn drop(&mut self) {
        let mut number = self.receiver.count();
        let published = self.sender.count();
        while number != published {
            // SAFETY: the message is published and unreleased, and each is read once.
            drop(unsafe { self.read(number) });
            number = number.wrapping_add(1);
        }
    }
}
