//! Transactions of several operations: which node runs each, what was sent, and how it ends.
//!
//! A transaction lives at the node that leads its first row, and on one link: when the link is lost, so is the
//! transaction, unless its commit was on the way; then its outcome is resolved like that of a write. The first
//! operation is another exception: where it is refused because the node leaves or is starting, or the link is lost before it is
//! answered, the transaction begins again where that row is led by then.

use crate::batch::{
    FLAG_COMMITTED, FLAG_EXPECT, FLAG_IGNORE, FLAG_IN_DOUBT, FLAG_RESULT, Kind, Operation, State,
};
use crate::batches::{base_of, next_attempt, request_id};
use crate::core::ClientCore;
use crate::dispatch::{GROUP_LOST, changes_hands};
use crate::interface::{LinkId, Nanoseconds};
use crate::outcome::Outcome;
use crate::wire::REQUEST_BYTES;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::Envelope;
use duet_protocol::ids::{RowVersion, TransactionId};
use duet_protocol::signal::commit_transaction::CommitTransaction;
use duet_protocol::signal::operate::{
    FLAG_EXPECT_VERSION, FLAG_IGNORE_EXISTING, FLAG_IGNORE_MISSING, OPERATION_READ, OPERATION_READ_EXCLUSIVE,
    OPERATION_READ_SHARED, Operate,
};
use duet_protocol::signal::operate_reply::{FLAG_IGNORED, OperateReply};
use duet_protocol::signal::rollback_transaction::RollbackTransaction;
use duet_protocol::signal::transaction_reply::{OUTCOME_COMMITTED, TransactionReply};
use duet_protocol::signal::write::{OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT};
use duet_protocol::signal::{Sections, SignalView};
use std::collections::{BTreeMap, VecDeque};

/// Most transactions of one client at once.
pub const MAX_OPEN_TRANSACTIONS: usize = 16_384;

/// Name of a transaction within its client core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionHandle(u64);

impl TransactionHandle {
    /// A handle that the driver gives out itself, for [`ClientCore::begin_as`]; not to be mixed with those of
    /// [`ClientCore::begin`].
    pub fn numbered(number: u64) -> TransactionHandle {
        TransactionHandle(number)
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Committed, or rolled back.
    pub committed: bool,
    /// Epoch of the commit; 0 after a roll-back and where the outcome had to be resolved.
    pub epoch: u64,
}

#[derive(Debug, Default)]
struct OpenTransaction {
    /// Number 0 until the first operation is sent.
    id: TransactionId,
    /// How often the user of this core has tried it before.
    tries: u32,
    /// The endpoint that runs it, and the link to it.
    place: Option<(usize, LinkId)>,
    /// Operations sent.
    sent: u32,
    /// Hash of the partition key of the first written row.
    home: Option<u64>,
    /// Commit or roll-back was sent.
    ending: bool,
    /// It has ended before its end was asked for: what is told from now on.
    failure: Option<(u16, u32)>,
    /// Bases of batches that cannot be sent yet, in order.
    parked: VecDeque<u64>,
    /// Nothing of it is sent before this time.
    not_before: Nanoseconds,
    /// It has ended, and goes when nothing is parked any more.
    over: bool,
}

/// The open transactions of a client.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    open: BTreeMap<TransactionHandle, OpenTransaction>,
    last: u64,
    /// Those that have parked batches.
    parked: Vec<TransactionHandle>,
}

impl Transactions {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Lets a batch wait until it can be sent.
    fn park(&mut self, handle: TransactionHandle, base: u64) {
        if let Some(open) = self.open.get_mut(&handle) {
            open.parked.push_back(base);
            self.note_parked(handle);
        }
    }

    fn note_parked(&mut self, handle: TransactionHandle) {
        if !self.parked.contains(&handle) {
            self.parked.push(handle);
        }
    }
}

/// What to do with a batch of a transaction.
enum Sending {
    /// All of it is under way, or ended.
    Done,
    /// It must wait.
    Later,
    /// Its operations end with this.
    Fail(u16, u32, &'static [u8]),
}

impl ClientCore {
    /// Begins a transaction; nothing is sent before its first operation. Put the handle into [`crate::Batch::transaction`] of
    /// all its batches, the last of which holds [`crate::Batch::commit`] or [`crate::Batch::rollback`]. `None` when too
    /// many are open.
    pub fn begin(&mut self) -> Option<TransactionHandle> {
        self.begin_again(0)
    }

    /// As [`ClientCore::begin`], for a transaction that was tried so often before: each time it gets a better place among those
    /// that wait for each other.
    pub fn begin_again(&mut self, tries: u32) -> Option<TransactionHandle> {
        if self.transactions.open.len() >= MAX_OPEN_TRANSACTIONS {
            return None;
        }
        self.transactions.last += 1;
        let handle = TransactionHandle(self.transactions.last);
        self.transactions.open.insert(handle, OpenTransaction { tries, ..OpenTransaction::default() });
        Some(handle)
    }

    /// As [`ClientCore::begin_again`] under a handle that the driver gave out. With too many open ones its operations end in
    /// `Overloaded`.
    pub fn begin_as(&mut self, handle: TransactionHandle, tries: u32) {
        let mut open = OpenTransaction { tries, ..OpenTransaction::default() };
        if self.transactions.open.len() >= MAX_OPEN_TRANSACTIONS {
            open.failure = Some((ErrorCode::Overloaded as u16, 0));
        }
        self.transactions.open.insert(handle, open);
    }

    /// Forgets a transaction that was not ended, rolling it back. Without effect on one that was.
    pub fn forget(&mut self, now: Nanoseconds, handle: TransactionHandle) {
        if self.transactions.open.get(&handle).is_some_and(|open| !open.ending) {
            self.fail_transaction(now, handle, ErrorCode::TransactionFailed as u16, 0);
            self.drop_transaction(handle);
        }
    }

    fn drop_transaction(&mut self, handle: TransactionHandle) {
        let Some(open) = self.transactions.open.get_mut(&handle) else { return };
        open.over = true;
        if open.parked.is_empty() {
            self.transactions.open.remove(&handle);
        }
    }

    /// A batch of a transaction was submitted.
    pub(crate) fn submit_in_transaction(&mut self, now: Nanoseconds, base: u64) {
        let Some(handle) = self.batches.batch(base).and_then(|batch| batch.transaction) else { return };
        let waits = self.transactions.open.get(&handle).is_some_and(|open| !open.parked.is_empty());
        if waits || !self.send_in_transaction(now, handle, base) {
            self.transactions.park(handle, base);
        }
    }

    /// Sends parked batches that can be sent now.
    pub(crate) fn pump_transactions(&mut self, now: Nanoseconds) {
        for handle in std::mem::take(&mut self.transactions.parked) {
            loop {
                let open = self.transactions.open.get(&handle);
                let Some(base) = open.and_then(|open| open.parked.front().copied()) else {
                    break;
                };
                if self.batches.batch(base).is_some() && !self.send_in_transaction(now, handle, base) {
                    self.transactions.parked.push(handle);
                    break;
                }
                if let Some(open) = self.transactions.open.get_mut(&handle) {
                    open.parked.pop_front();
                    if open.over {
                        self.drop_transaction(handle);
                    }
                }
            }
        }
    }

    /// Sends a whole batch of a transaction. False when it must wait.
    fn send_in_transaction(&mut self, now: Nanoseconds, handle: TransactionHandle, base: u64) -> bool {
        let lost = self.batches.batch(base).is_some_and(|batch| self.wire.map.has_lost(&batch.operations));
        if lost {
            let code = ErrorCode::GroupLost as u16;
            self.fail_transaction(now, handle, code, 0);
            self.end_batch(handle, base, code, 0, GROUP_LOST);
            return true;
        }
        match self.try_send(now, handle, base) {
            Sending::Done => true,
            Sending::Later => false,
            Sending::Fail(code, node, detail) => {
                self.end_batch(handle, base, code, node, detail);
                true
            }
        }
    }

    /// Ends all open operations of a batch; a roll-back of what has failed is one that succeeded.
    fn end_batch(&mut self, handle: TransactionHandle, base: u64, code: u16, node: u32, detail: &[u8]) {
        let count = self.batches.batch(base).map_or(0, |batch| batch.operations.len());
        let mut ends = false;
        for index in 0..count {
            let Some(batch) = self.batches.batch(base) else { break };
            let operation = &mut batch.operations[index];
            if operation.state == State::Done {
                continue;
            }
            ends |= matches!(operation.kind, Kind::Commit | Kind::Rollback);
            let reference = request_id(base, index, operation.attempt);
            if operation.kind != Kind::Rollback {
                batch.keep_error(index, code, node, detail);
            }
            self.finish(reference);
        }
        if ends {
            self.drop_transaction(handle);
        }
    }

    fn try_send(&mut self, now: Nanoseconds, handle: TransactionHandle, base: u64) -> Sending {
        let Some(batch) = self.batches.batch(base) else { return Sending::Done };
        let Some(open) = self.transactions.open.get_mut(&handle) else {
            return Sending::Fail(ErrorCode::UnknownTransaction as u16, 0, b"");
        };
        if let Some((code, node)) = open.failure {
            return Sending::Fail(code, node, b"");
        }
        if now < open.not_before {
            return Sending::Later;
        }
        let misplaced =
            |operation: &Operation| matches!(operation.kind, Kind::Scan | Kind::ScanRange | Kind::Resolve);
        if open.ending || batch.operations.iter().any(misplaced) {
            return Sending::Fail(
                ErrorCode::InvalidRequest as u16,
                0,
                b"not in a transaction, or after its end",
            );
        }
        let first = batch.operations.iter().find(|operation| operation.kind.has_row());
        let (position, link) = match (open.place, first) {
            (Some(place), _) => place,
            (None, None) => {
                // Nothing was done, so nothing is to be ended.
                return self.end_nothing(handle, base);
            }
            (None, Some(first)) => {
                let Some(route) = self.wire.map.route_of_hash(first.hash) else {
                    self.refresh.want();
                    return Sending::Later;
                };
                let position = usize::from(route.endpoint);
                let Some(endpoint) = self.wire.endpoints.get(position) else { return Sending::Later };
                let Some(link) = endpoint.link().filter(|_| endpoint.has_room(&self.wire.limits)) else {
                    return Sending::Later;
                };
                match self.wire.sessions.allot(now) {
                    Some(id) => open.id = id,
                    None => return Sending::Later,
                }
                open.place = Some((position, link));
                (position, link)
            }
        };
        let endpoint = &mut self.wire.endpoints[position];
        if endpoint.link() != Some(link) {
            return Sending::Fail(ErrorCode::NodeUnreachable as u16, endpoint.node(), b"the link broke");
        }
        if !endpoint.has_room(&self.wire.limits) {
            return Sending::Later;
        }
        for index in 0..batch.operations.len() {
            if endpoint.builder.is_full() {
                endpoint.builder.seal(&Envelope { receiver: endpoint.instance, ..self.wire.identity });
            }
            let operation = &mut batch.operations[index];
            operation.attempt = next_attempt(operation.attempt);
            operation.tries = operation.tries.saturating_add(1);
            operation.state = State::InFlight;
            operation.endpoint = position as u16;
            self.wire.counters.requests_sent += 1;
            let id = request_id(base, index, operation.attempt);
            let start = operation.bytes_start as usize;
            let key_end = start + usize::from(operation.key_bytes);
            let payload_end = key_end + operation.payload_bytes as usize;
            endpoint.sent(now, payload_end - start + REQUEST_BYTES);
            let (session, seq) = (open.id.session.into(), open.id.seq.into());
            match operation.kind {
                Kind::Commit => {
                    open.ending = true;
                    operation.transaction = open.id;
                    let body = CommitTransaction {
                        session,
                        seq,
                        partition_hash: open.home.unwrap_or(0).into(),
                        resolved_below: self.wire.sessions.resolved_below(open.id.session).into(),
                    };
                    endpoint.builder.push(0, id, &body, Sections::none());
                }
                Kind::Rollback => {
                    open.ending = true;
                    endpoint.builder.push(0, id, &RollbackTransaction { session, seq }, Sections::none());
                }
                kind => {
                    open.sent += 1;
                    if kind.is_write() {
                        open.home.get_or_insert(operation.hash);
                    }
                    let table = batch.tables.get(usize::from(operation.table));
                    let (table, table_version) = table.map_or((0, 0), |table| (table.id, table.version));
                    let body = Operate {
                        table: table.into(),
                        table_version: table_version.into(),
                        operation: number_of(kind),
                        flags: flags_of(operation),
                        session,
                        seq,
                        number: open.sent.into(),
                        tries: open.tries.into(),
                        expected_epoch: operation.expected.epoch.into(),
                        expected_seq: operation.expected.seq.into(),
                    };
                    let (key, payload) = (&batch.bytes[start..key_end], &batch.bytes[key_end..payload_end]);
                    endpoint.builder.push(0, id, &body, Sections::two(key, payload));
                }
            }
        }
        Sending::Done
    }

    /// Ends a transaction that never did anything.
    fn end_nothing(&mut self, handle: TransactionHandle, base: u64) -> Sending {
        let count = self.batches.batch(base).map_or(0, |batch| batch.operations.len());
        for index in 0..count {
            let Some(batch) = self.batches.batch(base) else { break };
            let operation = &mut batch.operations[index];
            if operation.kind == Kind::Commit {
                operation.flags |= FLAG_COMMITTED;
            }
            let reference = request_id(base, index, operation.attempt);
            self.finish(reference);
        }
        if let Some(open) = self.transactions.open.get_mut(&handle) {
            open.ending = true;
        }
        self.drop_transaction(handle);
        Sending::Done
    }

    /// The transaction has ended without its commit: frees its number, and lets the node forget it.
    fn fail_transaction(&mut self, now: Nanoseconds, handle: TransactionHandle, code: u16, node: u32) {
        let Some(open) = self.transactions.open.get_mut(&handle) else { return };
        if open.failure.is_some() {
            return;
        }
        open.failure = Some((code, node));
        if !open.ending {
            let (id, place) = (open.id, open.place);
            self.abandon(now, id, place);
        }
    }

    /// Frees the number of a transaction whose commit was not sent, and lets the node forget it.
    fn abandon(&mut self, now: Nanoseconds, id: TransactionId, place: Option<(usize, LinkId)>) {
        if id.seq == 0 {
            return;
        }
        self.wire.sessions.resolve(id);
        if let Some((position, link)) = place
            && self.wire.endpoints[position].link() == Some(link)
        {
            let request = self.own_request();
            let body = RollbackTransaction { session: id.session.into(), seq: id.seq.into() };
            self.wire.send_own(now, position, request, &body, Sections::none());
        }
    }

    /// The operation was refused because another node leads its row or the node leaves or starts, or nobody answers it any more. If it is
    /// all that was sent of its transaction, that is rolled back, whatever became of it, and begins again under another number where the row is
    /// led by then. Whether it does.
    fn begins_elsewhere(&mut self, now: Nanoseconds, handle: TransactionHandle, reference: u64) -> bool {
        let Some((batch, index)) = self.batches.find(reference, State::InFlight) else { return false };
        let alone = batch.operations.len() == 1 && changes_hands(batch.operations[index].code);
        let Some(open) = self.transactions.open.get_mut(&handle) else { return false };
        if !alone || open.sent != 1 || open.ending || open.failure.is_some() {
            return false;
        }
        let (id, place) = (std::mem::take(&mut open.id), open.place.take());
        (open.sent, open.home) = (0, None);
        open.parked.push_front(base_of(reference));
        self.transactions.note_parked(handle);
        self.abandon(now, id, place);
        let at = self.retry_later(now, reference);
        if let Some(open) = self.transactions.open.get_mut(&handle) {
            open.not_before = at;
        }
        true
    }

    /// What later operations are told after one ended with `code`.
    fn fail_after(&mut self, now: Nanoseconds, handle: TransactionHandle, code: u16, node: u32) {
        let retryable = ErrorCode::from_number(code).is_some_and(ErrorCode::is_retryable);
        let later = if retryable { code } else { ErrorCode::TransactionFailed as u16 };
        self.fail_transaction(now, handle, later, node);
    }

    /// An operation was executed, or refused by its row.
    pub(crate) fn operate_reply(&mut self, now: Nanoseconds, signal: &SignalView<'_>) {
        let id = signal.request_id();
        let Some((batch, index)) = self.batches.find(id, State::InFlight) else {
            self.wire.counters.late_answers += 1;
            return;
        };
        let (Some(body), Some(handle)) = (signal.body::<OperateReply>(), batch.transaction) else { return };
        let operation = &mut batch.operations[index];
        let (code, node) = (body.code.get(), body.node.get());
        operation.code = code;
        operation.node = 0;
        operation.reply_bytes = 0;
        operation.version = RowVersion { epoch: body.epoch.get(), seq: body.seq.get() };
        operation.result = body.result;
        operation.result_bytes = body.result_bytes.get().min(16) as u8;
        operation.flags |= if body.flags.get() & FLAG_IGNORED != 0 { FLAG_RESULT } else { 0 };
        let reads = operation.kind.is_read();
        let mut failed = code != 0 && !(reads && code == ErrorCode::RowNotFound as u16);
        if reads && code == 0 {
            let version = batch.tables[usize::from(operation.table)].version;
            if body.table_version.get() == version {
                batch.keep_reply(index, signal.section(0));
            } else {
                let code = ErrorCode::TableVersionMismatch as u16;
                batch.keep_error(index, code, 0, b"the row follows another version of the table");
                failed = true;
                self.refresh.want();
            }
        }
        self.finish(id);
        if failed {
            self.fail_after(now, handle, code, node);
        }
    }

    /// A transaction has ended as it was asked to.
    pub(crate) fn transaction_reply(&mut self, signal: &SignalView<'_>) {
        let id = signal.request_id();
        let Some((batch, index)) = self.batches.find(id, State::InFlight) else {
            self.wire.counters.late_answers += 1;
            return;
        };
        let (Some(body), Some(handle)) = (signal.body::<TransactionReply>(), batch.transaction) else {
            return;
        };
        let operation = &mut batch.operations[index];
        if !matches!(operation.kind, Kind::Commit | Kind::Rollback) {
            return;
        }
        if body.outcome.get() == OUTCOME_COMMITTED {
            operation.flags |= FLAG_COMMITTED;
            operation.version.epoch = body.epoch.get();
            if self.transactions.open.get(&handle).is_some_and(|open| open.home.is_some()) {
                batch.lose_answers();
            }
        }
        self.finish(id);
        self.ended(handle);
    }

    /// The end of a transaction is known.
    fn ended(&mut self, handle: TransactionHandle) {
        let Some(open) = self.transactions.open.get_mut(&handle) else { return };
        let id = std::mem::take(&mut open.id);
        open.failure.get_or_insert((ErrorCode::UnknownTransaction as u16, 0));
        if id.seq != 0 {
            self.wire.sessions.resolve(id);
        }
        self.drop_transaction(handle);
    }

    /// An operation of a transaction was answered with an error.
    pub(crate) fn transaction_refused(
        &mut self,
        now: Nanoseconds,
        reference: u64,
        code: u16,
        node: u32,
        detail: &[u8],
    ) {
        let Some((batch, index)) = self.batches.find(reference, State::InFlight) else { return };
        let (Some(handle), kind) = (batch.transaction, batch.operations[index].kind) else { return };
        // Whoever refuses to begin a transaction does not know it when its next operation comes.
        let failure = self.transactions.open.get(&handle).and_then(|open| open.failure);
        let (code, node) = match failure {
            Some(failure) if code == ErrorCode::UnknownTransaction as u16 => failure,
            _ => (code, node),
        };
        let unclear = [ErrorCode::ReplyBufferFull as u16, ErrorCode::OutcomeUnknown as u16].contains(&code);
        if kind == Kind::Commit && unclear {
            batch.keep_error(index, code, node, detail);
            return self.doubt(now, handle, reference);
        }
        if kind == Kind::Rollback {
            // Whatever it says, the transaction is not committed.
            self.finish(reference);
            return self.ended(handle);
        }
        batch.keep_error(index, code, node, detail);
        if self.begins_elsewhere(now, handle, reference) {
            return;
        }
        self.finish(reference);
        if kind == Kind::Commit {
            self.ended(handle);
        } else {
            self.fail_after(now, handle, code, node);
        }
    }

    /// A commit was sent and its answer will not come: the outcome is resolved, unless nothing was written.
    fn doubt(&mut self, now: Nanoseconds, handle: TransactionHandle, reference: u64) {
        let limits = (self.wire.limits.unknown_outcomes, self.wire.limits.operations);
        let Some(open) = self.transactions.open.get_mut(&handle) else { return };
        let (id, home) = (open.id, open.home);
        let Some(home) = home else {
            self.finish(reference);
            return self.ended(handle);
        };
        open.id = TransactionId::default();
        if let Some((batch, index)) = self.batches.find(reference, State::InFlight) {
            let operation = &mut batch.operations[index];
            operation.state = State::Waiting;
            operation.flags |= FLAG_IN_DOUBT;
        }
        let oldest = self.outcomes.add(now, id, home, limits.0);
        self.outcomes.wait(id, reference, limits.1);
        if let Some(oldest) = oldest {
            self.settle(oldest, Outcome::Forgotten);
        }
        self.ended(handle);
    }

    /// The link of an endpoint is lost, and with it every transaction that lived on it.
    pub(crate) fn transactions_lost(&mut self, now: Nanoseconds, position: usize) {
        if self.transactions.is_empty() {
            return;
        }
        let node = self.wire.endpoints[position].node();
        let mut lost = Vec::new();
        for (base, batch) in self.batches.iter_mut() {
            let Some(handle) = batch.transaction else { continue };
            for (index, operation) in batch.operations.iter().enumerate() {
                if operation.state == State::InFlight && usize::from(operation.endpoint) == position {
                    lost.push((handle, request_id(base, index, operation.attempt), operation.kind));
                }
            }
        }
        for (handle, reference, kind) in lost {
            let Some((batch, index)) = self.batches.find(reference, State::InFlight) else { continue };
            let code = ErrorCode::NodeUnreachable as u16;
            if kind == Kind::Rollback {
                self.finish(reference);
                self.ended(handle);
                continue;
            }
            batch.keep_error(index, code, node, b"the link broke");
            if kind == Kind::Commit {
                self.doubt(now, handle, reference);
            } else if !self.begins_elsewhere(now, handle, reference) {
                self.finish(reference);
            }
        }
        let on_it = |open: &OpenTransaction| open.place.is_some_and(|(at, _)| at == position);
        let handles: Vec<_> = self
            .transactions
            .open
            .iter()
            .filter(|(_, open)| on_it(open))
            .map(|(handle, _)| *handle)
            .collect();
        for handle in handles {
            self.fail_transaction(now, handle, ErrorCode::NodeUnreachable as u16, node);
        }
    }

    /// An operation of a transaction has not ended in time.
    pub(crate) fn expire_in_transaction(&mut self, now: Nanoseconds, reference: u64) {
        let limit = self.wire.limits.unknown_outcomes;
        let Some(batch) = self.batches.batch(reference) else { return };
        let index = crate::batches::index_of(reference);
        let Some(handle) = batch.transaction else { return };
        let operation = &batch.operations[index];
        let (kind, state, flags) = (operation.kind, operation.state, operation.flags);
        let (position, transaction) = (usize::from(operation.endpoint), operation.transaction);
        let endpoint = self.wire.endpoints.get_mut(position);
        let node = endpoint.as_ref().map_or(0, |endpoint| endpoint.node());
        if state == State::InFlight
            && let Some(endpoint) = endpoint
        {
            endpoint.abandoned += 1;
        }
        let home = self.transactions.open.get(&handle).and_then(|open| open.home);
        let sent = state == State::InFlight || flags & FLAG_IN_DOUBT != 0;
        if kind == Kind::Commit && sent && (home.is_some() || flags & FLAG_IN_DOUBT != 0) {
            let detail = b"the deadline passed before an answer came";
            batch.keep_error(index, ErrorCode::OutcomeUnknown as u16, node, detail);
            self.wire.counters.unknown_outcomes += 1;
            self.finish(reference);
            if let (State::InFlight, Some(home)) = (state, home) {
                if let Some(open) = self.transactions.open.get_mut(&handle) {
                    open.id = TransactionId::default();
                }
                if let Some(oldest) = self.outcomes.add(now, transaction, home, limit) {
                    self.settle(oldest, Outcome::Forgotten);
                }
            }
            return self.ended(handle);
        }
        if state == State::InFlight || operation.code == 0 {
            batch.keep_error(index, ErrorCode::DeadlineExceeded as u16, node, b"");
        }
        self.finish(reference);
        if matches!(kind, Kind::Commit | Kind::Rollback) && sent {
            self.ended(handle);
        } else {
            self.fail_transaction(now, handle, ErrorCode::DeadlineExceeded as u16, node);
            if matches!(kind, Kind::Commit | Kind::Rollback) {
                self.drop_transaction(handle);
            }
        }
    }
}

fn number_of(kind: Kind) -> u8 {
    match kind {
        Kind::Read => OPERATION_READ,
        Kind::ReadShared => OPERATION_READ_SHARED,
        Kind::ReadExclusive => OPERATION_READ_EXCLUSIVE,
        Kind::Insert => OPERATION_INSERT,
        Kind::Update => OPERATION_UPDATE,
        Kind::Upsert => OPERATION_UPSERT,
        Kind::Delete => OPERATION_DELETE,
        Kind::Scan | Kind::ScanRange | Kind::Resolve | Kind::Commit | Kind::Rollback => 0,
    }
}

fn flags_of(operation: &Operation) -> u8 {
    let ignore = match operation.kind {
        Kind::Insert => FLAG_IGNORE_EXISTING,
        _ => FLAG_IGNORE_MISSING,
    };
    let expect = if operation.flags & FLAG_EXPECT != 0 { FLAG_EXPECT_VERSION } else { 0 };
    expect | if operation.flags & FLAG_IGNORE != 0 { ignore } else { 0 }
}
