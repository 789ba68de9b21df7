//! A data node: the kernel that also runs in real processes.

use crate::network::Link;
use crate::process::{Core, Order};
use crate::queue::{MICROSECOND, Time};
use crate::workload::wall_clock;
use duet_datanode_core::{CloseReason, Command, LinkId, NodeConfiguration, NodeKernel, Target};
use duet_protocol::error::ErrorCode;

/// How long messages between parts wait that a burst has left in their mailboxes.
const BEHIND_FOR: Time = 30 * MICROSECOND;

/// A data node of the run.
pub struct DataNode {
    /// Its kernel, or its parts.
    pub kernel: NodeKernel,
    flushed: Time,
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
    ) -> Result<DataNode, String> {
        let mut kernel = NodeKernel::new(configuration, now, parts, true)?;
        kernel.keep_commits();
        Ok(DataNode { kernel, flushed: now })
    }
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
        self.kernel.link_accepted(now, id(link));
    }

    fn connected(&mut self, now: Time, link: Link, token: u64) {
        self.kernel.link_connected(now, id(link), target_of(token));
    }

    fn connect_failed(&mut self, now: Time, token: u64) {
        self.kernel.connect_failed(now, target_of(token));
    }

    fn closed(&mut self, now: Time, link: Link, by_peer: bool) {
        let reason = if by_peer { CloseReason::ByPeer } else { CloseReason::Local };
        self.kernel.link_closed(now, id(link), reason);
    }

    fn frame_limit(&self, link: Link) -> usize {
        self.kernel.frame_limit(id(link))
    }

    fn frame(&mut self, now: Time, link: Link, bytes: &[u8]) {
        self.kernel.frame(now, id(link), bytes);
    }

    fn damaged(&mut self, now: Time, link: Link, code: ErrorCode) {
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
        self.kernel.tick(now);
    }

    fn next_wake(&self) -> Time {
        if self.kernel.is_behind() { self.flushed + BEHIND_FOR } else { Time::MAX }
    }

    fn flush(&mut self, now: Time, send: &mut dyn FnMut(Link, &[u8]), orders: &mut Vec<Order>) {
        self.flushed = now;
        self.kernel.flush(now);
        self.kernel.drain_output(|link, bytes| {
            send(Link { slot: link.slot, generation: link.generation }, bytes);
        });
        while let Some(command) = self.kernel.next_command() {
            orders.push(match command {
                Command::Connect { target, address } => Order::Connect { address, token: token_of(target) },
                Command::Close { link } => {
                    Order::Close { link: Link { slot: link.slot, generation: link.generation } }
                }
                Command::Stop { reason } => Order::Stop { reason },
            });
        }
    }
}
