//! How the client learns the cluster state and keeps its session.

use crate::core::ClientCore;
use crate::endpoint::{Endpoint, Phase};
use crate::interface::{MILLISECOND, Nanoseconds, SECOND, Target};
use crate::session;
use duet_protocol::record::ClusterState;
use duet_protocol::signal::Sections;
use duet_protocol::signal::fetch_state::FetchState;
use duet_protocol::signal::open_session::OpenSession;

/// First and longest wait before the state is asked for again.
const FETCH_FIRST: Nanoseconds = 5 * MILLISECOND;
const FETCH_LAST: Nanoseconds = 100 * MILLISECOND;
/// The waits grow to this length and stay there for some tries: a change of view takes some tens of milliseconds, and who asks too late
/// notices.
const FETCH_SOON: Nanoseconds = 20 * MILLISECOND;
/// Tries until the waits grow on.
const SOON_TRIES: u32 = 16;
/// A node that has not answered for so long is not asked alone any more.
const ANSWER_WITHIN: Nanoseconds = 2 * SECOND;

/// Time after which another node is asked as well, doubled each time up to [`ANSWER_WITHIN`]: who was asked may have stopped a moment ago.
const ASK_ANOTHER_AFTER: Nanoseconds = 100 * MILLISECOND;

/// Time without a word from a data node that owes answers, after which others are asked whether it still is a member.
const MISSED_AFTER: Nanoseconds = 250 * MILLISECOND;

/// Whether a newer cluster state is wanted, and who was asked.
#[derive(Debug, Default)]
pub(crate) struct Refresh {
    wanted: bool,
    /// A state of at least this version is wanted.
    at_least: u64,
    /// The newest request under way: its id, endpoint, and when it was sent.
    request: Option<(u64, usize, Nanoseconds)>,
    /// Requests sent since the last answer.
    asked: u32,
    next_at: Nanoseconds,
    tries: u32,
    /// Answers received, to tell whether one came after something else.
    pub(crate) answers: u64,
}

impl Refresh {
    /// Asks for the state once.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// Asks until a state of this version is there.
    pub(crate) fn want_version(&mut self, version: u64) {
        self.at_least = self.at_least.max(version);
    }

    /// When the request under way has waited long enough for another one to be asked.
    fn ask_another_at(&self) -> Option<Nanoseconds> {
        let wait = (ASK_ANOTHER_AFTER << self.asked.saturating_sub(1).min(10)).min(ANSWER_WITHIN);
        self.request.map(|(_, _, sent_at)| sent_at + wait)
    }

    /// Asks once, and at once: something newer was heard of. While a node is missed the waits between questions have grown.
    pub(crate) fn hurry(&mut self, now: Nanoseconds) {
        self.wanted = true;
        self.tries = 0;
        self.next_at = self.next_at.min(now);
    }

    pub(crate) fn link_lost(&mut self, endpoint: usize) {
        if self.request.is_some_and(|(_, at, _)| at == endpoint) {
            self.request = None;
            self.wanted = true;
        }
    }

    /// The request was refused; false when it is not ours.
    pub(crate) fn refused(&mut self, now: Nanoseconds, endpoint: usize, id: u64) -> bool {
        if !self.request.is_some_and(|(request, at, _)| request == id && at == endpoint) {
            return false;
        }
        self.request = None;
        self.wanted = true;
        self.later(now);
        true
    }

    fn later(&mut self, now: Nanoseconds) {
        let wait = match self.tries.checked_sub(SOON_TRIES) {
            None => (FETCH_FIRST << self.tries.min(10)).min(FETCH_SOON),
            Some(more) => (FETCH_SOON << more.min(10)).min(FETCH_LAST),
        };
        self.tries += 1;
        self.next_at = now + wait;
    }
}

impl ClientCore {
    fn wants_state(&self) -> bool {
        let map = &self.wire.map;
        self.misses_member
            || self.refresh.wanted
            || map.view() == 0
            || map.version() < self.refresh.at_least
            || map.seen_view > map.view()
    }

    /// Whether the cluster is asked for without anybody waiting: a forming cluster is, an unknown one is not.
    fn is_needed(&self) -> bool {
        !self.is_idle() || self.wire.map.state().is_some() || self.unknown_outcomes() > 0
    }

    /// Whether a data node of the view is gone or silent: the others may know a view without it.
    fn look_for_members(&mut self, now: Nanoseconds) {
        let is_missed = |endpoint: &Endpoint| {
            let lost = !endpoint.is_ready() && endpoint.failures > 0;
            endpoint.in_view && (lost || endpoint.is_silent(now, MISSED_AFTER))
        };
        self.misses_member = self.is_needed() && self.wire.endpoints.iter().any(is_missed);
    }

    /// Asks for the state when it is wanted and nobody was asked.
    pub(crate) fn step_refresh(&mut self, now: Nanoseconds) {
        self.look_for_members(now);
        if !self.wants_state() || now < self.refresh.next_at {
            return;
        }
        if self.refresh.ask_another_at().is_some_and(|at| now < at) {
            return;
        }
        let asked = self.refresh.request.map(|(_, endpoint, _)| endpoint);
        let Some(mut endpoint) = self.wire.any_heard(now, self.random.next(), MISSED_AFTER) else { return };
        if asked == Some(endpoint) {
            // The next one in turn, which is the same if there is no other.
            endpoint = self.wire.any_ready(endpoint as u64 + 1, false).unwrap_or(endpoint);
        }
        let id = self.own_request();
        let body = FetchState { known_version: self.wire.map.version().into() };
        self.wire.send_own(now, endpoint, id, &body, Sections::none());
        self.refresh.request = Some((id, endpoint, now));
        self.refresh.asked += 1;
    }

    /// When [`ClientCore::step_refresh`] has something to do.
    pub(crate) fn refresh_timer(&self) -> Option<Nanoseconds> {
        let owing =
            self.wire.endpoints.iter().filter(|endpoint| endpoint.in_view && endpoint.outstanding > 0);
        let missed_at = owing.map(|endpoint| endpoint.heard_at + MISSED_AFTER).min();
        self.wire.any_ready(0, false)?;
        if !self.wants_state() {
            return missed_at;
        }
        Some(self.refresh.ask_another_at().unwrap_or(self.refresh.next_at))
    }

    /// A state came, asked for or not.
    pub(crate) fn state_arrived(&mut self, now: Nanoseconds, endpoint: usize, version: u64, record: &[u8]) {
        if self.refresh.request.is_some_and(|(_, at, _)| at == endpoint) {
            self.refresh.request = None;
        }
        self.refresh.asked = 0;
        self.refresh.wanted = false;
        let mut installed = false;
        if version > self.wire.map.version() && !record.is_empty() {
            match ClusterState::from_record(record) {
                Ok(state) => installed = self.install(now, state),
                Err(_) => return self.close(now, endpoint),
            }
        }
        if self.wire.map.state().is_some() {
            self.refresh.answers += 1;
        }
        if installed && !self.wants_state() {
            self.refresh.tries = 0;
        } else {
            self.refresh.later(now);
        }
    }

    /// Installs a newer state. False when it is one of another cluster.
    fn install(&mut self, now: Nanoseconds, state: ClusterState) -> bool {
        let ours = self.wire.identity.cluster_id;
        if ours != 0 && state.cluster_id != ours {
            return false;
        }
        self.wire.identity.cluster_id = state.cluster_id;
        self.wire.identity.view = state.view.number;
        let joined = state.management.iter().filter(|management| management.raft_id != 0);
        for (index, management) in joined.enumerate() {
            self.place_endpoint(now, Target::Management { index: index as u32 }, &management.address);
        }
        for index in 0..self.wire.endpoints.len() {
            let endpoint = &mut self.wire.endpoints[index];
            let member = state.view.member(endpoint.node());
            endpoint.in_view = member.is_some();
            let left = endpoint.node() != 0 && endpoint.is_ready() && member != Some(endpoint.instance);
            if left && state.view.number > 0 {
                // What it still has to say is of an older view, and what was sent there goes elsewhere.
                self.close(now, index);
            }
        }
        for record in &state.nodes {
            if state.view.member(record.node).is_some() {
                let target = Target::Node { node: record.node };
                let index = self.place_endpoint(now, target, &record.address);
                self.wire.endpoints[index].in_view = true;
            }
        }
        let endpoints = &self.wire.endpoints;
        let endpoint_of = |node: u32| {
            let target = Target::Node { node };
            endpoints.iter().position(|endpoint| endpoint.target == target).map(|index| index as u16)
        };
        self.wire.map.install(state, endpoint_of);
        self.wire.counters.states_installed += 1;
        self.reroute(now);
        self.step_links(now);
        true
    }

    /// The endpoint of a target, at this address.
    fn place_endpoint(&mut self, now: Nanoseconds, target: Target, address: &str) -> usize {
        match self.endpoint_of_target(target) {
            None => {
                self.wire.endpoints.push(Endpoint::new(target, address.to_owned()));
                self.wire.endpoints.len() - 1
            }
            Some(index) => {
                if self.wire.endpoints[index].address != address {
                    address.clone_into(&mut self.wire.endpoints[index].address);
                    self.close(now, index);
                }
                index
            }
        }
    }

    /// Opens the links that are wanted and due, and closes those that nobody needs.
    pub(crate) fn step_links(&mut self, now: Nanoseconds) {
        let has_data_node = self.wire.any_ready(0, true).is_some();
        let seeds_needed = !has_data_node && self.is_needed();
        for index in 0..self.wire.endpoints.len() {
            let endpoint = &mut self.wire.endpoints[index];
            let wanted = match endpoint.target {
                Target::Seed { .. } => seeds_needed || endpoint.needed_until > now,
                Target::Management { .. } => endpoint.needed_until > now,
                Target::Node { .. } => endpoint.in_view || endpoint.outstanding > 0,
            };
            match endpoint.phase {
                Phase::Idle if wanted => connect(endpoint, &mut self.commands),
                Phase::Waiting { until } if wanted && now >= until => connect(endpoint, &mut self.commands),
                Phase::Waiting { until } if !wanted && now >= until => endpoint.phase = Phase::Idle,
                Phase::Greeting { since, .. } if now >= since + ANSWER_WITHIN => {
                    endpoint.failure = Some("it takes the connection and does not answer".to_owned());
                    self.close(now, index);
                }
                Phase::Ready { .. }
                    if !wanted && endpoint.outstanding == 0 && endpoint.builder.is_empty() =>
                {
                    self.close(now, index);
                    self.wire.endpoints[index].failures = 0;
                    self.wire.endpoints[index].phase = Phase::Idle;
                }
                Phase::Idle
                | Phase::Waiting { .. }
                | Phase::Connecting
                | Phase::Greeting { .. }
                | Phase::Ready { .. } => {}
            }
        }
    }

    /// When [`ClientCore::step_links`] has something to do.
    pub(crate) fn link_timer(&self, now: Nanoseconds) -> Option<Nanoseconds> {
        let seeds_needed = self.wire.any_ready(0, true).is_none() && self.is_needed();
        let due = |endpoint: &Endpoint| {
            let wanted = match endpoint.target {
                Target::Seed { .. } => seeds_needed || endpoint.needed_until > now,
                Target::Management { .. } => endpoint.needed_until > now,
                Target::Node { .. } => endpoint.in_view || endpoint.outstanding > 0,
            };
            match endpoint.phase {
                Phase::Idle => wanted.then_some(now),
                Phase::Waiting { until } => Some(until),
                Phase::Greeting { since, .. } => Some(since + ANSWER_WITHIN),
                // What is still to be answered wakes the driver by itself.
                Phase::Ready { .. } if endpoint.outstanding > 0 => None,
                Phase::Ready { .. } if !wanted => Some(now),
                Phase::Ready { .. } if endpoint.needed_until > now && !seeds_needed && !endpoint.in_view => {
                    Some(endpoint.needed_until)
                }
                Phase::Ready { .. } | Phase::Connecting => None,
            }
        };
        self.wire.endpoints.iter().filter_map(due).min()
    }

    /// Opens a session when one is wanted.
    pub(crate) fn step_session(&mut self, now: Nanoseconds) {
        let sessions = &self.wire.sessions;
        if !sessions.wanted || now < sessions.retry_at {
            return;
        }
        if sessions.request.is_some_and(|(_, _, sent_at)| now < sent_at + ANSWER_WITHIN) {
            return;
        }
        let Some(endpoint) = self.wire.any_ready(self.random.next(), true) else { return };
        let id = self.own_request();
        self.wire.send_own(now, endpoint, id, &OpenSession::default(), Sections::none());
        self.wire.sessions.request = Some((id, endpoint, now));
    }

    /// When [`ClientCore::step_session`] has something to do.
    pub(crate) fn session_timer(&self) -> Option<Nanoseconds> {
        let sessions = &self.wire.sessions;
        if !sessions.wanted || self.wire.any_ready(0, true).is_none() {
            return None;
        }
        Some(sessions.request.map_or(sessions.retry_at, |(_, _, sent_at)| sent_at + ANSWER_WITHIN))
    }

    pub(crate) fn session_opened(&mut self, id: u64, session: u64) {
        let sessions = &mut self.wire.sessions;
        // An answer to an earlier request is as good as one to the last, but its age is not known.
        if let Some((_, _, asked_at)) = sessions.request.take_if(|(request, _, _)| *request == id)
            && session != 0
        {
            sessions.opened(session, asked_at);
            self.wire.counters.sessions_opened += 1;
        }
    }

    pub(crate) fn session_refused(&mut self, now: Nanoseconds, id: u64) -> bool {
        let sessions = &mut self.wire.sessions;
        if sessions.request.take_if(|(request, _, _)| *request == id).is_none() {
            return false;
        }
        sessions.retry_at =
            now + self.random.backoff(session::RETRY_FIRST, session::RETRY_LAST, sessions.tries);
        sessions.tries += 1;
        true
    }

    pub(crate) fn session_link_lost(&mut self, now: Nanoseconds, endpoint: usize) {
        if let Some((id, at, _)) = self.wire.sessions.request
            && at == endpoint
        {
            self.session_refused(now, id);
        }
    }
}

fn connect(endpoint: &mut Endpoint, commands: &mut std::collections::VecDeque<crate::Command>) {
    endpoint.phase = Phase::Connecting;
    commands
        .push_back(crate::Command::Connect { target: endpoint.target, address: endpoint.address.clone() });
}
