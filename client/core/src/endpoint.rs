//! An address that the client talks to: its link, what was sent and is not answered, and what waits.

use crate::interface::{Limits, LinkId, Nanoseconds, Target};
use duet_protocol::frame::FrameBuilder;
use duet_protocol::ids::Instance;
use std::collections::VecDeque;

/// State of an endpoint's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody needs it.
    Idle,
    /// To be connected at this time.
    Waiting { until: Nanoseconds },
    /// Asked of the driver.
    Connecting,
    /// Hello was sent.
    Greeting { link: LinkId, since: Nanoseconds },
    /// Open for requests.
    Ready { link: LinkId },
}

/// An address that the client talks to.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) target: Target,
    pub(crate) address: String,
    pub(crate) phase: Phase,
    /// The other side, as its Welcome says.
    pub(crate) instance: Instance,
    /// Its role, as its Welcome says.
    pub(crate) role: u16,
    /// Tries to connect that failed since the last that did not.
    pub(crate) failures: u32,
    /// Whether a data node of the view, which is always wanted.
    pub(crate) in_view: bool,
    /// Until when somebody needs it, for those that are not always wanted.
    pub(crate) needed_until: Nanoseconds,
    pub(crate) builder: FrameBuilder,
    /// Requests sent over the link and not answered.
    pub(crate) outstanding: usize,
    /// Their bytes; on average, because late answers do not tell.
    pub(crate) outstanding_bytes: usize,
    /// How many of them nobody waits for any more.
    pub(crate) abandoned: usize,
    /// When the other side was last heard, or had nothing to answer.
    pub(crate) heard_at: Nanoseconds,
    /// Operations that wait for the link or for room.
    pub(crate) waiting: VecDeque<u64>,
    /// Why the other side refused the last link.
    pub(crate) refusal: Option<(u16, String)>,
    /// What became of the last try to connect, when it failed otherwise.
    pub(crate) failure: Option<String>,
}

impl Endpoint {
    pub(crate) fn new(target: Target, address: String) -> Endpoint {
        Endpoint {
            target,
            address,
            phase: Phase::Idle,
            instance: Instance::NONE,
            role: 0,
            failures: 0,
            in_view: false,
            needed_until: 0,
            builder: FrameBuilder::new(),
            outstanding: 0,
            outstanding_bytes: 0,
            abandoned: 0,
            heard_at: 0,
            waiting: VecDeque::new(),
            refusal: None,
            failure: None,
        }
    }

    /// Whether it owes answers and has said nothing for so long.
    pub(crate) fn is_silent(&self, now: Nanoseconds, silence: Nanoseconds) -> bool {
        self.is_ready() && self.outstanding > 0 && now > self.heard_at + silence
    }

    /// The node id, 0 for what is not a data node.
    pub(crate) fn node(&self) -> u32 {
        match self.target {
            Target::Node { node } => node,
            Target::Seed { .. } | Target::Management { .. } => 0,
        }
    }

    /// The link, greeted or not.
    pub(crate) fn link(&self) -> Option<LinkId> {
        match self.phase {
            Phase::Greeting { link, .. } | Phase::Ready { link } => Some(link),
            Phase::Idle | Phase::Waiting { .. } | Phase::Connecting => None,
        }
    }

    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    /// Whether a request may be sent now.
    #[inline]
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        self.is_ready()
            && self.outstanding < limits.requests_per_node
            && self.outstanding_bytes < limits.request_bytes_per_node
    }

    /// A request of this size was sent.
    #[inline]
    pub(crate) fn sent(&mut self, now: Nanoseconds, bytes: usize) {
        if self.outstanding == 0 {
            self.heard_at = now;
        }
        self.outstanding += 1;
        self.outstanding_bytes += bytes;
    }

    /// A request was answered.
    #[inline]
    pub(crate) fn answered(&mut self) {
        if self.outstanding <= 1 {
            (self.outstanding, self.outstanding_bytes, self.abandoned) = (0, 0, 0);
        } else {
            self.outstanding_bytes -= self.outstanding_bytes / self.outstanding;
            self.outstanding -= 1;
        }
    }

    /// Why there is no link, as a part of a sentence.
    pub(crate) fn cause(&self) -> String {
        match (&self.refusal, &self.failure) {
            (Some((code, detail)), _) => {
                crate::Error::from_number(*code, detail).message.trim_end_matches('.').to_owned()
            }
            (None, Some(failure)) => failure.clone(),
            (None, None) => "no answer in time".to_owned(),
        }
    }

    /// Forgets the link and what was sent over it.
    pub(crate) fn unlink(&mut self, phase: Phase) {
        self.phase = phase;
        self.builder.clear();
        (self.outstanding, self.outstanding_bytes, self.abandoned) = (0, 0, 0);
    }
}
