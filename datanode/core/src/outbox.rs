//! Where blocks put what they send: one frame builder per link and per lane, sealed at the end of a burst.

use crate::interface::LinkId;
use crate::lane::Lane;
use crate::split::LinkBoard;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::ids::Instance;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::{Sections, Signal, SignalView, append_signal};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes waiting for one link above which the driver should stop reading from it.
pub const BACKLOG_PAUSE_BYTES: usize = 1 << 20;
/// Bytes of full frames after which a burst should end.
const BURST_BYTES: usize = 1 << 20;
/// Memory that the output of a link keeps for itself from burst to burst, at most; larger buffers go from link to link.
const KEEP_BYTES: usize = 16 << 10;
/// Memory of all buffers that are kept for whichever link needs one.
const SPARE_BYTES: usize = 8 << 20;
/// Bytes waiting for one link above which answers become `ReplyBufferFull`.
pub const BACKLOG_REFUSE_BYTES: usize = 8 << 20;

/// To whom an answer goes: the link it came from and the request id used there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// Link.
    pub link: LinkId,
    /// Request id.
    pub request_id: u64,
}

/// Whom a signal of a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// The local data manager of a node that holds the fragments whose chains run through a lane.
    Fragments {
        /// Node id.
        node: u32,
        /// Lane of the fragment.
        lane: u16,
    },
    /// A transaction coordinator.
    Coordinator {
        /// Node id.
        node: u32,
        /// Lane through which the signal travels.
        lane: u16,
        /// Number of the coordinator in its node.
        number: u8,
    },
}

impl Address {
    fn node_and_lane(self) -> (u32, u16) {
        match self {
            Address::Fragments { node, lane } | Address::Coordinator { node, lane, .. } => (node, lane),
        }
    }
}

/// The name of a transaction at its coordinator, as it travels in the header of every signal about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// Number of the coordinator in its node.
    pub number: u8,
    /// Its name for the transaction.
    pub transaction: u64,
}

impl Handle {
    /// The handle in the header of a signal.
    pub fn of(signal: &SignalView<'_>) -> Handle {
        Handle { number: signal.block() as u8, transaction: signal.request_id() }
    }
}

/// Signals of transactions for blocks of this node, back to back.
#[derive(Debug)]
pub struct Mail {
    /// For whom.
    pub to: Address,
    /// The signals.
    pub signals: Vec<u8>,
}

/// Bytes of mail after which the next signal begins another one: with it a mail mostly fits a block of the pool.
const MAIL_BYTES: usize = 2_048;
/// Buffers of mail kept for the next ones.
const SPARE_MAIL: usize = 64;
/// Largest buffer of mail kept, in bytes.
const SPARE_MAIL_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
struct LinkOutput {
    generation: u32,
    open: bool,
    receiver: Instance,
    builder: FrameBuilder,
    /// Handed to the driver, not yet accepted by the system; in a part of a node, when it was first sent to in this burst.
    backlog: usize,
    dirty: bool,
}

impl LinkOutput {
    /// Something is sent for the first time in a burst.
    fn touch(&mut self, link: LinkId, burst: &mut Burst, board: Option<&Arc<LinkBoard>>) {
        self.dirty = true;
        burst.links.push(link.slot);
        if let Some(board) = board {
            self.backlog = board.backlog(link);
        }
        if self.builder.capacity() == 0 {
            burst.lend(&mut self.builder);
        }
    }
}

/// What a burst of output is of all links.
#[derive(Debug, Default)]
struct Burst {
    /// Slots of the links that something is sent to.
    links: Vec<u32>,
    /// Bytes of frames that became full.
    full_bytes: usize,
    /// Large buffers from earlier bursts, empty; the one used last comes first.
    spare: Vec<Vec<u8>>,
    spare_bytes: usize,
}

impl Burst {
    /// A builder without memory gets a large buffer, if there is one.
    fn lend(&mut self, builder: &mut FrameBuilder) {
        if let Some(mut buffer) = self.spare.pop() {
            self.spare_bytes -= buffer.capacity();
            builder.take_into(&mut buffer);
        }
    }

    /// The output of a link is handed out: its memory, if large, is for whoever needs it next.
    fn give_back(&mut self, builder: &mut FrameBuilder) {
        builder.clear();
        if builder.capacity() > KEEP_BYTES {
            let mut buffer = Vec::new();
            builder.take_into(&mut buffer);
            if self.spare_bytes + buffer.capacity() <= SPARE_BYTES {
                self.spare_bytes += buffer.capacity();
                self.spare.push(buffer);
            }
        }
    }
}

/// All outgoing traffic of one kernel.
#[derive(Debug, Default)]
pub struct Outbox {
    /// In a part of a node: gauges of the links. Links are opened when they are first sent to, for other parts handle them.
    board: Option<Arc<LinkBoard>>,
    links: Vec<LinkOutput>,
    burst: Burst,
    /// Lanes to the other data nodes.
    pub lanes: Vec<Lane>,
    /// What every frame says of this node; the receiver is filled in per link.
    pub identity: Envelope,
    /// Number of errors answered, for the counters.
    pub errors: u64,
    /// In a coordinator part: lanes belong to the data parts.
    pub without_lanes: bool,
    /// Signals of transactions that stay in this node, or (without lanes) begin their way in it.
    mail: VecDeque<Mail>,
    spare_mail: Vec<Vec<u8>>,
}

impl Outbox {
    /// The output of a part of a node.
    pub fn of_part(board: Arc<LinkBoard>) -> Outbox {
        Outbox { board: Some(board), ..Outbox::default() }
    }

    /// Opens the output of a new link.
    pub fn open(&mut self, link: LinkId) {
        let slot = link.slot as usize;
        if self.links.len() <= slot {
            self.links.resize_with(slot + 1, LinkOutput::default);
        }
        let output = &mut self.links[slot];
        output.generation = link.generation;
        output.open = true;
        output.receiver = Instance::NONE;
        output.builder.clear();
        output.backlog = 0;
    }

    /// In a part of a node: opens the output of a link that other parts handle.
    #[cold]
    fn open_unknown(&mut self, link: LinkId) {
        if link.generation == 0 {
            // Nobody: no link has this generation.
            return;
        }
        let known = self.links.get(link.slot as usize).map(|output| output.generation);
        // A link that was closed here stays closed.
        let newer = known.is_none_or(|known| link.is_after(known));
        if self.board.is_some() && newer {
            self.open(link);
        }
    }

    /// Whether the slot of a link is known to have been used again since: the link is closed.
    pub fn is_outdated(&self, link: LinkId) -> bool {
        let known = self.links.get(link.slot as usize).map(|output| output.generation);
        known.is_some_and(|generation| LinkId { slot: link.slot, generation }.is_after(link.generation))
    }

    /// Drops the output of a closed link; later sends to it are forgotten.
    pub fn close(&mut self, link: LinkId) {
        // Answers may still come for a link that this part has not sent anything to.
        if self.output(link).is_none() {
            self.open_unknown(link);
        }
        if let Some(output) = self.output(link) {
            output.open = false;
            output.builder = FrameBuilder::new();
        }
    }

    /// Names the instance at the other end of a link.
    pub fn set_receiver(&mut self, link: LinkId, receiver: Instance) {
        if let Some(output) = self.output(link) {
            output.receiver = receiver;
        }
    }

    /// Sets the bytes that the driver still holds for a link.
    pub fn set_backlog(&mut self, link: LinkId, bytes: usize) {
        if let Some(output) = self.output(link) {
            output.backlog = bytes;
        }
    }

    /// Bytes waiting for a link, here and at the driver.
    pub fn waiting(&self, link: LinkId) -> usize {
        match self.links.get(link.slot as usize) {
            Some(output) if output.open && output.generation == link.generation => {
                let backlog = self.board.as_ref().map_or(output.backlog, |board| board.backlog(link));
                output.builder.len() + backlog
            }
            _ => self.board.as_ref().map_or(0, |board| board.backlog(link)),
        }
    }

    fn output(&mut self, link: LinkId) -> Option<&mut LinkOutput> {
        let output = self.links.get_mut(link.slot as usize)?;
        (output.open && output.generation == link.generation).then_some(output)
    }

    /// The builder of a link with room for one more signal, marked dirty.
    #[inline]
    fn builder(&mut self, link: LinkId) -> Option<&mut FrameBuilder> {
        let identity = self.identity;
        if self.output(link).is_none() {
            self.open_unknown(link);
        }
        let output = self.links.get_mut(link.slot as usize)?;
        if !output.open || output.generation != link.generation {
            return None;
        }
        if !output.dirty {
            output.touch(link, &mut self.burst, self.board.as_ref());
        }
        if output.builder.is_full() {
            let full = output.builder.seal(&Envelope { receiver: output.receiver, ..identity });
            self.burst.full_bytes += full.map_or(0, <[u8]>::len);
        }
        Some(&mut output.builder)
    }

    /// Sends a signal outside the lanes. Forgotten when the link is gone.
    #[inline]
    pub fn send<S: Signal>(&mut self, link: LinkId, request_id: u64, body: &S, sections: Sections<'_>) {
        if let Some(builder) = self.builder(link) {
            builder.push(0, request_id, body, sections);
        }
    }

    /// Sends a signal outside the lanes in a frame of its own.
    pub fn send_alone<S: Signal>(&mut self, link: LinkId, body: &S) {
        let identity = self.identity;
        for pushes in [false, true] {
            if self.builder(link).is_some()
                && let Some(output) = self.links.get_mut(link.slot as usize)
            {
                if pushes {
                    output.builder.push(0, 0, body, Sections::none());
                }
                output.builder.seal(&Envelope { receiver: output.receiver, ..identity });
            }
        }
    }

    /// Answers a request, or says `ReplyBufferFull` when the asker does not read its answers.
    #[inline]
    pub fn reply<S: Signal>(&mut self, to: ReplyTo, body: &S, sections: Sections<'_>) {
        let output = self.links.get_mut(to.link.slot as usize);
        if let Some(output) = output
            && output.open
            && output.generation == to.link.generation
            && output.dirty
            && !output.builder.is_full()
            && output.builder.len() + output.backlog <= BACKLOG_REFUSE_BYTES
        {
            output.builder.push(0, to.request_id, body, sections);
        } else {
            self.reply_slowly(to, body, sections);
        }
    }

    /// The first answer of a burst or a frame, or one too many.
    #[cold]
    fn reply_slowly<S: Signal>(&mut self, to: ReplyTo, body: &S, sections: Sections<'_>) {
        if self.waiting(to.link) > BACKLOG_REFUSE_BYTES {
            self.error(to, ErrorCode::ReplyBufferFull, "");
            return;
        }
        self.send(to.link, to.request_id, body, sections);
    }

    /// Answers a request with an error.
    pub fn error(&mut self, to: ReplyTo, code: ErrorCode, detail: &str) {
        self.error_of(to, code, self.identity.sender.node, detail);
    }

    /// Answers a request with an error that another node met.
    pub fn error_of(&mut self, to: ReplyTo, code: ErrorCode, node: u32, detail: &str) {
        self.errors += 1;
        let body = ErrorReply {
            code: (code as u16).into(),
            retryable: u16::from(code.is_retryable()).into(),
            node: node.into(),
        };
        self.send(to.link, to.request_id, &body, Sections::one(detail.as_bytes()));
    }

    /// Passes a checked signal on under another request id.
    pub fn relay(&mut self, link: LinkId, request_id: u64, signal: &SignalView<'_>) {
        if let Some(builder) = self.builder(link) {
            builder.push_view(request_id, signal);
        }
    }

    /// Sends a signal in a lane.
    #[inline]
    pub fn send_lane<S: Signal>(&mut self, lane: usize, body: &S, sections: Sections<'_>) {
        if self.lanes[lane].is_full() {
            self.seal_lane(lane);
        }
        self.lanes[lane].push(body, sections);
    }

    /// Sends a signal of a transaction: in the lane to another node, or as mail within this one.
    pub fn post<S: Signal>(&mut self, to: Address, handle: Handle, body: &S, sections: Sections<'_>) {
        let (node, number) = (to.node_and_lane().0, u16::from(handle.number));
        if self.without_lanes || node == self.identity.sender.node {
            append_signal(self.mail_to(to), number, handle.transaction, body, sections);
        } else if let Some(lane) = self.roomy_lane(to) {
            self.lanes[lane].push_for(number, handle.transaction, body, sections);
        }
    }

    /// As [`Outbox::post`], with a checked signal as it is but for the handle.
    pub fn pass_on(&mut self, to: Address, handle: Handle, signal: &SignalView<'_>) {
        let (node, number) = (to.node_and_lane().0, u16::from(handle.number));
        if self.without_lanes || node == self.identity.sender.node {
            signal.append_as(number, handle.transaction, self.mail_to(to));
        } else if let Some(lane) = self.roomy_lane(to) {
            self.lanes[lane].pass_on(number, handle.transaction, signal);
        }
    }

    /// Why no new operation can be sent to a node now. A coordinator part does not know and lets the data part find out.
    pub fn unreachable(&self, node: u32, lane: u16) -> Option<ErrorCode> {
        if self.without_lanes || node == self.identity.sender.node {
            return None;
        }
        match self.lane_to(node, lane).map(|lane| &self.lanes[lane]) {
            None => Some(ErrorCode::StaleMap),
            Some(lane) if lane.link.is_none() => Some(ErrorCode::NodeUnreachable),
            Some(lane) if lane.is_congested() => Some(ErrorCode::Overloaded),
            Some(_) => None,
        }
    }

    fn lane_to(&self, node: u32, number: u16) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.peer.node == node && lane.number == number && !lane.retired)
    }

    fn roomy_lane(&mut self, to: Address) -> Option<usize> {
        let (node, number) = to.node_and_lane();
        let lane = self.lane_to(node, number)?;
        if self.lanes[lane].is_full() {
            self.seal_lane(lane);
        }
        Some(lane)
    }

    fn mail_to(&mut self, to: Address) -> &mut Vec<u8> {
        let open = |mail: &Mail| mail.to == to && mail.signals.len() < MAIL_BYTES;
        let index = self.mail.iter().rposition(open).unwrap_or_else(|| {
            self.mail.push_back(Mail { to, signals: self.spare_mail.pop().unwrap_or_default() });
            self.mail.len() - 1
        });
        &mut self.mail[index].signals
    }

    /// Takes the oldest mail; give it back with [`Outbox::recycle_mail`].
    pub fn next_mail(&mut self) -> Option<Mail> {
        self.mail.pop_front()
    }

    /// Mail that is not delivered.
    pub fn mail_count(&self) -> usize {
        self.mail.len()
    }

    /// Keeps the buffer of mail for the next.
    pub fn recycle_mail(&mut self, mut mail: Mail) {
        if self.spare_mail.len() < SPARE_MAIL && mail.signals.capacity() <= SPARE_MAIL_BYTES {
            mail.signals.clear();
            self.spare_mail.push(mail.signals);
        }
    }

    /// Seals the open frame of a lane, keeps it for resending and gives it to the lane's link.
    fn seal_lane(&mut self, index: usize) {
        let identity = self.identity;
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let Some(link) = lane.seal(&identity) else { return };
        self.send_lane_frames(index, link, true);
    }

    /// Copies retained frames of a lane to its link: the newest one, or all of them after a reconnect.
    pub fn send_lane_frames(&mut self, index: usize, link: LinkId, only_newest: bool) {
        let identity = self.identity;
        let lanes = std::mem::take(&mut self.lanes);
        if let Some(output) = self.links.get_mut(link.slot as usize)
            && output.open
            && output.generation == link.generation
        {
            if !output.dirty {
                output.touch(link, &mut self.burst, self.board.as_ref());
            }
            output.builder.seal(&Envelope { receiver: output.receiver, ..identity });
            let skip = if only_newest { lanes[index].retained_frames().len().saturating_sub(1) } else { 0 };
            for frame in lanes[index].retained_frames().skip(skip) {
                output.builder.append_sealed(frame);
            }
        }
        self.lanes = lanes;
    }

    /// Ends a burst: every open frame is sealed.
    pub fn flush(&mut self) {
        for index in 0..self.lanes.len() {
            self.seal_lane(index);
        }
        let identity = self.identity;
        for slot in &self.burst.links {
            let output = &mut self.links[*slot as usize];
            if output.open {
                output.builder.seal(&Envelope { receiver: output.receiver, ..identity });
            }
        }
    }

    /// Calls for every link with sealed bytes that wait to be handed out.
    pub(crate) fn each_sealed(&mut self, mut change: impl FnMut(LinkId, Envelope, &mut FrameBuilder)) {
        let identity = self.identity;
        for slot in &self.burst.links {
            let output = &mut self.links[*slot as usize];
            if output.open && !output.builder.is_empty() {
                let link = LinkId { slot: *slot, generation: output.generation };
                change(link, Envelope { receiver: output.receiver, ..identity }, &mut output.builder);
            }
        }
    }

    /// Whether this burst leads to so much output that it should end before more is taken up.
    #[inline]
    pub fn has_burst(&self) -> bool {
        self.burst.full_bytes > BURST_BYTES
    }

    /// Hands out the sealed bytes of every link that has some.
    pub fn drain(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        let mut links = std::mem::take(&mut self.burst.links);
        for slot in links.drain(..) {
            let output = &mut self.links[slot as usize];
            output.dirty = false;
            if output.open {
                if !output.builder.is_empty() {
                    send(LinkId { slot, generation: output.generation }, output.builder.sealed());
                }
                self.burst.give_back(&mut output.builder);
            }
        }
        self.burst.links = links;
        self.burst.full_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duet_protocol::signal::heartbeat::Heartbeat;

    const ANSWERS: LinkId = LinkId { slot: 0, generation: 1 };
    const REPLICAS: LinkId = LinkId { slot: 1, generation: 1 };

    fn burst(outbox: &mut Outbox, answers: usize, replicated: usize) {
        for _ in 0..answers {
            outbox.reply(
                ReplyTo { link: ANSWERS, request_id: 1 },
                &Heartbeat::default(),
                Sections::one(&[0; 1_000]),
            );
        }
        for _ in 0..replicated {
            outbox.send_lane(0, &Heartbeat::default(), Sections::one(&[0; 1_000]));
        }
        outbox.flush();
        outbox.drain(|_, _| {});
    }

    #[test]
    fn large_buffers_go_from_link_to_link() {
        let mut outbox = Outbox::default();
        outbox.open(ANSWERS);
        outbox.open(REPLICAS);
        let mut lane = Lane::new(Instance { node: 2, incarnation: 1 }, 0, u16::MAX);
        lane.link = Some(REPLICAS);
        outbox.lanes.push(lane);
        let buffers = |outbox: &Outbox| (outbox.burst.spare.len(), outbox.burst.spare_bytes);
        let rounds = |outbox: &mut Outbox| {
            for (answers, replicated) in [(40, 40), (40, 0), (0, 40), (40, 40)] {
                burst(outbox, answers, replicated);
            }
        };
        rounds(&mut outbox);
        let both = buffers(&outbox);
        assert_eq!(both.0, 2);
        for _ in 0..10 {
            rounds(&mut outbox);
        }
        assert_eq!(buffers(&outbox), both, "nothing was allocated anew, and nothing kept twice");
    }
}
