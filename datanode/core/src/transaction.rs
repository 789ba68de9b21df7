//! The coordinator's half of transactions of several rows (PROTOCOL.md §1; states and messages as tables in
//! `docs/commit.md`).
//!
//! A transaction belongs to the link over which its client began it and ends with it. Its operations go to the primaries
//! of their rows at once, its decision is made here: when every fragment is prepared on all its replicas. Everything sent to
//! the nodes travels in the lane of its fragment, so nothing is lost or overtaken while both instances live; that is why
//! an abort needs no answer.

use crate::entries::{ENTRY_NUMBERS, Entries, EntryJobs, NO_JOB, Single};
use crate::epochs::{BUG_DEAF, Unfinished};
use crate::interface::{LinkId, Nanoseconds};
use crate::ldm::Context;
use crate::operation_check::{check_operation, primary_of};
use crate::outbox::{Address, BACKLOG_REFUSE_BYTES, Handle, ReplyTo};
use crate::postponed::Postponed;
use crate::takeover::{TAKEOVER, Takeover, send_abort, send_commit};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::signal::abort_prepared::AbortPrepared;
use duet_protocol::signal::commit_transaction::CommitTransaction;
use duet_protocol::signal::committed::Committed;
use duet_protocol::signal::complete::Complete;
use duet_protocol::signal::deadlock_probe::DeadlockProbe;
use duet_protocol::signal::lock_wait::Blocker;
use duet_protocol::signal::operate::{
    FLAG_IGNORE_EXISTING, OPERATION_READ, OPERATION_READ_EXCLUSIVE, OPERATION_READ_SHARED, Operate,
};
use duet_protocol::signal::operate_reply::{FLAG_ENTRIES, FLAG_GIVEN_BACK, FLAG_IGNORED, OperateReply};
use duet_protocol::signal::prepare::{FLAG_HOME, Prepare};
use duet_protocol::signal::prepared::Prepared;
use duet_protocol::signal::report_end::ReportEnd;
use duet_protocol::signal::rollback_transaction::RollbackTransaction;
use duet_protocol::signal::transaction_reply::{OUTCOME_ABORTED, OUTCOME_COMMITTED, TransactionReply};
use duet_protocol::signal::{Sections, SignalType, SignalView};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Transactions that there is room for from the beginning. A map that is at most half full makes room in place, without allocating.
const ROOM: usize = 256;
/// Most transactions of one coordinator.
const MAX_TRANSACTIONS: usize = 16_384;
/// Bits of a slot's generation that go into handles.
const GENERATIONS: u32 = u32::MAX >> 1;
/// Most operations of one transaction, and so most locks.
pub const MAX_OPERATIONS: u32 = 16_384;
/// Most bytes of keys and values in the operations of one transaction.
pub const MAX_BYTES: usize = 16 << 20;

/// Home of a transaction without an outcome record.
pub(crate) const NO_HOME: u16 = u16::MAX;

/// State of a transaction. ABORTING and COMPLETING of the protocol are no states here: what they send needs no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Operations come.
    Active,
    /// Rolled back before the client ended it; later operations are told this.
    Failed(ErrorCode),
    /// PREPARE was sent.
    Preparing,
    /// Decided: COMMIT was sent.
    Committing,
}

/// An operation without an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outstanding {
    pub(crate) request_id: u64,
    pub(crate) at: Nanoseconds,
    pub(crate) partition: u16,
    pub(crate) operation: u8,
    pub(crate) flags: u8,
    pub(crate) table_version: u16,
    pub(crate) table: u32,
    /// It may have entries of unique indexes to change.
    pub(crate) may_enter: bool,
    /// Its changes of entries, once its row is changed; [`NO_JOB`] before and without.
    pub(crate) job: u32,
    /// Node that it was sent to.
    pub(crate) node: u32,
}

/// A fragment that takes part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) partition: u16,
    /// Its primary.
    pub(crate) node: u32,
    pub(crate) lane: u16,
    pub(crate) writes: bool,
    /// PREPARE was sent.
    asked: bool,
    prepared: bool,
    pub(crate) committed: bool,
    pub(crate) replicas: [u8; 8],
}

impl Part {
    /// Whether PREPARE was sent.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked
    }

    pub(crate) fn new(partition: u16, node: u32, lane: u16, writes: bool) -> Part {
        Part {
            partition,
            node,
            lane,
            writes,
            asked: false,
            prepared: false,
            committed: false,
            replicas: [0; 8],
        }
    }
}

/// The client's wish to commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) request_id: u64,
    pub(crate) home: u16,
    pub(crate) resolved_below: u64,
}

#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) id: TransactionId,
    /// How often its client had tried it before.
    pub(crate) tries: u32,
    pub(crate) generation: u32,
    pub(crate) used: bool,
    pub(crate) link: LinkId,
    pub(crate) state: State,
    pub(crate) parts: Vec<Part>,
    /// By number, from `first` on; answered ones are none.
    pub(crate) outstanding: VecDeque<Option<Outstanding>>,
    pub(crate) first: u32,
    pub(crate) bytes: usize,
    pub(crate) touched: Nanoseconds,
    pub(crate) ending: Option<Ending>,
    /// Highest epoch heard of in its prepared fragments; its own once decided.
    pub(crate) epoch: u64,
    /// Operations that wait for locks, and for whom.
    pub(crate) waits: Vec<(u32, Vec<Blocker>)>,
    /// Probes passed on: initiator and round.
    pub(crate) probes: VecDeque<(TransactionId, u32)>,
    /// What it does for unique indexes.
    pub(crate) entries: Entries,
    /// It is a write of one row that a client sent by itself.
    pub(crate) single: Option<Single>,
}

impl Transaction {
    pub(crate) fn part(&mut self, partition: u16) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.partition == partition)
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.outstanding.iter().any(Option::is_some)
    }

    /// Whether PREPARE can follow the operations without waiting for their answers: some may change a row, and none brings
    /// further operations with it.
    fn may_prepare_early(&self) -> bool {
        let mut outstanding = self.outstanding.iter().flatten();
        let alone = self.single.is_none() && !self.entries.are_used();
        let writes = self.parts.iter().any(|part| part.writes)
            || outstanding.clone().any(|waiting| waiting.operation < OPERATION_READ);
        alone && writes && outstanding.all(|waiting| !waiting.may_enter)
    }

    pub(crate) fn take_outstanding(&mut self, number: u32) -> Option<Outstanding> {
        let taken = self.outstanding.get_mut(number.checked_sub(self.first)? as usize)?.take();
        while matches!(self.outstanding.front(), Some(None)) {
            self.outstanding.pop_front();
            self.first += 1;
        }
        taken
    }
}

/// All transactions of one coordinator.
#[derive(Debug)]
pub struct Transactions {
    pub(crate) number: u8,
    /// The lower bits of this process' incarnation.
    pub(crate) incarnation: u16,
    /// Time of the event that is processed.
    pub now: Nanoseconds,
    pub(crate) look_at: Nanoseconds,
    /// Probes begun.
    pub(crate) rounds: u32,
    pub(crate) slots: Vec<Transaction>,
    free: Vec<u32>,
    pub(crate) numbers: FxHashMap<TransactionId, u32>,
    /// Decided transactions with changes that are not committed everywhere yet.
    pub(crate) unfinished: Unfinished,
    /// Epoch that was told as drained: nothing is decided in it or before any more.
    pub(crate) drained: u64,
    /// Changes of entries of unique indexes under way.
    pub(crate) jobs: EntryJobs,
    /// Transactions of removed coordinators.
    pub takeover: Takeover,
    /// None is begun any more: this node leaves.
    pub(crate) is_closed: bool,
    /// Operations that are sent again later.
    pub(crate) postponed: Postponed,
}

/// What all are told that wait for a transaction which ended for this reason: the reason itself, if trying again or a smaller transaction helps.
pub(crate) fn told_to_all(cause: ErrorCode) -> ErrorCode {
    match cause {
        ErrorCode::TransactionTooLarge => cause,
        cause if cause.is_retryable() => cause,
        _ => ErrorCode::TransactionFailed,
    }
}

impl Transactions {
    /// None yet, at the coordinator with this number.
    pub fn numbered(number: u8) -> Transactions {
        Transactions {
            number,
            incarnation: 0,
            now: 0,
            look_at: 0,
            rounds: 0,
            slots: Vec::new(),
            free: Vec::new(),
            numbers: FxHashMap::with_capacity_and_hasher(ROOM, Default::default()),
            unfinished: Unfinished::default(),
            drained: 0,
            jobs: EntryJobs::default(),
            takeover: Takeover::default(),
            is_closed: false,
            postponed: Postponed::default(),
        }
    }

    /// Number of open transactions.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// A request of a client.
    pub fn request(&mut self, context: &mut Context<'_>, reply: ReplyTo, signal: &SignalView<'_>) {
        if let Some(body) = signal.body::<Operate>() {
            self.operate(context, reply, signal, body);
        } else if let Some(body) = signal.body::<CommitTransaction>() {
            self.commit(context, reply, body);
        } else if let Some(body) = signal.body::<RollbackTransaction>() {
            self.rollback(context, reply, body);
        }
    }

    /// The open transaction of a link.
    fn find(&self, link: LinkId, session: u64, seq: u64) -> Option<usize> {
        let index = *self.numbers.get(&TransactionId { session, seq })? as usize;
        let found = &self.slots[index];
        (found.link == link && found.single.is_none()).then_some(index)
    }

    /// The transaction that a handle, the name in the header of a signal, stands for.
    pub(crate) fn of_handle(&self, handle: u64) -> Option<usize> {
        let index = usize::from(handle as u16);
        (self.slots.get(index)?.used && self.handle(index).transaction == handle).then_some(index)
    }

    /// 31 bits of the slot's generation, 16 of the incarnation (what a former life of this node has asked others must not be taken
    /// for an answer), 16 of the slot's index. The highest bit is that of take-overs.
    pub(crate) fn handle(&self, index: usize) -> Handle {
        let generation = u64::from(self.slots[index].generation & GENERATIONS);
        let transaction = generation << 32 | u64::from(self.incarnation) << 16 | index as u64;
        Handle { number: self.number, transaction }
    }

    pub(crate) fn begin(
        &mut self,
        reply: ReplyTo,
        id: TransactionId,
        tries: u32,
    ) -> Result<usize, ErrorCode> {
        if id.session == 0 || id.seq == 0 || self.numbers.contains_key(&id) {
            return Err(ErrorCode::InvalidTransaction);
        }
        if self.len() >= MAX_TRANSACTIONS {
            return Err(ErrorCode::TooManyTransactions);
        }
        let new = |generation, parts, outstanding| Transaction {
            id,
            tries,
            generation,
            used: true,
            link: reply.link,
            state: State::Active,
            parts,
            outstanding,
            first: 1,
            bytes: 0,
            touched: 0,
            ending: None,
            epoch: 0,
            waits: Vec::new(),
            probes: VecDeque::new(),
            entries: Entries::default(),
            single: None,
        };
        let index = match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                let (parts, outstanding) =
                    (std::mem::take(&mut slot.parts), std::mem::take(&mut slot.outstanding));
                *slot = new(slot.generation.wrapping_add(1), parts, outstanding);
                index
            }
            None => {
                self.slots.push(new(1, Vec::new(), VecDeque::new()));
                (self.slots.len() - 1) as u32
            }
        };
        self.numbers.insert(id, index);
        Ok(index as usize)
    }

    pub(crate) fn forget(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.used = false;
        slot.parts.clear();
        slot.outstanding.clear();
        slot.waits = Vec::new();
        slot.probes = VecDeque::new();
        slot.entries = Entries::default();
        self.numbers.remove(&slot.id);
        self.free.push(index as u32);
        debug_assert!(!self.numbers.is_empty() || self.jobs.is_empty(), "no job without its transaction");
    }

    fn operate(
        &mut self,
        context: &mut Context<'_>,
        reply: ReplyTo,
        signal: &SignalView<'_>,
        body: &Operate,
    ) {
        let (session, seq) = (body.session.get(), body.seq.get());
        let index = match self.find(reply.link, session, seq) {
            Some(index) => index,
            None if body.number.get() == 1 => {
                if !context.map.is_serving() || self.is_closed {
                    return context.out.error(reply, ErrorCode::NotServing, "");
                }
                match self.begin(reply, TransactionId { session, seq }, body.tries.get()) {
                    Ok(index) => index,
                    Err(code) => return context.out.error(reply, code, ""),
                }
            }
            None => return context.out.error(reply, ErrorCode::UnknownTransaction, ""),
        };
        let transaction = &mut self.slots[index];
        transaction.touched = self.now;
        match transaction.state {
            State::Active => {}
            State::Failed(code) => return context.out.error(reply, code, ""),
            State::Preparing | State::Committing => {
                return context.out.error(reply, ErrorCode::UnknownTransaction, "it is being committed");
            }
        }
        let sent = match transaction.ending {
            Some(_) => Err((ErrorCode::InvalidRequest, "an operation after the commit".to_owned())),
            None if transaction.entries.holds_operations() => transaction.hold(reply, signal),
            None => self.send_operation(context, index, reply, signal, body),
        };
        if let Err((code, detail)) = sent {
            let node = context.out.identity.sender.node;
            context.out.error(reply, code, &detail);
            self.fail(context, index, code, node);
        }
    }

    /// Checks an operation completely and sends it to the primary of its row.
    pub(crate) fn send_operation(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        reply: ReplyTo,
        signal: &SignalView<'_>,
        body: &Operate,
    ) -> Result<(), (ErrorCode, String)> {
        let handle = self.handle(index);
        let transaction = &mut self.slots[index];
        let expected = transaction.first + transaction.outstanding.len() as u32;
        if body.number.get() != expected {
            return Err((ErrorCode::InvalidRequest, format!("operation {expected} comes next")));
        }
        transaction.bytes += signal.section(0).len() + signal.section(1).len();
        if expected > MAX_OPERATIONS || transaction.bytes > MAX_BYTES {
            let most = format!("at most {MAX_OPERATIONS} operations and {MAX_BYTES} bytes");
            return Err((ErrorCode::TransactionTooLarge, most));
        }
        let (partition, node, table) = check_operation(context, signal, body)?;
        let may_enter = table.is_some_and(|table| !table.is_hidden) && body.operation < OPERATION_READ;
        transaction.entries.hold_after(expected, may_enter && body.flags & FLAG_IGNORE_EXISTING != 0);
        let lane = context.map.partitions[usize::from(partition)].lane;
        if let Some(code) = context.out.unreachable(node, lane) {
            return Err((code, format!("node {node} leads the partition")));
        }
        if body.operation != OPERATION_READ && transaction.part(partition).is_none() {
            transaction.parts.push(Part::new(partition, node, lane, false));
        }
        let waiting = Outstanding {
            request_id: reply.request_id,
            at: self.now,
            partition,
            node,
            operation: body.operation,
            flags: body.flags,
            table_version: body.table_version.get(),
            table: body.table.get(),
            may_enter,
            job: NO_JOB,
        };
        transaction.outstanding.push_back(Some(waiting));
        context.out.pass_on(Address::Fragments { node, lane }, handle, signal);
        Ok(())
    }

    /// The client wants to commit.
    fn commit(&mut self, context: &mut Context<'_>, reply: ReplyTo, body: &CommitTransaction) {
        let Some(index) = self.find(reply.link, body.session.get(), body.seq.get()) else {
            return context.out.error(reply, ErrorCode::UnknownTransaction, "");
        };
        let transaction = &mut self.slots[index];
        transaction.touched = self.now;
        match transaction.state {
            State::Active if transaction.ending.is_none() => {}
            State::Failed(code) => {
                context.out.error(reply, code, "");
                return self.forget(index);
            }
            State::Active | State::Preparing | State::Committing => {
                return context.out.error(reply, ErrorCode::UnknownTransaction, "it is being committed");
            }
        }
        transaction.ending = Some(Ending {
            request_id: reply.request_id,
            home: context.map.partition_of(body.partition_hash.get()),
            resolved_below: body.resolved_below.get(),
        });
        if !transaction.is_waiting() {
            self.prepare(context, index);
        } else if transaction.may_prepare_early() {
            self.ask_to_prepare(context, index);
        }
    }

    /// The client wants to roll back.
    fn rollback(&mut self, context: &mut Context<'_>, reply: ReplyTo, body: &RollbackTransaction) {
        let Some(index) = self.find(reply.link, body.session.get(), body.seq.get()) else {
            return context.out.error(reply, ErrorCode::UnknownTransaction, "");
        };
        let transaction = &self.slots[index];
        if matches!(transaction.state, State::Preparing | State::Committing) || transaction.ending.is_some() {
            return context.out.error(reply, ErrorCode::UnknownTransaction, "it is being committed");
        }
        if transaction.state == State::Active {
            let node = context.out.identity.sender.node;
            self.fail(context, index, ErrorCode::TransactionFailed, node);
        }
        let body = TransactionReply { outcome: OUTCOME_ABORTED.into(), ..TransactionReply::default() };
        context.out.reply(reply, &body, Sections::none());
        self.forget(index);
    }

    /// Gives a transaction up: whoever waits is told, everything that it holds is let go.
    pub(crate) fn fail(&mut self, context: &mut Context<'_>, index: usize, cause: ErrorCode, node: u32) {
        let handle = self.handle(index);
        self.forget_entries(context, index, cause, node);
        let transaction = &mut self.slots[index];
        debug_assert!(transaction.state != State::Committing, "what is decided is not given up");
        let code = told_to_all(cause);
        for waiting in transaction.outstanding.drain(..).flatten() {
            let reply = ReplyTo { link: transaction.link, request_id: waiting.request_id };
            context.out.error_of(reply, code, node, "");
        }
        for part in transaction.parts.drain(..) {
            abort_part(context, transaction.id, handle, &part);
        }
        transaction.waits.clear();
        context.counters.transactions_aborted += 1;
        match transaction.ending.take() {
            Some(ending) if transaction.single.is_some() => {
                let reply = ReplyTo { link: transaction.link, request_id: ending.request_id };
                match transaction.single.and_then(|single| single.entering) {
                    Some(entering) => entering.tell(context, reply, Some(cause), ""),
                    None => context.out.error_of(reply, cause, node, ""),
                }
                self.forget(index);
            }
            Some(ending) => {
                let reply = ReplyTo { link: transaction.link, request_id: ending.request_id };
                // Why the home refused is the client's business: the id is used up.
                let code = if cause == ErrorCode::Aborted { cause } else { code };
                context.out.error_of(reply, code, node, "");
                self.forget(index);
            }
            None => transaction.state = State::Failed(code),
        }
    }

    /// PREPARE to every fragment with changes and to the home of the outcome; without changes the transaction just ends.
    pub(crate) fn prepare(&mut self, context: &mut Context<'_>, index: usize) {
        let transaction = &mut self.slots[index];
        transaction.touched = self.now;
        if !transaction.parts.iter().any(|part| part.writes) {
            transaction.epoch = context.epoch;
            return self.decide(context, index);
        }
        transaction.state = State::Preparing;
        self.ask_to_prepare(context, index);
        // Those that were asked together with their operations may have answered already.
        self.decide_if_prepared(context, index);
    }

    /// Sends PREPARE to the fragments with changes, or operations under way that may change something, and to the home of the
    /// outcome, unless they have it already.
    fn ask_to_prepare(&mut self, context: &mut Context<'_>, index: usize) {
        let handle = self.handle(index);
        let transaction = &mut self.slots[index];
        let Some(ending) = transaction.ending else { return };
        for place in 0..transaction.outstanding.len() {
            let Some(waiting) = transaction.outstanding[place] else { continue };
            if waiting.operation < OPERATION_READ
                && let Some(part) = transaction.part(waiting.partition)
            {
                part.writes = true;
            }
        }
        let home = ending.home;
        if home != NO_HOME && transaction.part(home).is_none() {
            let node = primary_of(context, home);
            let lane = context.map.partitions[usize::from(home)].lane;
            transaction.parts.push(Part::new(home, node, lane, true));
        }
        for part in &mut transaction.parts {
            let is_home = part.partition == home;
            part.writes |= is_home;
            if !part.writes || part.asked {
                continue;
            }
            part.asked = true;
            let body = Prepare {
                session: transaction.id.session.into(),
                seq: transaction.id.seq.into(),
                resolved_below: ending.resolved_below.into(),
                partition: part.partition.into(),
                flags: if is_home { FLAG_HOME } else { 0 }.into(),
                reserved: 0.into(),
            };
            let to = Address::Fragments { node: part.node, lane: part.lane };
            context.out.post(to, handle, &body, Sections::none());
        }
    }

    fn decide_if_prepared(&mut self, context: &mut Context<'_>, index: usize) {
        let transaction = &self.slots[index];
        let prepared = || transaction.parts.iter().all(|part| part.prepared || !part.writes);
        if transaction.state == State::Preparing && prepared() {
            self.decide(context, index);
        }
    }

    /// Everything is prepared: the decision, in an epoch not below any that was heard of.
    fn decide(&mut self, context: &mut Context<'_>, index: usize) {
        let handle = self.handle(index);
        let transaction = &mut self.slots[index];
        transaction.state = State::Committing;
        transaction.epoch = transaction.epoch.max(context.epoch);
        let (epoch, drained) = (transaction.epoch, self.drained);
        if transaction.parts.iter().any(|part| part.writes) {
            assert!(epoch > drained, "{} is decided in epoch {epoch}, which is drained", transaction.id);
            self.unfinished.begin(epoch);
        }
        for part in &mut transaction.parts {
            if !part.writes {
                // It only read there; with the last lock taken long ago, they may all go now.
                abort_part(context, transaction.id, handle, part);
                part.committed = true;
                continue;
            }
            let last = part.replicas.iter().rev().find(|node| **node != 0);
            let node = last.map_or(part.node, |node| u32::from(*node));
            let (id, epoch) = (transaction.id, transaction.epoch);
            if context.planted_bug == 7 && node != part.node {
                send_commit(context, handle, id, part.partition, part.lane, epoch, part.node);
            }
            send_commit(context, handle, id, part.partition, part.lane, epoch, node);
        }
        self.end_if_committed(context, index);
    }

    /// Tells the client once all rows are exposed, and lets the replicas forget.
    fn end_if_committed(&mut self, context: &mut Context<'_>, index: usize) {
        let handle = self.handle(index);
        let transaction = &mut self.slots[index];
        if !transaction.parts.iter().all(|part| part.committed) {
            return;
        }
        context.counters.transactions_committed += 1;
        if transaction.parts.iter().any(|part| part.writes) {
            self.unfinished.end(transaction.epoch);
        }
        if let (Some(ending), Some(single)) = (transaction.ending, transaction.single) {
            let reply = ReplyTo { link: transaction.link, request_id: ending.request_id };
            single.committed(context, reply, transaction.epoch);
        } else if let Some(ending) = transaction.ending {
            let reply = ReplyTo { link: transaction.link, request_id: ending.request_id };
            let body = TransactionReply {
                outcome: OUTCOME_COMMITTED.into(),
                epoch: transaction.epoch.into(),
                ..TransactionReply::default()
            };
            context.out.reply(reply, &body, Sections::none());
        }
        for part in transaction.parts.iter().filter(|part| part.writes) {
            let body = Complete {
                session: transaction.id.session.into(),
                seq: transaction.id.seq.into(),
                partition: part.partition.into(),
                reserved: 0.into(),
                reserved_2: 0.into(),
            };
            for node in part.replicas.iter().filter(|node| **node != 0) {
                let to = Address::Fragments { node: u32::from(*node), lane: part.lane };
                context.out.post(to, handle, &body, Sections::none());
            }
        }
        self.forget(index);
    }

    /// A signal of an LDM or of another coordinator.
    pub fn signal(&mut self, context: &mut Context<'_>, signal: &SignalView<'_>) {
        match signal.signal_type() {
            SignalType::OperateReply => self.operation_done(context, signal),
            SignalType::Prepared => self.part_prepared(context, signal),
            SignalType::Committed => self.part_committed(context, signal),
            SignalType::TransactionReport => {
                if let Some(body) = signal.body() {
                    self.reported(context, Handle::of(signal), body);
                }
            }
            SignalType::ReportEnd => {
                if let Some(body) = signal.body::<ReportEnd>() {
                    self.report_ended(context, body);
                }
            }
            SignalType::LockWait => self.operation_waits(context, signal),
            SignalType::TwoPhaseWrite => self.begin_single(context, signal),
            SignalType::DeadlockProbe => {
                if let Some(body) = signal.body::<DeadlockProbe>() {
                    self.probe(context, body);
                }
            }
            _ => context.out.errors += 1,
        }
    }

    fn operation_done(&mut self, context: &mut Context<'_>, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<OperateReply>() else { return };
        let Some(index) = self.of_handle(signal.request_id()) else { return };
        let transaction = &mut self.slots[index];
        let number = body.number.get();
        if transaction.state != State::Active {
            return;
        }
        if number & ENTRY_NUMBERS != 0 || body.flags.get() & FLAG_ENTRIES != 0 || transaction.single.is_some()
        {
            transaction.touched = self.now;
            return self.unique_operation_done(context, index, signal, body);
        }
        if body.flags.get() & FLAG_GIVEN_BACK != 0 && self.postpone(index, body, signal) {
            return;
        }
        if body.code.get() == 0 && self.has_overtaken(index, number) {
            return self.fail(context, index, ErrorCode::NotServing, body.node.get());
        }
        let transaction = &mut self.slots[index];
        let Some(waiting) = transaction.take_outstanding(number) else { return };
        transaction.touched = self.now;
        transaction.waits.retain(|(waits, _)| *waits != number);
        let reads =
            matches!(waiting.operation, OPERATION_READ | OPERATION_READ_SHARED | OPERATION_READ_EXCLUSIVE);
        let code = body.code.get();
        let fine = code == 0 || (reads && code == ErrorCode::RowNotFound as u16);
        let reply = ReplyTo { link: transaction.link, request_id: waiting.request_id };
        if fine || ErrorCode::from_number(code).is_some_and(ErrorCode::is_of_row) {
            if context.out.waiting(reply.link) > BACKLOG_REFUSE_BYTES {
                context.out.error(reply, ErrorCode::ReplyBufferFull, "");
                let node = context.out.identity.sender.node;
                return self.fail(context, index, ErrorCode::ReplyBufferFull, node);
            }
            context.out.relay(reply.link, reply.request_id, signal);
        } else {
            let code = ErrorCode::from_number(code).unwrap_or(ErrorCode::Internal);
            let detail = String::from_utf8_lossy(signal.section(0));
            context.out.error_of(reply, code, body.node.get(), &detail);
        }
        if !fine {
            let code = ErrorCode::from_number(code).unwrap_or(ErrorCode::Internal);
            return self.fail(context, index, code, body.node.get());
        }
        let transaction = &mut self.slots[index];
        if !reads && body.flags.get() & FLAG_IGNORED == 0 {
            let part = transaction.part(waiting.partition);
            part.into_iter().for_each(|part| part.writes = true);
        }
        self.operation_ended(context, index);
    }

    /// An operation is answered: what was held back for it, its followers' entries, or the commit may have their turn.
    pub(crate) fn operation_ended(&mut self, context: &mut Context<'_>, index: usize) {
        if self.slots[index].entries.are_used() {
            self.advance_entries(context, index);
        }
        let transaction = &self.slots[index];
        if transaction.state == State::Active && transaction.ending.is_some() && !transaction.is_waiting() {
            self.prepare(context, index);
        }
    }

    fn part_prepared(&mut self, context: &mut Context<'_>, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<Prepared>() else { return };
        let Some(index) = self.of_handle(signal.request_id()) else { return };
        let transaction = &mut self.slots[index];
        let is_early = transaction.state == State::Active && transaction.ending.is_some();
        if transaction.state != State::Preparing && !is_early {
            return;
        }
        if body.code.get() != 0 {
            let code = ErrorCode::from_number(body.code.get()).unwrap_or(ErrorCode::Internal);
            return self.fail(context, index, code, body.node.get());
        }
        if context.planted_bug != BUG_DEAF {
            transaction.epoch = transaction.epoch.max(body.epoch.get());
        }
        self.prepared_alone(context, index, body.partition.get(), body.replicas);
    }

    /// A fragment is prepared on these replicas, which are all that it has.
    pub(crate) fn prepared_alone(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        partition: u16,
        replicas: [u8; 8],
    ) {
        let transaction = &mut self.slots[index];
        let Some(part) = transaction.part(partition) else { return };
        part.prepared = true;
        part.replicas = replicas;
        self.decide_if_prepared(context, index);
    }

    fn part_committed(&mut self, context: &mut Context<'_>, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<Committed>() else { return };
        if signal.request_id() & TAKEOVER != 0 {
            return self.orphan_committed(context, signal, body);
        }
        let Some(index) = self.of_handle(signal.request_id()) else { return };
        let transaction = &mut self.slots[index];
        if transaction.state != State::Committing {
            return;
        }
        if let (Some(ending), Some(single)) = (transaction.ending, &mut transaction.single)
            && ending.home == body.partition.get()
        {
            single.position = body.position.get();
        }
        let Some(part) = transaction.part(body.partition.get()) else { return };
        part.committed = true;
        self.end_if_committed(context, index);
    }
}

/// ABORT to a fragment.
fn abort_part(context: &mut Context<'_>, id: TransactionId, handle: Handle, part: &Part) {
    send_abort(context, handle, id, part.partition, part.lane, part.node);
    if context.planted_bug == 5 && part.writes {
        let backup = context.map.state.view.partitions[usize::from(part.partition)].replicas.get(1).copied();
        let body = AbortPrepared {
            partition: part.partition.into(),
            session: id.session.into(),
            seq: id.seq.into(),
            ..AbortPrepared::default()
        };
        let to = Address::Fragments { node: backup.unwrap_or(part.node), lane: part.lane };
        context.out.post(to, handle, &body, Sections::none());
    }
}
