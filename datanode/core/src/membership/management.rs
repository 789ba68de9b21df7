//! Where the management nodes are: first those of the configuration, then those of the cluster state too.

use super::{Connection, Membership, Wanted};
use crate::interface::{Command, Nanoseconds, Target};
use duet_protocol::record::ManagementRecord;
use std::collections::VecDeque;

const SECOND: Nanoseconds = 1_000_000_000;
/// Time without any management node after which people are told, and between two times that they are.
const SILENT_FOR: Nanoseconds = 5 * SECOND;
const TELL_EVERY: Nanoseconds = 60 * SECOND;

/// Since when no management node can be reached.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Option<Nanoseconds>,
    tell_at: Nanoseconds,
    /// When trouble with a management node may be told again.
    trouble_at: Nanoseconds,
}

impl Membership {
    /// Wants a connection to every management node of the cluster state, besides those of the configuration.
    pub fn know_management(&mut self, management: &[ManagementRecord], now: Nanoseconds) {
        let joined = || management.iter().filter(|record| record.raft_id != 0);
        let configured = self.configured;
        self.connections.retain(|connection| match connection.target {
            Target::Management { index } if index >= configured => {
                joined().any(|record| record.address == connection.address)
            }
            Target::Management { .. } | Target::Peer { .. } => true,
        });
        for record in joined() {
            let is_there = |connection: &Connection| {
                matches!(connection.target, Target::Management { .. }) && connection.address == record.address
            };
            if self.connections.iter().any(is_there) {
                continue;
            }
            let target = Target::Management { index: self.free_index() };
            let (address, state) = (record.address.clone(), Wanted::Waiting { until: now });
            self.connections.push(Connection { target, address, state, failures: 0, link: None });
        }
    }

    /// The lowest number that no configured management node has, and no connection that is wanted or open.
    fn free_index(&mut self) -> u32 {
        let taken = |index: u32| {
            self.connections.iter().any(|connection| connection.target == Target::Management { index })
                || self.management_links.get(index as usize).is_some_and(Option::is_some)
        };
        let free = (self.configured..).find(|index| !taken(*index)).unwrap_or(self.configured);
        if self.management_links.len() <= free as usize {
            self.management_links.resize(free as usize + 1, None);
        }
        free
    }

    /// Where a target is.
    pub fn address_of(&self, target: Target) -> &str {
        let connection = self.connections.iter().find(|connection| connection.target == target);
        connection.map_or("", |connection| &connection.address)
    }

    /// Whether people have not been told for a while that something is wrong with a management node.
    pub fn may_tell(&mut self, now: Nanoseconds) -> bool {
        let may = now >= self.silence.trouble_at;
        if may {
            self.silence.trouble_at = now + TELL_EVERY;
        }
        may
    }

    /// Tells people when no management node has been reached for a while.
    pub(super) fn notice_silence(&mut self, now: Nanoseconds, commands: &mut VecDeque<Command>) {
        if self.management_links.iter().any(Option::is_some) {
            self.silence = Silence { trouble_at: self.silence.trouble_at, ..Silence::default() };
            return;
        }
        let since = *self.silence.since.get_or_insert(now);
        if now.saturating_sub(since) < SILENT_FOR || now < self.silence.tell_at {
            return;
        }
        self.silence.tell_at = now + TELL_EVERY;
        let management = self
            .connections
            .iter()
            .filter(|connection| matches!(connection.target, Target::Management { .. }));
        let addresses: Vec<&str> = management.map(|connection| connection.address.as_str()).collect();
        let meanwhile = match self.instance.incarnation {
            0 => "this node cannot register",
            _ => "this node serves what it serves, and nobody could take over",
        };
        let text = format!(
            "no management node can be reached at {}: start them, or correct --management; until then {meanwhile}",
            addresses.join(", ")
        );
        commands.push_back(Command::Warn { text });
    }
}
