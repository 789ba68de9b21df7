//! Gauges that the parts of a node and the owners of its sockets share. They guide decisions and guard no data, so
//! relaxed ordering is enough.

use crate::interface::LinkId;
use crate::kernel::CLIENT_FRAME_BYTES;
use crate::outbox::BACKLOG_PAUSE_BYTES;
use duet_protocol::frame::MAX_HANDSHAKE_BYTES;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Backlog and largest frame of every link, by slot.
#[derive(Debug)]
pub struct LinkBoard {
    slots: Box<[Slot]>,
}

/// Upper half of both: the generation that the number is of.
#[derive(Debug, Default)]
struct Slot {
    backlog: AtomicU64,
    on_the_way: AtomicU64,
    frame_limit: AtomicU64,
}

impl LinkBoard {
    /// A board for links with slots up to `max_links`.
    pub fn new(max_links: u32) -> LinkBoard {
        LinkBoard { slots: (0..=max_links).map(|_| Slot::default()).collect() }
    }

    /// Bytes handed out for a link and not yet accepted by the system: those with the owner of its socket and those on
    /// the way to it.
    #[inline]
    pub fn backlog(&self, link: LinkId) -> usize {
        let Some(slot) = self.slots.get(link.slot as usize) else { return 0 };
        let bytes = |gauge| of(link, gauge).unwrap_or(0) as usize;
        bytes(&slot.backlog) + bytes(&slot.on_the_way)
    }

    /// Bytes that the owner of a link's socket has and the system has not accepted.
    #[inline]
    pub fn unsent(&self, link: LinkId) -> usize {
        self.slots.get(link.slot as usize).map_or(0, |slot| of(link, &slot.backlog).unwrap_or(0)) as usize
    }

    /// A part hands out bytes for a link. Without effect when the slot is used again already.
    #[inline]
    pub fn hand_out(&self, link: LinkId, bytes: usize) {
        if let Some(slot) = self.slots.get(link.slot as usize) {
            let add = |known: u64| match of_packed(link, known) {
                Some(on_the_way) => Some(packed(link, on_the_way as usize + bytes)),
                None => (!generation_of(link, known).is_after(link.generation)).then(|| packed(link, bytes)),
            };
            let _ = slot.on_the_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    /// Handed out bytes have arrived with the owner of the socket, or were sent on the way. Whether the link, which was
    /// not to be read from before, may be read from now.
    #[inline]
    pub fn arrived(&self, link: LinkId, bytes: usize) -> bool {
        let Some(slot) = self.slots.get(link.slot as usize) else { return false };
        let take = |known: u64| {
            of_packed(link, known).map(|on_the_way| packed(link, (on_the_way as usize).saturating_sub(bytes)))
        };
        let before = slot.on_the_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        let before = before.ok().and_then(|known| of_packed(link, known)).unwrap_or(0) as usize;
        let unsent = of(link, &slot.backlog).unwrap_or(0) as usize;
        let after = unsent + before.saturating_sub(bytes);
        unsent + before > BACKLOG_PAUSE_BYTES && after <= BACKLOG_PAUSE_BYTES
    }

    /// Sets the bytes that are not yet accepted by the system.
    pub fn set_backlog(&self, link: LinkId, bytes: usize) {
        if let Some(slot) = self.slots.get(link.slot as usize) {
            slot.backlog.store(packed(link, bytes), Ordering::Relaxed);
        }
    }

    /// Largest frame to accept from a link, in bytes; a small one before anything was set.
    pub fn frame_limit(&self, link: LinkId) -> usize {
        let limit = self.slots.get(link.slot as usize).and_then(|slot| of(link, &slot.frame_limit));
        limit.map_or(MAX_HANDSHAKE_BYTES, |bytes| bytes as usize)
    }

    /// Whether to read from a link now: not from a client that does not read its answers.
    pub fn wants_input(&self, link: LinkId) -> bool {
        self.frame_limit(link) != CLIENT_FRAME_BYTES || self.backlog(link) <= BACKLOG_PAUSE_BYTES
    }

    /// Sets the largest frame to accept from a link. Without effect when the slot is used again already, which the part
    /// that sets it may not know yet.
    pub fn set_frame_limit(&self, link: LinkId, bytes: usize) {
        if let Some(slot) = self.slots.get(link.slot as usize) {
            let set = |known| {
                (!generation_of(link, known).is_after(link.generation)).then_some(packed(link, bytes))
            };
            let _ = slot.frame_limit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, set);
        }
    }
}

fn packed(link: LinkId, bytes: usize) -> u64 {
    u64::from(link.generation) << 32 | u64::from(u32::try_from(bytes).unwrap_or(u32::MAX))
}

/// The number, if it is of this generation of the link.
fn of(link: LinkId, gauge: &AtomicU64) -> Option<u32> {
    of_packed(link, gauge.load(Ordering::Relaxed))
}

fn of_packed(link: LinkId, packed: u64) -> Option<u32> {
    ((packed >> 32) as u32 == link.generation).then_some(packed as u32)
}

/// The link of the same slot that a number is of.
fn generation_of(link: LinkId, packed: u64) -> LinkId {
    LinkId { slot: link.slot, generation: (packed >> 32) as u32 }
}

/// The epoch of a node whose parts run on several threads. It only rises. A part that receives a message sees at least
/// the epoch that its sender saw: the mailbox orders the two.
#[derive(Clone, Debug, Default)]
pub struct SharedEpoch {
    gauges: Arc<EpochGauges>,
}

#[derive(Debug, Default)]
struct EpochGauges {
    epoch: AtomicU64,
    client_epochs: AtomicU64,
    stalled: AtomicBool,
    sessions_from: AtomicU64,
}

impl SharedEpoch {
    /// The epoch now.
    pub fn get(&self) -> u64 {
        self.gauges.epoch.load(Ordering::Relaxed)
    }

    /// Raises it to at least this.
    pub fn raise(&self, epoch: u64) {
        self.gauges.epoch.fetch_max(epoch, Ordering::Relaxed);
    }

    /// The epoch before which the node opens no session.
    pub(crate) fn sessions_from(&self) -> u64 {
        self.gauges.sessions_from.load(Ordering::Relaxed)
    }

    /// Sets the epoch before which the node opens no session.
    pub(crate) fn open_sessions_from(&self, epoch: u64) {
        self.gauges.sessions_from.store(epoch, Ordering::Relaxed);
    }

    /// Whether epochs have not closed for so long that the node accepts no commits.
    pub(crate) fn is_stalled(&self) -> bool {
        self.gauges.stalled.load(Ordering::Relaxed)
    }

    /// Sets whether the node accepts commits.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.gauges.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Takes `epochs` of those by which clients may raise it. False when there are not so many.
    pub(crate) fn take_client_epochs(&self, epochs: u64) -> bool {
        let take = |left: u64| left.checked_sub(epochs);
        epochs == 0
            || self.gauges.client_epochs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Allows clients to raise it by so many more, `most` in all.
    pub(crate) fn give_client_epochs(&self, epochs: u64, most: u64) {
        let give = |left: u64| Some(left.saturating_add(epochs).min(most));
        let _ = self.gauges.client_epochs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_of_an_earlier_link_are_forgotten() {
        let board = LinkBoard::new(3);
        let (old, new) = (LinkId { slot: 3, generation: 1 }, LinkId { slot: 3, generation: 2 });
        board.set_backlog(old, 5);
        board.set_frame_limit(old, 1 << 20);
        assert_eq!((board.backlog(old), board.frame_limit(old)), (5, 1 << 20));
        assert_eq!((board.backlog(new), board.frame_limit(new)), (0, MAX_HANDSHAKE_BYTES));
        board.set_frame_limit(new, 1 << 10);
        board.set_frame_limit(old, 1 << 20);
        assert_eq!(board.frame_limit(new), 1 << 10, "a part that lags behind speaks of the earlier link");
        board.hand_out(new, 3 << 20);
        board.hand_out(old, 7);
        board.set_backlog(new, 10);
        assert_eq!((board.backlog(new), board.unsent(new), board.backlog(old)), ((3 << 20) + 10, 10, 0));
        assert!(!board.arrived(old, 7) && !board.arrived(new, 1 << 20));
        assert!(board.arrived(new, 2 << 20), "it may be read from again");
        assert!(!board.arrived(new, 1));
        assert_eq!(board.backlog(new), 10);
        board.set_backlog(LinkId { slot: 9, generation: 1 }, 5);
        assert_eq!(board.backlog(LinkId { slot: 9, generation: 1 }), 0, "no such slot");
    }
}
