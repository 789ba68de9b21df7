//! What a burst has heard and what it would send, and which places that reaches.

use super::{Kind, Place, Trigger};
use crate::network::Link;
use crate::process::Order;
use duet_protocol::frame::{FrameView, announced_length};
use duet_protocol::signal::SignalType;
use duet_protocol::signal::propose_view::ProposeView;

/// Signals and events, as sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    types: u64,
    raft: u32,
    proposals: u32,
}

impl Seen {
    fn note(&mut self, mut bytes: &[u8]) {
        while let Ok(Some(length)) = announced_length(bytes, usize::MAX) {
            let Some((frame, rest)) = bytes.split_at_checked(length) else { return };
            bytes = rest;
            let Ok(frame) = FrameView::new_checked(frame) else { return };
            self.types |= frame.types();
            if frame.types() & (SignalType::RaftMessage.bit() | SignalType::ProposeView.bit()) == 0 {
                continue;
            }
            for signal in frame.signals() {
                if let Some(body) = signal.body::<ProposeView>() {
                    self.proposals |= 1 << u32::from(body.kind.get()).min(31);
                } else if signal.signal_type() == SignalType::RaftMessage {
                    self.raft |= raft_kind(signal.section(0)).map_or(0, |kind| 1 << kind.min(31));
                }
            }
        }
    }
}

/// The type of a Raft message: the first field of the protobuf, tag 1 as a varint, which is left out where it is 0.
pub(crate) fn raft_kind(message: &[u8]) -> Option<u8> {
    match message {
        [0x08, kind, ..] if *kind < 0x80 => Some(*kind),
        _ => None,
    }
}

/// What a process has done since its last flush.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Burst {
    heard: Seen,
    sent: Seen,
    writes: [bool; 2],
    durable: [bool; 2],
    lost: bool,
}

impl Burst {
    /// A frame has arrived.
    pub(crate) fn hears(&mut self, frame: &[u8]) {
        self.heard.note(frame);
    }

    /// The disk has told that bytes are durable.
    pub(crate) fn is_durable(&mut self, replaced: bool) {
        self.durable[usize::from(replaced)] = true;
    }

    /// A connection was lost.
    pub(crate) fn loses(&mut self) {
        self.lost = true;
    }

    /// It would send this.
    pub(crate) fn sends(&mut self, output: &Output) {
        self.sent.note(&output.bytes);
        for order in &output.orders {
            if let Order::Persist { replace, .. } = order {
                self.writes[usize::from(*replace)] = true;
            }
        }
    }

    /// Whether a change of view of this kind would be proposed.
    pub(crate) fn proposes(&self, kind: u16) -> bool {
        self.sent.proposals & 1 << kind != 0
    }

    /// Whether it is at a place of this role, standing aside.
    pub(crate) fn is_at(&self, place: &Place, kind: Kind) -> bool {
        place.kind == kind
            && match place.trigger {
                Trigger::Hears(signal) => self.heard.types & signal.bit() != 0,
                Trigger::Sends(signal) => self.sent.types & signal.bit() != 0,
                Trigger::HearsRaft(message) => self.heard.raft & 1 << message != 0,
                Trigger::SendsRaft(message) => self.sent.raft & 1 << message != 0,
                Trigger::Proposes(change) => self.proposes(change),
                Trigger::Writes(replace) => self.writes[usize::from(replace)],
                Trigger::Durable(replaced) => self.durable[usize::from(replaced)],
                Trigger::Loses => self.lost,
            }
    }
}

/// What a burst hands out: bytes for links and orders for the world.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    /// Each link with the end of its bytes.
    parts: Vec<(Link, usize)>,
    /// Orders, in their order.
    pub(crate) orders: Vec<Order>,
}

impl Output {
    /// Whole frames for a link.
    pub(crate) fn push(&mut self, link: Link, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.parts.push((link, self.bytes.len()));
    }

    /// The links with their bytes.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Link, &[u8])> {
        self.parts.iter().scan(0, |start, (link, end)| {
            let bytes = &self.bytes[*start..*end];
            *start = *end;
            Some((*link, bytes))
        })
    }

    /// How many links get something.
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// How many bytes there are.
    pub(crate) fn byte_count(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Forgets all behind the first `parts` links, and the orders with `without_orders`.
    pub(crate) fn cut(&mut self, parts: usize, without_orders: bool) {
        self.parts.truncate(parts);
        self.bytes.truncate(self.parts.last().map_or(0, |(_, end)| *end));
        if without_orders {
            self.orders.clear();
        }
    }

    /// Empties it, to be used again.
    pub(crate) fn clear(&mut self) {
        self.cut(0, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raft_messages_tell_their_type() {
        assert_eq!(raft_kind(&[0x08, 3, 0x10, 1]), Some(3));
        assert_eq!(raft_kind(&[0x10, 3]), None);
        assert_eq!(raft_kind(&[]), None);
    }

    #[test]
    fn an_output_is_cut_at_a_link() {
        let link = |slot| Link { slot, generation: 1 };
        let mut output = Output::default();
        output.push(link(1), b"abc");
        output.push(link(2), b"de");
        assert_eq!(
            output.parts().map(|(link, bytes)| (link.slot, bytes.len())).collect::<Vec<_>>(),
            [(1, 3), (2, 2)]
        );
        output.cut(1, false);
        assert_eq!((output.len(), output.byte_count()), (1, 3));
        output.clear();
        assert_eq!(output.parts().count(), 0);
    }
}
