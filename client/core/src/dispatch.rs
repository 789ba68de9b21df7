//! Operations on their way: submitted, queued, sent, tried again, ended.

use crate::batch::{Batch, FLAG_COMMITTED, FLAG_FENCING, FLAG_IN_DOUBT, Kind, State};
use crate::batches::{base_of, index_of, request_id};
use crate::core::ClientCore;
use crate::endpoint::Endpoint;
use crate::interface::{MILLISECOND, Nanoseconds};
use crate::outcome::Outcome;
use crate::wire::Sent;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use std::cmp::Reverse;

/// First and longest wait before a request is tried again.
const RETRY_FIRST: Nanoseconds = MILLISECOND;
const RETRY_LAST: Nanoseconds = 250 * MILLISECOND;
/// What is refused because partitions change hands is tried again this soon for some tries: that takes some tens of milliseconds, and who
/// comes back too late notices.
const RETRY_SOON: Nanoseconds = 8 * MILLISECOND;
/// Tries until these waits grow on.
const SOON_TRIES: u32 = 24;
/// What is said of rows that nobody holds any more.
pub(crate) const GROUP_LOST: &[u8] = b"start a new cluster and load it again";
/// A link on which more than one in so many requests was never answered is closed.
const ABANDONED_SHARE: usize = 2;

/// Whether an operation was refused because nobody serves its row, or not whom it was sent to.
pub(crate) fn changes_hands(code: u16) -> bool {
    matches!(
        ErrorCode::from_number(code),
        Some(
            ErrorCode::StaleMap
                | ErrorCode::NotServing
                | ErrorCode::BackupUnreachable
                | ErrorCode::NodeUnreachable
                | ErrorCode::OutcomeUnknown
        )
    )
}

impl ClientCore {
    /// Takes a batch; it comes back from [`ClientCore::next_completed`] when all its operations have a result.
    /// A completed batch that was not cleared is executed again, with new transactions.
    pub fn submit(&mut self, now: Nanoseconds, mut batch: Box<Batch>) {
        let count = batch.operations.len();
        let timeout = if batch.timeout == 0 { self.configuration.timeout } else { batch.timeout };
        batch.restart(now.saturating_add(timeout));
        let too_many = self.batches.len() >= self.wire.limits.batches
            || self.batches.operations + count > self.wire.limits.operations;
        if count == 0 || too_many {
            for index in 0..count {
                batch.operations[index].state = State::Done;
                batch.keep_error(
                    index,
                    ErrorCode::Overloaded as u16,
                    0,
                    b"the client has too much under way",
                );
            }
            self.wire.counters.operations_completed += count as u64;
            self.completed.push_back(batch);
            return;
        }
        let base = self.batches.reserve();
        self.batches.operations += count;
        self.earliest_deadline = self.earliest_deadline.min(batch.deadline);
        if batch.transaction.is_some() {
            self.batches.put(base, batch);
            return self.submit_in_transaction(now, base);
        }
        let (mut has_resolve, mut misplaced, mut lost) = (false, Vec::new(), Vec::new());
        for index in 0..count {
            if batch.operations[index].kind == Kind::Resolve {
                has_resolve = true;
                continue;
            }
            if batch.operations[index].kind.needs_transaction() {
                misplaced.push(index);
                continue;
            }
            let sent = self.wire.send(now, base, &mut batch, index, false);
            if sent == Sent::Lost {
                lost.push(index);
            } else if sent != Sent::Yes {
                self.park(sent, request_id(base, index, batch.operations[index].attempt));
            }
        }
        self.batches.put(base, batch);
        for index in lost {
            self.end_lost(base, index);
        }
        for index in misplaced {
            if let Some(batch) = self.batches.batch(base) {
                let reference = request_id(base, index, batch.operations[index].attempt);
                batch.keep_error(index, ErrorCode::InvalidRequest as u16, 0, b"only in a transaction");
                self.finish(reference);
            }
        }
        if has_resolve {
            self.start_resolves(base, count);
        }
    }

    /// Ends an operation whose row is in a group that is lost.
    fn end_lost(&mut self, base: u64, index: usize) {
        let Some(batch) = self.batches.batch(base) else { return };
        let reference = request_id(base, index, batch.operations[index].attempt);
        batch.keep_error(index, ErrorCode::GroupLost as u16, 0, GROUP_LOST);
        self.finish(reference);
    }

    /// Puts an operation that could not be sent into the queue of what it waits for.
    fn park(&mut self, sent: Sent, reference: u64) {
        match sent {
            Sent::Yes => {}
            Sent::Lost => self.end_lost(base_of(reference), index_of(reference)),
            Sent::NoMap => {
                self.refresh.want();
                self.waiting_for_map.push_back(reference);
            }
            Sent::NoNumber => self.waiting_for_number.push_back(reference),
            Sent::Busy { endpoint } => self.wire.endpoints[endpoint].waiting.push_back(reference),
        }
    }

    /// Sends a waiting operation, or queues it again.
    pub(crate) fn dispatch(&mut self, now: Nanoseconds, reference: u64, in_turn: bool) {
        let Some((batch, index)) = self.batches.find(reference, State::Waiting) else { return };
        if batch.transaction.is_some() {
            // It is parked, and sent in the order of its transaction.
            return;
        }
        let sent = self.wire.send(now, base_of(reference), batch, index, in_turn);
        self.park(sent, reference);
    }

    /// Sends what waits and can be sent now.
    pub(crate) fn pump(&mut self, now: Nanoseconds) {
        self.pump_transactions(now);
        for _ in 0..self.waiting_for_number.len() {
            if !self.wire.sessions.has_room(now) {
                break;
            }
            if let Some(reference) = self.waiting_for_number.pop_front() {
                self.dispatch(now, reference, false);
            }
        }
        for endpoint in 0..self.wire.endpoints.len() {
            for _ in 0..self.wire.endpoints[endpoint].waiting.len() {
                if !self.wire.endpoints[endpoint].has_room(&self.wire.limits) {
                    break;
                }
                if let Some(reference) = self.wire.endpoints[endpoint].waiting.pop_front() {
                    self.dispatch(now, reference, true);
                }
            }
        }
    }

    /// The map has changed: everything that waits for a map or a link finds its way anew.
    pub(crate) fn reroute(&mut self, now: Nanoseconds) {
        let mut waiting: Vec<u64> = self.waiting_for_map.drain(..).collect();
        for endpoint in &mut self.wire.endpoints {
            waiting.extend(endpoint.waiting.drain(..));
        }
        for reference in waiting {
            self.dispatch(now, reference, false);
        }
    }

    /// Tries again what is due.
    pub(crate) fn retry_due(&mut self, now: Nanoseconds) {
        while let Some(Reverse((at, reference))) = self.retries.peek().copied() {
            if at > now {
                break;
            }
            self.retries.pop();
            self.dispatch(now, reference, false);
        }
    }

    /// Lets an operation wait before it is tried again. When that is.
    pub(crate) fn retry_later(&mut self, now: Nanoseconds, reference: u64) -> Nanoseconds {
        let Some((batch, index)) = self.batches.find(reference, State::InFlight) else { return now };
        let operation = &mut batch.operations[index];
        operation.state = State::Waiting;
        let tries = u32::from(operation.tries.saturating_sub(1));
        let (least, most, tries) = match (changes_hands(operation.code), tries.checked_sub(SOON_TRIES)) {
            (false, _) => (RETRY_FIRST, RETRY_LAST, tries),
            (true, None) => (RETRY_FIRST, RETRY_SOON, tries),
            (true, Some(more)) => (RETRY_SOON, RETRY_LAST, more),
        };
        let wait = self.random.backoff(least, most, tries);
        self.wire.counters.retries += 1;
        self.retries.push(Reverse((now + wait, reference)));
        now + wait
    }

    /// The link of an endpoint is lost: its operations wait for the next one; writes among them are in doubt.
    pub(crate) fn operations_lost(&mut self, position: usize) {
        let endpoint = &mut self.wire.endpoints[position];
        let node = endpoint.node();
        let mut retried = 0;
        for (base, batch) in self.batches.iter_mut().filter(|(_, batch)| batch.transaction.is_none()) {
            for index in 0..batch.operations.len() {
                let operation = &mut batch.operations[index];
                if operation.state != State::InFlight || usize::from(operation.endpoint) != position {
                    continue;
                }
                operation.state = State::Waiting;
                if operation.kind.is_write() {
                    operation.flags |= FLAG_IN_DOUBT;
                }
                endpoint.waiting.push_back(request_id(base, index, operation.attempt));
                batch.keep_error(index, ErrorCode::NodeUnreachable as u16, node, b"the link broke");
                retried += 1;
            }
        }
        self.wire.counters.retries += retried;
    }

    /// Ends an operation whose result is written, and its batch if it was the last one.
    #[inline]
    pub(crate) fn finish(&mut self, reference: u64) {
        let Some(batch) = self.batches.batch(reference) else { return };
        let operation = &mut batch.operations[index_of(reference)];
        debug_assert!(operation.state != State::Done, "an operation ends once");
        operation.state = State::Done;
        let resolved = (operation.kind.is_write()
            && operation.transaction.seq != 0
            && operation.code != ErrorCode::OutcomeUnknown as u16)
            .then_some(operation.transaction);
        batch.remaining -= 1;
        let is_last = batch.remaining == 0;
        self.batches.operations -= 1;
        self.wire.counters.operations_completed += 1;
        if let Some(transaction) = resolved {
            self.wire.sessions.resolve(transaction);
        }
        if is_last && let Some(batch) = self.batches.remove(reference) {
            self.completed.push_back(batch);
        }
    }

    /// Ends every operation whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Nanoseconds) {
        let mut expired: Vec<u64> = Vec::new();
        let mut earliest = Nanoseconds::MAX;
        for (base, batch) in self.batches.iter_mut() {
            if batch.deadline > now {
                earliest = earliest.min(batch.deadline);
                continue;
            }
            let operations = batch.operations.iter().enumerate();
            let open = operations.filter(|(_, operation)| operation.state != State::Done);
            expired.extend(open.map(|(index, operation)| request_id(base, index, operation.attempt)));
        }
        self.earliest_deadline = earliest;
        if expired.is_empty() {
            return;
        }
        for reference in expired {
            self.expire_operation(now, reference);
        }
        let batches = &self.batches;
        let still_waits = |reference: &u64| batches.is_waiting(*reference);
        self.waiting_for_map.retain(still_waits);
        self.waiting_for_number.retain(still_waits);
        for endpoint in &mut self.wire.endpoints {
            endpoint.waiting.retain(still_waits);
        }
        for index in 0..self.wire.endpoints.len() {
            let endpoint = &self.wire.endpoints[index];
            if endpoint.abandoned * ABANDONED_SHARE > self.wire.limits.requests_per_node {
                self.close(now, index);
            }
        }
    }

    fn expire_operation(&mut self, now: Nanoseconds, reference: u64) {
        let limit = self.wire.limits.unknown_outcomes;
        let Some(batch) = self.batches.batch(reference) else { return };
        if batch.transaction.is_some() {
            return self.expire_in_transaction(now, reference);
        }
        let index = index_of(reference);
        let operation = &batch.operations[index];
        let in_flight = operation.state == State::InFlight;
        let unknown = operation.kind.is_write()
            && operation.transaction.seq != 0
            && (in_flight || operation.flags & (FLAG_IN_DOUBT | FLAG_FENCING) != 0);
        let (transaction, hash) = (operation.transaction, operation.hash);
        let endpoint = self.wire.map.route(operation).and_then(|route| {
            self.wire.endpoints.get(usize::from(if in_flight { operation.endpoint } else { route.endpoint }))
        });
        let node = endpoint.map_or(0, Endpoint::node);
        if unknown {
            batch.keep_error(
                index,
                ErrorCode::OutcomeUnknown as u16,
                node,
                b"the deadline passed before an answer came",
            );
        } else if in_flight || operation.kind == Kind::Resolve {
            batch.keep_error(index, ErrorCode::DeadlineExceeded as u16, node, b"");
        } else if operation.code == 0 {
            match endpoint {
                Some(endpoint) if !endpoint.is_ready() => {
                    let reason = endpoint.refusal.as_ref().map_or("no connection", |(_, detail)| detail);
                    let detail = format!("{}: {reason}", endpoint.address);
                    batch.keep_error(index, ErrorCode::NodeUnreachable as u16, node, detail.as_bytes());
                }
                Some(_) => batch.keep_error(index, ErrorCode::DeadlineExceeded as u16, node, b""),
                None => {
                    let detail = b"the cluster is not formed or no seed address answers";
                    batch.keep_error(index, ErrorCode::NotServing as u16, 0, detail);
                }
            }
        }
        // Otherwise the last retryable error stays: it says more than that time is up.
        if in_flight {
            let position = usize::from(operation_endpoint(batch, index));
            if let Some(endpoint) = self.wire.endpoints.get_mut(position) {
                endpoint.abandoned += 1;
            }
        }
        self.finish(reference);
        if unknown {
            self.wire.counters.unknown_outcomes += 1;
            if let Some(oldest) = self.outcomes.add(now, transaction, hash, limit) {
                self.settle(oldest, Outcome::Forgotten);
            }
        }
    }

    /// Starts the resolves of a new batch.
    fn start_resolves(&mut self, base: u64, count: usize) {
        let limit = self.wire.limits.operations;
        for index in 0..count {
            let reference = request_id(base, index, 0);
            let Some(batch) = self.batches.batch(reference) else { return };
            let operation = &mut batch.operations[index];
            if operation.kind != Kind::Resolve {
                continue;
            }
            operation.attempt = 0;
            let transaction = operation.transaction;
            if let Some(outcome) = self.outcomes.known(transaction) {
                self.tell_outcome(reference, outcome);
            } else if !self.outcomes.wait(transaction, reference, limit) {
                let detail = b"the outcome of this transaction is not unknown to this client";
                batch.keep_error(index, ErrorCode::InvalidTransaction as u16, 0, detail);
                self.finish(reference);
            }
        }
    }

    /// The outcome of an unknown transaction is known now, or never will be.
    pub(crate) fn settle(&mut self, transaction: TransactionId, outcome: Outcome) {
        let limit = self.wire.limits.known_outcomes;
        let Some(waiters) = self.outcomes.settle(transaction, outcome, limit) else { return };
        self.wire.counters.resolved_outcomes += u64::from(outcome != Outcome::Forgotten);
        self.wire.sessions.resolve(transaction);
        for reference in waiters {
            if self.batches.find(reference, State::Waiting).is_some() {
                self.tell_outcome(reference, outcome);
            }
        }
    }

    fn tell_outcome(&mut self, reference: u64, outcome: Outcome) {
        let Some((batch, index)) = self.batches.find(reference, State::Waiting) else { return };
        let operation = &mut batch.operations[index];
        match outcome {
            Outcome::Committed { version, .. } if operation.kind == Kind::Commit => {
                (operation.code, operation.node, operation.reply_bytes) = (0, 0, 0);
                operation.flags |= FLAG_COMMITTED;
                operation.version.epoch = version.epoch;
                batch.lose_answers();
            }
            Outcome::Committed { version, result, result_bytes } => {
                operation.flags |= FLAG_COMMITTED;
                (operation.version, operation.result, operation.result_bytes) =
                    (version, result, result_bytes);
            }
            Outcome::Aborted => {}
            // Who asks is told that nobody knows; whoever wanted to commit, that it may have happened.
            Outcome::Forgotten => {
                let commits = operation.kind == Kind::Commit;
                let code = if commits { ErrorCode::OutcomeUnknown } else { ErrorCode::OutcomeExpired };
                batch.keep_error(index, code as u16, 0, b"nobody can tell any more");
            }
        }
        self.finish(reference);
    }
}

fn operation_endpoint(batch: &Batch, index: usize) -> u16 {
    batch.operations[index].endpoint
}
