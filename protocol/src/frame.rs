//! Frames: the unit that is written to a connection, checked, and resent.
//!
//! ```text
//! byte  0  length            u32   whole frame with this header, a multiple of 8
//!       4  protocol version  u16   PROTOCOL_VERSION
//!       6  signal count      u16   signals in the frame (0 means 65,536 are not allowed; at most 65,535)
//!       8  checksum          u32   CRC-32C of bytes 12..length
//!      12  reserved          u32   0
//!      16  cluster id        u64   0 before the sender knows it
//!      24  sender            u32 node, u32 incarnation
//!      32  receiver          u32 node, u32 incarnation
//!      40  view              u64   number of the view that the sender has installed
//!      48  epoch             u64   the sender's epoch; the receiver raises its own to it
//!      56  lane              u16   lane number, or 0xffff for a frame outside any lane
//!      58  reserved          u16, u32   0
//!      64  lane number       u64   number of this frame in its lane, from 1; 0 outside lanes
//!      72  lane acknowledged u64   highest lane number received in order from the receiver
//!      80  signals, back to back, each a multiple of 8 bytes
//! ```
//! All integers are little-endian.

use crate::error::ErrorCode;
use crate::ids::Instance;
use crate::signal::{Sections, Signal, SignalView, append_signal};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Version of everything in this crate that crosses a link; peers with another one are refused.
pub const PROTOCOL_VERSION: u16 = 1;
/// Bytes of the frame header.
pub const FRAME_HEADER_BYTES: usize = 80;
/// Largest frame that a link accepts after the handshake, in bytes.
pub const MAX_FRAME_BYTES: usize = 16 << 20;
/// Largest frame that a link accepts before its handshake is done, in bytes.
pub const MAX_HANDSHAKE_BYTES: usize = 4096;
/// A builder seals its frame when it has grown to this many bytes.
pub const FRAME_TARGET_BYTES: usize = 128 << 10;
/// Lane field of a frame outside any lane.
pub const NO_LANE: u16 = u16::MAX;
/// Most signals in one frame.
pub const MAX_FRAME_SIGNALS: u16 = 16_384;

/// The frame header; layout in the module documentation.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FrameHeader {
    /// Whole frame in bytes.
    pub length: U32,
    /// [`PROTOCOL_VERSION`].
    pub version: U16,
    /// Number of signals.
    pub signal_count: U16,
    /// CRC-32C of everything behind this field.
    pub checksum: U32,
    /// 0.
    pub reserved: U32,
    /// Cluster id, 0 when not known yet.
    pub cluster_id: U64,
    /// Sending node.
    pub sender_node: U32,
    /// Sending incarnation.
    pub sender_incarnation: U32,
    /// Receiving node.
    pub receiver_node: U32,
    /// Receiving incarnation.
    pub receiver_incarnation: U32,
    /// View of the sender.
    pub view: U64,
    /// Epoch of the sender.
    pub epoch: U64,
    /// Lane or [`NO_LANE`].
    pub lane: U16,
    /// 0.
    pub reserved_2: U16,
    /// 0.
    pub reserved_3: U32,
    /// Number in the lane.
    pub lane_number: U64,
    /// Cumulative acknowledgement of the opposite direction of the lane.
    pub lane_acknowledged: U64,
}

const _: () = assert!(size_of::<FrameHeader>() == FRAME_HEADER_BYTES);

/// What a sender says of itself in every frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Cluster id, 0 when not known yet.
    pub cluster_id: u64,
    /// Sending instance.
    pub sender: Instance,
    /// Receiving instance as the sender knows it.
    pub receiver: Instance,
    /// View of the sender.
    pub view: u64,
    /// Epoch of the sender.
    pub epoch: u64,
    /// Lane, its number, and the acknowledgement; `None` outside lanes.
    pub lane: Option<LanePosition>,
}

/// Place of a frame in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanePosition {
    /// Lane.
    pub lane: u16,
    /// Number of the frame, from 1.
    pub number: u64,
    /// Highest number received in order in the other direction.
    pub acknowledged: u64,
}

/// Length in bytes that a frame announces, when at least 8 bytes of it are there.
///
/// # Errors
/// `DamagedFrame` for an impossible length, `ProtocolVersion` for another version, `FrameTooLarge` above `limit`.
pub fn announced_length(bytes: &[u8], limit: usize) -> Result<Option<usize>, ErrorCode> {
    let Some(prefix) = bytes.first_chunk::<8>() else { return Ok(None) };
    let (length, _) = U32::ref_from_prefix(prefix).map_err(|_| ErrorCode::DamagedFrame)?;
    let (version, _) = U16::ref_from_prefix(&prefix[4..]).map_err(|_| ErrorCode::DamagedFrame)?;
    if version.get() != PROTOCOL_VERSION {
        return Err(ErrorCode::ProtocolVersion);
    }
    let length = length.get() as usize;
    if length < FRAME_HEADER_BYTES || !length.is_multiple_of(8) {
        return Err(ErrorCode::DamagedFrame);
    }
    if length > limit {
        return Err(ErrorCode::FrameTooLarge);
    }
    Ok(Some(length))
}

/// A whole frame that passed all checks: header, checksum and the bounds of every signal.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    header: &'a FrameHeader,
    bytes: &'a [u8],
    signals: &'a [u8],
    types: u64,
}

impl<'a> FrameView<'a> {
    /// Checks `bytes`, which must be exactly one frame.
    ///
    /// # Errors
    /// `DamagedFrame` when a length, the checksum or a signal's bounds are wrong; `ProtocolVersion`.
    pub fn new_checked(bytes: &'a [u8]) -> Result<FrameView<'a>, ErrorCode> {
        if announced_length(bytes, usize::MAX)? != Some(bytes.len()) {
            return Err(ErrorCode::DamagedFrame);
        }
        let (header, signals) = FrameHeader::ref_from_prefix(bytes).map_err(|_| ErrorCode::DamagedFrame)?;
        if crc32c::crc32c(&bytes[12..]) != header.checksum.get() {
            return Err(ErrorCode::DamagedFrame);
        }
        let (mut count, mut types) = (0u32, 0);
        let mut rest = signals;
        while !rest.is_empty() {
            let (signal, tail) = SignalView::split_checked(rest)?;
            rest = tail;
            count += 1;
            types |= signal.signal_type().bit();
        }
        let frame = FrameView { header, bytes, signals, types };
        if count != u32::from(header.signal_count.get()) || count > u32::from(MAX_FRAME_SIGNALS) {
            return Err(ErrorCode::DamagedFrame);
        }
        Ok(frame)
    }

    /// What the sender says of itself.
    pub fn envelope(&self) -> Envelope {
        let header = self.header;
        let lane = (header.lane.get() != NO_LANE).then(|| LanePosition {
            lane: header.lane.get(),
            number: header.lane_number.get(),
            acknowledged: header.lane_acknowledged.get(),
        });
        Envelope {
            cluster_id: header.cluster_id.get(),
            sender: Instance { node: header.sender_node.get(), incarnation: header.sender_incarnation.get() },
            receiver: Instance {
                node: header.receiver_node.get(),
                incarnation: header.receiver_incarnation.get(),
            },
            view: header.view.get(),
            epoch: header.epoch.get(),
            lane,
        }
    }

    /// The whole frame.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The types of its signals, as a set of [`crate::signal::SignalType::bit`]s.
    pub fn types(&self) -> u64 {
        self.types
    }

    /// Number of signals.
    pub fn signal_count(&self) -> usize {
        usize::from(self.header.signal_count.get())
    }

    /// The signals in order.
    #[inline]
    pub fn signals(&self) -> Signals<'a> {
        Signals { rest: self.signals }
    }
}

/// Iterator over the checked signals of a frame.
#[derive(Clone, Debug)]
pub struct Signals<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Signals<'a> {
    type Item = SignalView<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<SignalView<'a>> {
        let (signal, rest) = SignalView::split_again(self.rest)?;
        self.rest = rest;
        Some(signal)
    }
}

/// Collects signals for one connection and seals them into frames, in one reused buffer.
///
/// The buffer holds zero or more sealed frames followed by at most one open frame.
#[derive(Debug)]
pub struct FrameBuilder {
    buffer: Vec<u8>,
    open: Option<usize>,
    signal_count: u16,
    most_signals: u16,
}

impl Default for FrameBuilder {
    fn default() -> FrameBuilder {
        FrameBuilder { buffer: Vec::new(), open: None, signal_count: 0, most_signals: MAX_FRAME_SIGNALS }
    }
}

impl FrameBuilder {
    /// An empty builder.
    pub fn new() -> FrameBuilder {
        FrameBuilder::default()
    }

    /// Frames are full with so many signals: the simulator makes them short, so that what usually shares a frame does not.
    pub fn with_most_signals(signals: u16) -> FrameBuilder {
        FrameBuilder { most_signals: signals.clamp(1, MAX_FRAME_SIGNALS), ..FrameBuilder::default() }
    }

    /// Bytes collected, sealed or not.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing has been collected.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether a frame is open (it has at least one signal and no header yet).
    pub fn has_open_frame(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the open frame should be sealed before the next signal.
    pub fn is_full(&self) -> bool {
        self.signal_count >= self.most_signals
            || self.open.is_some_and(|start| self.buffer.len() - start >= FRAME_TARGET_BYTES)
    }

    /// Appends a signal to the open frame. Seal first when [`FrameBuilder::is_full`].
    #[inline]
    pub fn push<S: Signal>(&mut self, block: u16, request_id: u64, body: &S, sections: Sections<'_>) {
        if self.open.is_none() {
            self.open = Some(self.buffer.len());
            self.buffer.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        }
        self.signal_count += 1;
        append_signal(&mut self.buffer, block, request_id, body, sections);
    }

    /// Appends a checked signal as it is, under another request id.
    pub fn push_view(&mut self, request_id: u64, signal: &SignalView<'_>) {
        self.push_view_for(signal.block(), request_id, signal);
    }

    /// Appends a checked signal as it is, under another block address and request id.
    pub fn push_view_for(&mut self, block: u16, request_id: u64, signal: &SignalView<'_>) {
        if self.open.is_none() {
            self.open = Some(self.buffer.len());
            self.buffer.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        }
        self.signal_count += 1;
        signal.append_as(block, request_id, &mut self.buffer);
    }

    /// Writes the header of the open frame and returns its bytes; `None` when no frame is open.
    pub fn seal(&mut self, envelope: &Envelope) -> Option<&[u8]> {
        let start = self.open.take()?;
        let lane = envelope.lane.unwrap_or(LanePosition { lane: NO_LANE, number: 0, acknowledged: 0 });
        let mut header = FrameHeader {
            length: U32::new((self.buffer.len() - start) as u32),
            version: U16::new(PROTOCOL_VERSION),
            signal_count: U16::new(std::mem::take(&mut self.signal_count)),
            checksum: U32::new(0),
            reserved: U32::new(0),
            cluster_id: U64::new(envelope.cluster_id),
            sender_node: U32::new(envelope.sender.node),
            sender_incarnation: U32::new(envelope.sender.incarnation),
            receiver_node: U32::new(envelope.receiver.node),
            receiver_incarnation: U32::new(envelope.receiver.incarnation),
            view: U64::new(envelope.view),
            epoch: U64::new(envelope.epoch),
            lane: U16::new(lane.lane),
            reserved_2: U16::new(0),
            reserved_3: U32::new(0),
            lane_number: U64::new(lane.number),
            lane_acknowledged: U64::new(lane.acknowledged),
        };
        let frame = &mut self.buffer[start..];
        frame[..FRAME_HEADER_BYTES].copy_from_slice(header.as_bytes());
        header.checksum = U32::new(crc32c::crc32c(&frame[12..]));
        frame[..FRAME_HEADER_BYTES].copy_from_slice(header.as_bytes());
        Some(&self.buffer[start..])
    }

    /// Appends frames that were sealed elsewhere. No frame may be open.
    pub fn append_sealed(&mut self, frames: &[u8]) {
        assert!(self.open.is_none(), "a frame is still open");
        self.buffer.extend_from_slice(frames);
    }

    /// The sealed frames. No frame may be open.
    pub fn sealed(&self) -> &[u8] {
        assert!(self.open.is_none(), "a frame is still open");
        &self.buffer
    }

    /// Moves the sealed frames to the end of `target` and empties the builder, keeping its memory.
    pub fn drain_into(&mut self, target: &mut Vec<u8>) {
        target.extend_from_slice(self.sealed());
        self.clear();
    }

    /// Swaps the sealed frames with an empty buffer and empties the builder.
    pub fn take_into(&mut self, target: &mut Vec<u8>) {
        assert!(
            self.open.is_none() && target.is_empty(),
            "take_into wants sealed frames and an empty target"
        );
        std::mem::swap(&mut self.buffer, target);
    }

    /// Bytes that fit its memory.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Drops everything, keeping the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.open = None;
        self.signal_count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::heartbeat::Heartbeat;

    fn one_frame() -> Vec<u8> {
        let mut builder = FrameBuilder::new();
        let body = Heartbeat { number: 7.into(), seen: 6.into(), grant: 5.into() };
        builder.push(0, 1, &body, Sections::none());
        builder.push(0, 2, &body, Sections::none());
        let envelope = Envelope {
            cluster_id: 9,
            sender: Instance { node: 1, incarnation: 2 },
            receiver: Instance { node: 2, incarnation: 3 },
            view: 4,
            epoch: 5,
            lane: Some(LanePosition { lane: 1, number: 8, acknowledged: 3 }),
        };
        builder.seal(&envelope).expect("open").to_vec()
    }

    #[test]
    fn sealed_frames_pass_the_check() {
        let bytes = one_frame();
        let frame = FrameView::new_checked(&bytes).expect("valid");
        assert_eq!(frame.envelope().lane, Some(LanePosition { lane: 1, number: 8, acknowledged: 3 }));
        assert_eq!(frame.envelope().receiver, Instance { node: 2, incarnation: 3 });
        let ids: Vec<u64> = frame.signals().map(|signal| signal.request_id()).collect();
        assert_eq!(ids, [1, 2]);
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let bytes = one_frame();
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x10;
            assert!(FrameView::new_checked(&damaged).is_err(), "byte {position}");
        }
        for length in 0..bytes.len() {
            assert!(FrameView::new_checked(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
