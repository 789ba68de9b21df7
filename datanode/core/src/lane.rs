//! Lanes: numbered, resumable, first-in-first-out streams of frames between two instances.
//!
//! A frame stays with its sender until the other side has acknowledged it; after a broken connection both sides say
//! what they have received and the rest is sent again, so that a lane never loses, repeats or reorders a frame while
//! both instances live (PROTOCOL.md §1, counterexample 17).

use crate::interface::LinkId;
use duet_protocol::frame::{Envelope, FrameBuilder, LanePosition};
use duet_protocol::ids::Instance;
use duet_protocol::signal::{Sections, Signal, SignalView};
use std::collections::VecDeque;

/// Bytes kept for resending above which a lane takes no new writes.
pub const LANE_RETAINED_LIMIT: usize = 8 << 20;
/// Received frames without an acknowledgement after which one is sent by itself.
const ACKNOWLEDGE_AFTER_FRAMES: u64 = 16;
/// Buffers kept for the next frames.
const SPARE_BUFFERS: usize = 64;
/// Largest buffer kept as a spare, in bytes.
const SPARE_BUFFER_BYTES: usize = 256 << 10;

/// What to do with a frame that arrived in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is the next one: process it.
    Next,
    /// It was received before: drop it.
    Duplicate,
    /// Frames are missing before it: the connection must be renewed.
    Gap,
}

/// One lane to one instance.
#[derive(Debug)]
pub struct Lane {
    /// The other instance.
    pub peer: Instance,
    /// Number of the lane.
    pub number: u16,
    /// Its connection, while there is one.
    pub link: Option<LinkId>,
    builder: FrameBuilder,
    sent: u64,
    acknowledged: u64,
    retained: VecDeque<Vec<u8>>,
    retained_bytes: usize,
    spare: Vec<Vec<u8>>,
    received: u64,
    acknowledgement_sent: u64,
    /// Frames sent again, for the counters.
    pub resent: u64,
    /// The instance at the other end was removed from the view: nothing goes through the lane any more.
    pub retired: bool,
    /// Numbers of the frames that the last two slices of copied rows ended in, the older one first.
    slices: [u64; 2],
    /// Frames of a newer view than this node's, which were not received yet as far as the other side is told.
    held: VecDeque<Vec<u8>>,
    held_bytes: usize,
}

impl Lane {
    /// A lane over which nothing has been sent.
    pub fn new(peer: Instance, number: u16, frame_signals: u16) -> Lane {
        Lane {
            peer,
            number,
            link: None,
            builder: FrameBuilder::with_most_signals(frame_signals),
            sent: 0,
            acknowledged: 0,
            retained: VecDeque::new(),
            retained_bytes: 0,
            spare: Vec::new(),
            received: 0,
            acknowledgement_sent: 0,
            resent: 0,
            retired: false,
            slices: [0; 2],
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// The other instance is no member any more: everything is let go. Returns the link, which must be closed.
    pub fn retire(&mut self) -> Option<LinkId> {
        self.retired = true;
        self.builder.clear();
        self.retained = VecDeque::new();
        self.retained_bytes = 0;
        self.spare = Vec::new();
        self.take_held();
        self.link.take()
    }

    /// Keeps a frame until a newer view is installed.
    pub fn hold(&mut self, frame: &[u8]) {
        self.held_bytes += frame.len();
        self.held.push_back(frame.to_vec());
    }

    /// Bytes of frames that wait for a newer view.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes the frames that wait for a newer view.
    pub fn take_held(&mut self) -> VecDeque<Vec<u8>> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    /// Whether the open frame should be sealed first.
    pub fn is_full(&self) -> bool {
        self.builder.is_full()
    }

    /// Whether so much is unacknowledged that no new write should enter.
    pub fn is_congested(&self) -> bool {
        self.retained_bytes + self.builder.len() > LANE_RETAINED_LIMIT
    }

    /// Bytes kept for resending.
    pub fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }

    /// Whether a slice of copied rows may be sent: the other side has received the one before the last. Writes wait behind what it has
    /// not received.
    pub fn takes_slice(&self) -> bool {
        self.acknowledged >= self.slices[0]
    }

    /// A slice of copied rows was sent.
    pub fn sent_slice(&mut self) {
        let last = self.sent + u64::from(self.builder.has_open_frame());
        self.slices = [self.slices[1], last];
    }

    /// Highest number received in order.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Appends a signal to the open frame.
    #[inline]
    pub fn push<S: Signal>(&mut self, body: &S, sections: Sections<'_>) {
        self.builder.push(0, 0, body, sections);
    }

    /// As [`Lane::push`], with a block address and a request id.
    pub fn push_for<S: Signal>(&mut self, block: u16, request_id: u64, body: &S, sections: Sections<'_>) {
        self.builder.push(block, request_id, body, sections);
    }

    /// Appends a checked signal as it is, with another block address and request id.
    pub fn pass_on(&mut self, block: u16, request_id: u64, signal: &SignalView<'_>) {
        self.builder.push_view_for(block, request_id, signal);
    }

    /// Seals the open frame and keeps it. The link to send it on, if there was one to seal and the lane is connected.
    pub fn seal(&mut self, identity: &Envelope) -> Option<LinkId> {
        if !self.builder.has_open_frame() {
            return None;
        }
        self.sent += 1;
        let position = LanePosition { lane: self.number, number: self.sent, acknowledged: self.received };
        self.builder.seal(&Envelope { receiver: self.peer, lane: Some(position), ..*identity });
        self.acknowledgement_sent = self.received;
        let mut frame = self.spare.pop().unwrap_or_default();
        self.builder.take_into(&mut frame);
        self.retained_bytes += frame.len();
        self.retained.push_back(frame);
        self.link
    }

    /// Frames that the other side has not acknowledged, oldest first.
    pub fn retained_frames(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.retained.iter().map(Vec::as_slice)
    }

    /// The other side has received everything up to `number`. False when that is impossible.
    #[must_use]
    pub fn acknowledge(&mut self, number: u64) -> bool {
        if number > self.sent {
            return false;
        }
        while self.acknowledged < number {
            self.acknowledged += 1;
            let Some(mut frame) = self.retained.pop_front() else { return false };
            self.retained_bytes -= frame.len();
            if self.spare.len() < SPARE_BUFFERS && frame.capacity() <= SPARE_BUFFER_BYTES {
                frame.clear();
                self.spare.push(frame);
            }
        }
        true
    }

    /// A frame with this number arrived.
    pub fn arrived(&mut self, number: u64) -> Arrival {
        if number == self.received + 1 {
            self.received = number;
            Arrival::Next
        } else if number <= self.received {
            Arrival::Duplicate
        } else {
            Arrival::Gap
        }
    }

    /// Planted bug of the simulator's tests: believe in a number whatever is missing before it.
    pub fn believe(&mut self, number: u64) {
        self.received = number;
    }

    /// Whether the lane can go on with a peer that has received everything up to `peer_received`. Not with one that
    /// says so in an old handshake that arrives late: what it lacks is given up already.
    pub fn can_resume(&self, peer_received: u64) -> bool {
        (self.acknowledged..=self.sent).contains(&peer_received)
    }

    /// The lane is connected over `link`, and the other side has received everything up to `peer_received`. False when
    /// the lane cannot be resumed.
    #[must_use]
    pub fn attach(&mut self, link: LinkId, peer_received: u64) -> bool {
        if !self.can_resume(peer_received) || !self.acknowledge(peer_received) {
            return false;
        }
        self.link = Some(link);
        self.acknowledgement_sent = self.received;
        self.resent += self.retained.len() as u64;
        true
    }

    /// Planted bug of the simulator's tests: forget what should be sent again.
    pub fn forget_retained(&mut self) {
        self.acknowledged = self.sent;
        self.retained.clear();
        self.retained_bytes = 0;
    }

    /// The link is gone. Whether it was this lane's.
    pub fn detach(&mut self, link: LinkId) -> bool {
        let was = self.link == Some(link);
        if was {
            self.link = None;
            // They were not acknowledged, so they are sent again.
            self.take_held();
        }
        was
    }

    /// Whether frames have arrived that are not acknowledged.
    pub fn owes_acknowledgement(&self) -> bool {
        self.received > self.acknowledgement_sent
    }

    /// The acknowledgement to send by itself now, if one is due. `idle`: whatever is outstanding is due.
    pub fn acknowledgement_due(&mut self, idle: bool) -> Option<u64> {
        let outstanding = self.received - self.acknowledgement_sent;
        let due = outstanding >= ACKNOWLEDGE_AFTER_FRAMES || (idle && outstanding > 0);
        if due && self.link.is_some() && !self.builder.has_open_frame() {
            self.acknowledgement_sent = self.received;
            return Some(self.received);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duet_protocol::signal::heartbeat::Heartbeat;

    const LINK: LinkId = LinkId { slot: 1, generation: 1 };

    fn sent_lane(frames: u64) -> Lane {
        let mut lane = Lane::new(Instance { node: 2, incarnation: 1 }, 0, u16::MAX);
        for _ in 0..frames {
            lane.push(&Heartbeat::default(), Sections::none());
            lane.seal(&Envelope::default());
        }
        lane
    }

    #[test]
    fn frames_stay_until_acknowledged_and_are_sent_again() {
        let mut lane = sent_lane(5);
        assert_eq!(lane.retained_frames().len(), 5);
        assert!(lane.acknowledge(2));
        assert!(lane.acknowledge(1), "an old acknowledgement is harmless");
        assert_eq!(lane.retained_frames().len(), 3);
        assert!(lane.attach(LINK, 4));
        assert_eq!((lane.retained_frames().len(), lane.resent), (1, 1));
        assert!(!lane.acknowledge(6), "never sent");
        let late = LinkId { slot: 2, generation: 1 };
        assert!(!lane.attach(late, 1), "frames 2 to 4 were given up already");
        assert!(!lane.attach(late, 6), "never sent");
        assert_eq!(lane.link, Some(LINK), "a refused handshake does not take the lane's connection");
    }

    #[test]
    fn two_slices_are_on_their_way_at_most() {
        let mut lane = sent_lane(1);
        for _ in 0..2 {
            assert!(lane.takes_slice());
            lane.push(&Heartbeat::default(), Sections::none());
            lane.sent_slice();
            lane.seal(&Envelope::default());
        }
        assert!(!lane.takes_slice());
        assert!(lane.acknowledge(1) && !lane.takes_slice());
        assert!(lane.acknowledge(2) && lane.takes_slice(), "the older one was received");
    }

    #[test]
    fn arrivals_are_in_order_exactly_once() {
        let mut lane = sent_lane(0);
        assert_eq!(lane.arrived(1), Arrival::Next);
        assert_eq!(lane.arrived(1), Arrival::Duplicate);
        assert_eq!(lane.arrived(3), Arrival::Gap);
        assert_eq!(lane.arrived(2), Arrival::Next);
        assert_eq!(lane.acknowledgement_due(true), None, "not connected");
        assert!(lane.attach(LINK, 0));
        assert_eq!(lane.acknowledgement_due(true), None, "the handshake carried it");
        assert_eq!(lane.arrived(3), Arrival::Next);
        assert_eq!(lane.acknowledgement_due(false), None);
        assert_eq!(lane.acknowledgement_due(true), Some(3));
    }
}
