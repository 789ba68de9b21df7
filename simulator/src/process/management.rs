//! A management node: the core that also runs in real processes, on a disk that survives it.

use crate::clock::BootClock;
use crate::network::Link;
use crate::process::{Core, Order};
use crate::queue::Time;
use duet_mgmd_core::{CloseReason, Command, LinkId, ManagementConfiguration, ManagementNode, Persist};
use duet_protocol::error::ErrorCode;

/// A management node of the run.
pub struct Management {
    /// Its core.
    pub node: ManagementNode,
    /// Its clock.
    pub clock: BootClock,
}

impl Management {
    /// Starts one on the log that its disk holds.
    ///
    /// # Errors
    /// What the core says.
    pub fn start(
        configuration: ManagementConfiguration,
        log: &[u8],
        now: Time,
        clock: BootClock,
    ) -> Result<Management, String> {
        let node =
            ManagementNode::new(configuration, log, clock.read(now)).map_err(|error| error.to_string())?;
        Ok(Management { node, clock })
    }

    /// Whether it leads and has applied all that was committed before.
    pub fn leads(&self) -> bool {
        self.node.gauges(0).leading == 1
    }
}

fn id(link: Link) -> LinkId {
    LinkId { slot: link.slot, generation: link.generation }
}

fn link_of(id: LinkId) -> Link {
    Link { slot: id.slot, generation: id.generation }
}

impl Core for Management {
    fn accepted(&mut self, now: Time, link: Link) {
        self.node.link_accepted(self.clock.read(now), id(link));
    }

    fn connected(&mut self, now: Time, link: Link, token: u64) {
        self.node.link_connected(self.clock.read(now), id(link), token as u32);
    }

    fn connect_failed(&mut self, now: Time, token: u64) {
        self.node.connect_failed(self.clock.read(now), token as u32);
    }

    fn closed(&mut self, now: Time, link: Link, by_peer: bool) {
        let reason = if by_peer { CloseReason::ByPeer } else { CloseReason::Local };
        self.node.link_closed(self.clock.read(now), id(link), reason);
    }

    fn frame_limit(&self, link: Link) -> usize {
        self.node.frame_limit(id(link))
    }

    fn frame(&mut self, now: Time, link: Link, bytes: &[u8]) {
        self.node.frame(self.clock.read(now), id(link), bytes);
    }

    fn damaged(&mut self, now: Time, link: Link, code: ErrorCode) {
        self.node.damaged(self.clock.read(now), id(link), code);
    }

    fn set_backlog(&mut self, link: Link, bytes: usize) {
        self.node.set_backlog(id(link), bytes);
    }

    fn wants_input(&self, link: Link) -> bool {
        self.node.wants_input(id(link))
    }

    fn tick(&mut self, now: Time) {
        self.node.tick(self.clock.read(now));
    }

    fn persisted(&mut self, now: Time, number: u64) {
        self.node.persisted(self.clock.read(now), number);
    }

    fn flush(&mut self, now: Time, send: &mut dyn FnMut(Link, &[u8]), orders: &mut Vec<Order>) {
        self.node.flush(self.clock.read(now));
        self.node.drain_output(|link, bytes| send(link_of(link), bytes));
        while let Some(command) = self.node.next_command() {
            match command {
                Command::Connect { node, address } => {
                    orders.push(Order::Connect { address, token: u64::from(node) });
                }
                Command::Close { link } => orders.push(Order::Close { link: link_of(link) }),
                Command::Stop { reason } => orders.push(Order::Stop { reason }),
                Command::End { restarts } => {
                    orders.push(Order::End { restarts, reason: "told to end".to_owned() });
                }
                Command::Log { .. } => {}
            }
        }
        while let Some(Persist { number, replace, bytes }) = self.node.next_persist() {
            orders.push(Order::Persist { number, replace, bytes });
        }
    }
}
