//! A data node: the kernel that also runs in real processes.

use crate::clock::BootClock;
use crate::history::Violation;
use crate::network::Link;
use crate::process::{Core, Order};
use crate::queue::{MICROSECOND, Time};
use crate::workload::wall_clock;
use duet_datanode_core::{CloseReason, Command, LinkId, NodeConfiguration, NodeKernel, Target};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{FrameView, announced_length};
use duet_protocol::ids::Instance;
use duet_protocol::signal::write_reply::WriteReply;
use duet_protocol::signal::{SignalType, SignalView};

/// How long messages between parts wait that a burst has left in their mailboxes.
const BEHIND_FOR: Time = 30 * MICROSECOND;

/// A data node of the run.
pub struct DataNode {
    /// Its kernel, or its parts.
    pub kernel: NodeKernel,
    /// Its clock.
    pub clock: BootClock,
    flushed: Time,
    /// The clock as it was read at the beginning of the burst, for all its events: a process that is stopped in the middle
    /// of a burst goes on with it.
    burst: Option<Time>,
    violation: Option<Violation>,
}

impl DataNode {
    /// Starts one with these numbers of coordinator and data parts, or one that is a single kernel.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(
        configuration: NodeConfiguration,
        now: Time,
        parts: Option<(usize, usize)>,
        clock: BootClock,
    ) -> Result<DataNode, String> {
        let mut kernel = NodeKernel::new(configuration, clock.read(now), parts, true)?;
        kernel.keep_commits();
        Ok(DataNode { kernel, clock, flushed: now, burst: None, violation: None })
    }

    /// The time of the burst, by the node's clock.
    fn burst_time(&mut self, now: Time) -> Time {
        let clock = self.clock;
        *self.burst.get_or_insert_with(|| clock.read(now))
    }
}

/// An answer to a client that tells what a row was, if there is one in these frames.
fn observation_in(mut bytes: &[u8]) -> Option<SignalType> {
    while let Ok(Some(length)) = announced_length(bytes, usize::MAX) {
        let (frame, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let frame = FrameView::new_checked(frame).ok()?;
        // Nodes refuse the frames of one that was removed.
        if frame.envelope().receiver != Instance::default() {
            continue;
        }
        let tells = |signal: &SignalView<'_>| match signal.signal_type() {
            SignalType::ReadReply | SignalType::ScanReply | SignalType::OperateReply => true,
            SignalType::WriteReply => signal.body::<WriteReply>().is_some_and(|body| body.code.get() != 0),
            _ => false,
        };
        if let Some(signal) = frame.signals().find(tells) {
            return Some(signal.signal_type());
        }
    }
    None
}

fn id(link: Link) -> LinkId {
    LinkId { slot: link.slot, generation: link.generation }
}

fn token_of(target: Target) -> u64 {
    match target {
        Target::Management { index } => u64::from(index),
        Target::Peer { node, lane } => (1 << 63) | (u64::from(node) << 16) | u64::from(lane),
    }
}

fn target_of(token: u64) -> Target {
    if token >> 63 == 0 {
        Target::Management { index: token as u32 }
    } else {
        Target::Peer { node: (token >> 16) as u32, lane: token as u16 }
    }
}

impl Core for DataNode {
    fn accepted(&mut self, now: Time, link: Link) {
        let now = self.burst_time(now);
        self.kernel.link_accepted(now, id(link));
    }

    fn connected(&mut self, now: Time, link: Link, token: u64) {
        let now = self.burst_time(now);
        self.kernel.link_connected(now, id(link), target_of(token));
    }

    fn connect_failed(&mut self, now: Time, token: u64) {
        let now = self.burst_time(now);
        self.kernel.connect_failed(now, target_of(token));
    }

    fn closed(&mut self, now: Time, link: Link, by_peer: bool) {
        let reason = if by_peer { CloseReason::ByPeer } else { CloseReason::Local };
        let now = self.burst_time(now);
        self.kernel.link_closed(now, id(link), reason);
    }

    fn frame_limit(&self, link: Link) -> usize {
        self.kernel.frame_limit(id(link))
    }

    fn frame(&mut self, now: Time, link: Link, bytes: &[u8]) {
        let now = self.burst_time(now);
        self.kernel.frame(now, id(link), bytes);
    }

    fn damaged(&mut self, now: Time, link: Link, code: ErrorCode) {
        let now = self.burst_time(now);
        self.kernel.damaged(now, id(link), code);
    }

    fn set_backlog(&mut self, link: Link, bytes: usize) {
        self.kernel.set_backlog(id(link), bytes);
    }

    fn wants_input(&self, link: Link) -> bool {
        self.kernel.wants_input(id(link))
    }

    fn tick(&mut self, now: Time) {
        self.kernel.set_wall_clock(wall_clock(now));
        let now = self.burst_time(now);
        self.kernel.tick(now);
    }

    fn next_wake(&self) -> Time {
        if self.kernel.is_behind() { self.flushed + BEHIND_FOR } else { Time::MAX }
    }

    fn violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    fn flush(&mut self, now: Time, send: &mut dyn FnMut(Link, &[u8]), orders: &mut Vec<Order>) {
        (self.flushed, self.burst) = (now, None);
        let now = self.clock.read(now);
        self.kernel.flush(now);
        let may_observe = self.kernel.may_observe(now);
        let mut told = None;
        self.kernel.drain_output(|link, bytes| {
            if !may_observe && told.is_none() {
                told = observation_in(bytes);
            }
            send(Link { slot: link.slot, generation: link.generation }, bytes);
        });
        if let Some(told) = told {
            let detail = format!("{told:?} by {}", self.kernel.instance());
            self.violation = Some(Violation::new("rows are told of under a lease only", detail));
        }
        while let Some(command) = self.kernel.next_command() {
            orders.push(match command {
                Command::Warn { .. } => continue,
                Command::Connect { target, address } => Order::Connect { address, token: token_of(target) },
                Command::Close { link, .. } => {
                    Order::Close { link: Link { slot: link.slot, generation: link.generation } }
                }
                Command::Stop { reason } => Order::Stop { reason },
                Command::End { restarts, reason } => Order::End { restarts, reason },
            });
        }
    }
}
