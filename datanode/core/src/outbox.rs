//! Where blocks put what they send: one frame builder per link and per lane, sealed at the end of a burst.

use crate::interface::LinkId;
use crate::lane::Lane;
use crate::split::LinkBoard;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::ids::Instance;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::{Sections, Signal, SignalView};
use std::sync::Arc;

/// Bytes waiting for one link above which the driver should stop reading from it.
pub const BACKLOG_PAUSE_BYTES: usize = 1 << 20;
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

#[derive(Debug, Default)]
struct LinkOutput {
    generation: u32,
    open: bool,
    receiver: Instance,
    builder: FrameBuilder,
    /// Handed to the driver, not yet accepted by the system.
    backlog: usize,
    dirty: bool,
}

/// All outgoing traffic of one kernel.
#[derive(Debug, Default)]
pub struct Outbox {
    /// In a part of a node: gauges of the links. Links are opened when they are first sent to, for other parts handle them.
    board: Option<Arc<LinkBoard>>,
    links: Vec<LinkOutput>,
    dirty: Vec<u32>,
    /// Lanes to the other data nodes.
    pub lanes: Vec<Lane>,
    /// What every frame says of this node; the receiver is filled in per link.
    pub identity: Envelope,
    /// Number of errors answered, for the counters.
    pub errors: u64,
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
            output.dirty = true;
            self.dirty.push(link.slot);
        }
        if output.builder.is_full() {
            output.builder.seal(&Envelope { receiver: output.receiver, ..identity });
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
        self.errors += 1;
        let body = ErrorReply {
            code: (code as u16).into(),
            retryable: u16::from(code.is_retryable()).into(),
            node: self.identity.sender.node.into(),
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
        if let Some(output) = self.output(link) {
            output.builder.seal(&Envelope { receiver: output.receiver, ..identity });
            let skip = if only_newest { lanes[index].retained_frames().len().saturating_sub(1) } else { 0 };
            for frame in lanes[index].retained_frames().skip(skip) {
                output.builder.append_sealed(frame);
            }
            if !output.dirty {
                output.dirty = true;
                self.dirty.push(link.slot);
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
        for slot in &self.dirty {
            let output = &mut self.links[*slot as usize];
            if output.open {
                output.builder.seal(&Envelope { receiver: output.receiver, ..identity });
            }
        }
    }

    /// Hands out the sealed bytes of every link that has some.
    pub fn drain(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        for slot in self.dirty.drain(..) {
            let output = &mut self.links[slot as usize];
            output.dirty = false;
            if output.open && !output.builder.is_empty() {
                send(LinkId { slot, generation: output.generation }, output.builder.sealed());
                output.builder.clear();
            }
        }
    }
}
