//! How a member leaves that was told to end or to start again: by a signal to its process, or by the management nodes on the
//! word of an operator (`docs/operations.md`).
//!
//! 1. It says so in the view, if another member of its group has everything and stays. From then on nobody hands a partition to it.
//! 2. It hands over what it leads as it does with what others led before it (`joining.rs`).
//! 3. It begins no transaction any more and lets those end that it coordinates.
//! 4. It has itself removed. Until all members have installed the view without it, it goes on as a backup: they need its acceptance and
//!    its lease as long as they believe it to be a member.
//!
//! Each step has a bound; beyond it the process ends as one that crashes, which costs a failover and nothing else.

use crate::interface::{Command, Nanoseconds};
use crate::kernel::{Kernel, context};
use crate::ldm::Context;
use crate::planted::LEFT_TOO_EARLY;
use crate::split::Part;
use crate::transaction::{State, Transactions};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::Instance;
use duet_protocol::record::{ClusterState, Leaving, Member, MemberState};
use duet_protocol::signal::propose_view::{KIND_LEAVE, KIND_REMOVE};

const SECOND: Nanoseconds = 1_000_000_000;
/// Time for the management nodes to agree to it, and the same without a link to any of them.
const AGREED_WITHIN: Nanoseconds = 10 * SECOND;
const HEARD_WITHIN: Nanoseconds = SECOND;
/// Time for transactions to end by themselves, and then for the news that they were rolled back.
const TRANSACTIONS_WITHIN: Nanoseconds = 10 * SECOND;
const ROLLED_BACK_WITHIN: Nanoseconds = SECOND;
/// Time for clients to hear that others lead now and to begin their transactions there.
const HEARD_OF_WITHIN: Nanoseconds = SECOND / 4;
/// Time after which what other coordinator parts have counted is newer than their refusal of transactions.
const COUNTED_WITHIN: Nanoseconds = SECOND / 4;
/// Time from the first to the last step.
const LEFT_WITHIN: Nanoseconds = 30 * SECOND;
/// Time for the others to install the view without it.
const INSTALLED_WITHIN: Nanoseconds = SECOND;
/// Time for which the other member is suspect before a process that was told to end by a signal believes that it is the last one.
const ALONE_AFTER: Nanoseconds = SECOND;

/// Transactions may begin (`LeaseBoard::transactions`).
pub(crate) const BEGIN: u64 = 0;
/// None begins any more, those that have begun end.
pub(crate) const END: u64 = 1;
/// Those that are not decided are rolled back.
pub(crate) const ROLL_BACK: u64 = 2;

/// How far a process is on its way out.
#[derive(Debug, Default)]
pub(crate) struct Departure {
    /// Its process was told to end.
    asked_at: Option<Nanoseconds>,
    /// It is leaving according to the view that it has installed.
    since: Option<Nanoseconds>,
    /// It leads nothing any more.
    drains_since: Option<Nanoseconds>,
    /// The other member is suspect.
    alone_since: Option<Nanoseconds>,
    /// It is removed: since when it knows, the view, and the members of that.
    left: Option<(Nanoseconds, u64, Vec<Instance>)>,
    restarts: bool,
    has_ended: bool,
}

impl Kernel {
    /// The process was told to end: it hands over what it leads, and asks for that with [`Command::End`].
    pub fn leave(&mut self, now: Nanoseconds) {
        self.departure.asked_at.get_or_insert(now);
    }

    /// Coordinator 0's timer. Whether the node is leaving, and proposes nothing but what belongs to that.
    pub(crate) fn tick_leaving(&mut self, now: Nanoseconds) -> bool {
        if self.departure.has_ended {
            return true;
        }
        if let Some((at, view, members)) = &self.departure.left {
            if self.views.have_installed(members, *view) || now >= at + INSTALLED_WITHIN {
                self.end("it has handed over what it led and is no member any more");
            }
            return true;
        }
        let me = self.membership.instance;
        let member = self.map.state.view.members().find(|member| member.instance() == me).cloned();
        let Some(member) = member else {
            if self.departure.asked_at.is_some() {
                self.end("it is no member of the view");
            }
            return self.departure.has_ended;
        };
        if self.departure.asked_at.is_some_and(|at| now >= at + AGREED_WITHIN + LEFT_WITHIN) {
            self.end("it could not leave in time: the others take over");
            return true;
        }
        if member.leaving == Leaving::No {
            self.go_back();
            return self.want_to_leave(now, &member);
        }
        self.go_on_leaving(now, &member);
        true
    }

    /// A member that does not leave. Whether its process was told to end: then it tries to leave.
    fn want_to_leave(&mut self, now: Nanoseconds, member: &Member) -> bool {
        let Some(asked_at) = self.departure.asked_at else { return false };
        let me = member.instance();
        let Some((group, view)) = self.map.state.view.group_of(me.node) else { return false };
        let known = (group, view.changed_in_view, self.map.state.view.number);
        let others = view.members.iter().any(|other| other.node != me.node && other.stays_full());
        let connected = !self.membership.management_links().is_empty();
        if !others {
            self.end("no other one that stays has all rows of its group");
        } else if self.is_alone(now) {
            self.end("the other one of its group does not answer");
        } else if now >= asked_at + if connected { AGREED_WITHIN } else { HEARD_WITHIN } {
            self.end("the management nodes do not answer, so that nothing can be handed over");
        } else if member.state == MemberState::Joining {
            self.propose(now, KIND_REMOVE, known, me);
        } else {
            self.propose(now, KIND_LEAVE, known, me);
        }
        true
    }

    /// A member that leaves, by the view.
    fn go_on_leaving(&mut self, now: Nanoseconds, member: &Member) {
        let me = member.instance();
        self.departure.restarts = member.leaving == Leaving::ToRestart;
        let since = *self.departure.since.get_or_insert(now);
        let Some((group, view)) = self.map.state.view.group_of(me.node) else { return };
        let known = (group, view.changed_in_view, self.map.state.view.number);
        if !view.members.iter().any(|other| other.node != me.node && other.stays_full()) {
            return self.end("it was forced to, though no other one has all rows of its group");
        }
        let alone = self.is_alone(now);
        if self.lease_board.suspect().is_some() {
            // Whoever is alone stays, unless its process was told to end by a signal.
            if alone && self.departure.asked_at.is_some() {
                return self.end("the other one of its group does not answer");
            }
            return self.propose_removal(now);
        }
        if now >= since + LEFT_WITHIN {
            return self.end("it could not hand over in time: the others take over");
        }
        let leads =
            |partition: &duet_protocol::record::PartitionView| partition.replicas.first() == Some(&me.node);
        if self.map.state.view.partitions.iter().any(leads) {
            self.departure.drains_since = None;
            return self.propose_swap(now);
        }
        let drains_since = *self.departure.drains_since.get_or_insert(now);
        let Some(waited) = (now - drains_since).checked_sub(HEARD_OF_WITHIN) else { return };
        self.lease_board.set_transactions(if waited >= TRANSACTIONS_WITHIN { ROLL_BACK } else { END });
        let counted = self.split.is_none() || waited >= COUNTED_WITHIN;
        // Whoever is to be alone with the rows has shown that it lives and leads.
        let all_ended = counted && self.open_transactions() == 0 && !self.views.is_changing();
        if all_ended || waited >= TRANSACTIONS_WITHIN + ROLLED_BACK_WITHIN {
            self.propose(now, KIND_REMOVE, known, me);
            if self.configuration.planted_bug == LEFT_TOO_EARLY {
                self.end("it has handed over what it led and is no member any more");
            }
        }
    }

    /// It does not leave, or not any more: the other one of its group is gone.
    fn go_back(&mut self) {
        if self.departure.since.take().is_some() {
            self.departure.drains_since = None;
            self.lease_board.set_transactions(BEGIN);
        }
    }

    /// Whether the other member has been suspect for a while.
    fn is_alone(&mut self, now: Nanoseconds) -> bool {
        if self.lease_board.suspect().is_none() {
            self.departure.alone_since = None;
            return false;
        }
        now >= *self.departure.alone_since.get_or_insert(now) + ALONE_AFTER
    }

    /// Transactions and forwarded requests that are under way here, as far as coordinator 0 knows.
    fn open_transactions(&self) -> u64 {
        let own = self.coordinator.transactions.len() + self.coordinator.forwarded();
        let others = self.split.iter().flat_map(|split| &split.counters[1..split.shared.coordinators]);
        own as u64 + others.map(|part| part.transactions).sum::<u64>()
    }

    /// A state arrived whose view does not have this process: whether that is what it wanted. It keeps the view before, in which the
    /// others may still need it.
    pub(crate) fn has_left(&mut self, now: Nanoseconds, state: &ClusterState) -> bool {
        let departure = &mut self.departure;
        if departure.since.is_none() && departure.asked_at.is_none() {
            return false;
        }
        if departure.left.is_some() || departure.has_ended {
            return true;
        }
        if !self.map.state.view.contains(self.membership.instance) {
            self.end("it is no member of the view");
            return true;
        }
        let departure = &mut self.departure;
        let handed_over = departure.drains_since.is_some();
        let members = state.view.members().map(Member::instance).collect();
        departure.left = Some((now, state.view.number, members));
        if !handed_over {
            self.end("the others removed it before it could hand over everything");
        }
        true
    }

    fn end(&mut self, reason: &str) {
        self.departure.has_ended = true;
        let restarts = self.departure.restarts;
        let reason = format!("node {} leaves: {reason}", self.membership.instance.node);
        self.commands.push_back(Command::End { restarts, reason });
    }

    /// Timer of every part with a coordinator: transactions begin, end, or are rolled back, as the node wants.
    pub(crate) fn end_transactions(&mut self) {
        let wanted = self.lease_board.transactions();
        let transactions = &mut self.coordinator.transactions;
        transactions.is_closed = wanted != BEGIN;
        if wanted == ROLL_BACK && !matches!(self.part, Part::Data(_)) {
            transactions.roll_back_undecided(&mut context!(self));
        }
    }
}

impl Transactions {
    /// Gives up what is not decided, with an error that says that it may be tried again.
    fn roll_back_undecided(&mut self, context: &mut Context<'_>) {
        let node = context.out.identity.sender.node;
        for index in 0..self.slots.len() {
            let transaction = &self.slots[index];
            if transaction.used && matches!(transaction.state, State::Active | State::Preparing) {
                self.fail(context, index, ErrorCode::NotServing, node);
            }
        }
    }
}
