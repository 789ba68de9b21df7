//! What every process around the client's core has in common: it carries the core's links and obeys its commands.

use crate::history::Violation;
use crate::network::Link;
use crate::process::{Core, Order};
use crate::queue::{MICROSECOND, Time};
use duet_client_core::{ClientCore, CloseReason, Command, LinkId, Target};
use duet_protocol::error::ErrorCode;

/// A process around a core of the client.
pub(super) trait Application {
    /// The core.
    fn client(&self) -> &ClientCore;
    /// The core, to be told of events.
    fn client_mut(&mut self) -> &mut ClientCore;
    /// Notes what must not happen.
    fn violate(&mut self, violation: Violation);
    /// Takes what was noted.
    fn take_violation(&mut self) -> Option<Violation>;
    /// What the process does by time alone.
    fn housekeeping(&mut self, now: Time);
    /// Takes the answers that have come.
    fn collect(&mut self, now: Time);
    /// Asks for what is due.
    fn issue(&mut self, now: Time);
    /// When there is something to ask for; `Time::MAX` for not by itself.
    fn next_issue(&self) -> Time;
    /// When to be woken, as the last flush has found.
    fn wake_at(&mut self) -> &mut Time;
    /// The same, to be looked at.
    fn woken_at(&self) -> Time;
}

/// What an application has of a process whose core, evidence and time of waking are its fields `core`, `evidence` and `wake_at`.
macro_rules! application_fields {
    () => {
        fn client(&self) -> &duet_client_core::ClientCore {
            &self.core
        }

        fn client_mut(&mut self) -> &mut duet_client_core::ClientCore {
            &mut self.core
        }

        fn violate(&mut self, violation: $crate::history::Violation) {
            self.evidence.violate(violation);
        }

        fn take_violation(&mut self) -> Option<$crate::history::Violation> {
            self.evidence.violation.take()
        }

        fn wake_at(&mut self) -> &mut $crate::queue::Time {
            &mut self.wake_at
        }

        fn woken_at(&self) -> $crate::queue::Time {
            self.wake_at
        }
    };
}
pub(super) use application_fields;

impl<A: Application> Core for A {
    fn accepted(&mut self, _now: Time, _link: Link) {}

    fn connected(&mut self, now: Time, link: Link, token: u64) {
        self.client_mut().link_connected(now, id(link), target_of(token));
    }

    fn connect_failed(&mut self, now: Time, token: u64) {
        self.client_mut().connect_failed(now, target_of(token));
    }

    fn closed(&mut self, now: Time, link: Link, by_peer: bool) {
        let reason = if by_peer { CloseReason::ByPeer } else { CloseReason::Local };
        self.client_mut().link_closed(now, id(link), reason);
    }

    fn frame_limit(&self, link: Link) -> usize {
        self.client().frame_limit(id(link))
    }

    fn frame(&mut self, now: Time, link: Link, bytes: &[u8]) {
        self.client_mut().frame(now, id(link), bytes);
    }

    fn damaged(&mut self, now: Time, link: Link, code: ErrorCode) {
        self.violate(Violation::new("frames are whole", format!("link {link:?}: {code}")));
        self.client_mut().damaged(now, id(link), code);
    }

    fn set_backlog(&mut self, _link: Link, _bytes: usize) {}

    fn wants_input(&self, _link: Link) -> bool {
        true
    }

    fn tick(&mut self, now: Time) {
        self.client_mut().tick(now);
        self.housekeeping(now);
        self.issue(now);
    }

    fn next_wake(&self) -> Time {
        self.woken_at()
    }

    fn violation(&mut self) -> Option<Violation> {
        self.take_violation()
    }

    fn flush(&mut self, now: Time, send: &mut dyn FnMut(Link, &[u8]), orders: &mut Vec<Order>) {
        self.collect(now);
        self.issue(now);
        self.client_mut().flush(now);
        self.collect(now);
        self.client_mut().drain_output(|link, bytes| {
            send(Link { slot: link.slot, generation: link.generation }, bytes);
        });
        while let Some(command) = self.client_mut().next_command() {
            orders.push(match command {
                Command::Connect { target, address } => Order::Connect { address, token: token_of(target) },
                Command::Close { link } => {
                    Order::Close { link: Link { slot: link.slot, generation: link.generation } }
                }
            });
        }
        let issue = self.next_issue();
        // A timer that is due again at once would never let time pass.
        let timer = self.client().next_timer(now).unwrap_or(Time::MAX);
        *self.wake_at() = issue.min(timer).max(now + MICROSECOND);
    }
}

fn token_of(target: Target) -> u64 {
    match target {
        Target::Seed { index } => u64::from(index),
        Target::Management { index } => 1 << 32 | u64::from(index),
        Target::Node { node } => 2 << 32 | u64::from(node),
    }
}

fn target_of(token: u64) -> Target {
    match token >> 32 {
        0 => Target::Seed { index: token as u32 },
        1 => Target::Management { index: token as u32 },
        _ => Target::Node { node: token as u32 },
    }
}

fn id(link: Link) -> LinkId {
    LinkId { slot: link.slot, generation: link.generation }
}
