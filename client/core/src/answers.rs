//! What the nodes answer.

use crate::batch::{FLAG_FENCING, FLAG_IN_DOUBT, FLAG_RESULT, Kind, State};
use crate::batches::is_internal;
use crate::core::ClientCore;
use crate::interface::Nanoseconds;
use crate::outcome::Outcome;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::FrameView;
use duet_protocol::ids::{RowVersion, TransactionId};
use duet_protocol::signal::cluster_state::ClusterStateSignal;
use duet_protocol::signal::dictionary_changed::DictionaryChanged;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::refuse_link::RefuseLink;
use duet_protocol::signal::resolve_reply::{OUTCOME_COMMITTED, ResolveReply};
use duet_protocol::signal::scan_reply::{FLAG_DONE, ScanReply};
use duet_protocol::signal::session_opened::SessionOpened;
use duet_protocol::signal::write_reply::{FLAG_REPLAYED, WriteReply};
use duet_protocol::signal::{SignalType, SignalView};

impl ClientCore {
    /// All signals of a frame of a greeted link.
    pub(crate) fn answers(&mut self, now: Nanoseconds, endpoint: usize, frame: &FrameView<'_>, view: u64) {
        for signal in frame.signals() {
            self.answer(now, endpoint, &signal, view);
        }
    }

    /// One signal of a greeted link.
    #[inline]
    pub(crate) fn answer(&mut self, now: Nanoseconds, endpoint: usize, signal: &SignalView<'_>, view: u64) {
        if signal.request_id() != 0 {
            self.wire.endpoints[endpoint].answered();
        }
        match signal.signal_type() {
            SignalType::ReadReply => self.read_reply(now, signal, view),
            SignalType::WriteReply => self.write_reply(now, signal, view),
            SignalType::ScanReply => self.scan_reply(now, signal, view),
            SignalType::OperateReply => self.operate_reply(now, signal),
            SignalType::TransactionReply => self.transaction_reply(signal),
            SignalType::ErrorReply => self.error_reply(now, endpoint, signal),
            SignalType::ResolveReply => self.resolve_reply(signal),
            SignalType::SessionOpened => {
                if let Some(body) = signal.body::<SessionOpened>() {
                    self.session_opened(signal.request_id(), body.session.get());
                }
            }
            SignalType::ClusterStateSignal => {
                if let Some(body) = signal.body::<ClusterStateSignal>() {
                    self.state_arrived(now, endpoint, body.version.get(), signal.section(0));
                }
            }
            SignalType::ClusterStatusSignal => {
                let knows = self.wire.map.version();
                self.jobs.status_arrived(now, signal.request_id(), signal.section(0), knows);
            }
            SignalType::Users => self.jobs.users_arrived(signal.request_id(), signal.section(0)),
            SignalType::DictionaryChanged => {
                if let Some(body) = signal.body::<DictionaryChanged>() {
                    self.dictionary_changed(now, signal.request_id(), body, signal.section(0));
                }
            }
            SignalType::RefuseLink => {
                if let Some(body) = signal.body::<RefuseLink>() {
                    let detail = String::from_utf8_lossy(signal.section(0)).into_owned();
                    self.wire.endpoints[endpoint].refusal = Some((body.code.get(), detail));
                    self.close(now, endpoint);
                }
            }
            // Nodes send nothing else to clients; what they do send is passed over.
            _ => {}
        }
    }

    /// The operation that an answer belongs to, if that attempt is still under way and of such a kind.
    #[inline]
    fn is_expected(&mut self, request_id: u64, fits: impl FnOnce(Kind) -> bool) -> bool {
        let found = self.batches.find(request_id, State::InFlight);
        let expected = found.is_some_and(|(batch, index)| fits(batch.operations[index].kind));
        self.wire.counters.late_answers += u64::from(!expected);
        expected
    }

    /// Whether an observation must be made again because this client may have seen a newer one.
    #[inline]
    fn drop_stale(&mut self, now: Nanoseconds, request_id: u64, view: u64) -> bool {
        if view >= self.wire.map.latest_change {
            return false;
        }
        let found = self.batches.find(request_id, State::InFlight);
        if !found.is_some_and(|(batch, index)| self.wire.map.is_stale(&batch.operations[index], view)) {
            return false;
        }
        self.wire.counters.stale_observations += 1;
        self.retry_later(now, request_id);
        true
    }

    #[inline]
    fn read_reply(&mut self, now: Nanoseconds, signal: &SignalView<'_>, view: u64) {
        let id = signal.request_id();
        if !self.is_expected(id, |kind| kind == Kind::Read) || self.drop_stale(now, id, view) {
            return;
        }
        let Some((batch, index)) = self.batches.find(id, State::InFlight) else { return };
        let Some(body) = signal.body::<ReadReply>() else { return };
        let operation = &mut batch.operations[index];
        operation.code = body.code.get();
        operation.version = RowVersion { epoch: body.epoch.get(), seq: body.seq.get() };
        operation.reply_bytes = 0;
        if body.code.get() == 0 {
            let version = batch.tables[usize::from(operation.table)].version;
            if body.table_version.get() == version {
                batch.keep_reply(index, signal.section(0));
            } else {
                let code = ErrorCode::TableVersionMismatch as u16;
                batch.keep_error(index, code, 0, b"the row follows another version of the table");
                self.refresh.want();
            }
        }
        self.finish(id);
    }

    fn write_reply(&mut self, now: Nanoseconds, signal: &SignalView<'_>, view: u64) {
        let id = signal.request_id();
        if !self.is_expected(id, Kind::is_write) {
            return;
        }
        let Some(body) = signal.body::<WriteReply>() else { return };
        if body.code.get() != 0 && self.drop_stale(now, id, view) {
            return;
        }
        let Some((batch, index)) = self.batches.find(id, State::InFlight) else { return };
        let operation = &mut batch.operations[index];
        if body.code.get() != 0 && operation.flags & FLAG_IN_DOUBT != 0 {
            operation.refusal = body.code.get();
            return self.fence(now, id);
        }
        operation.code = body.code.get();
        operation.node = 0;
        operation.reply_bytes = 0;
        operation.version = RowVersion { epoch: body.epoch.get(), seq: body.seq.get() };
        operation.result = body.result;
        operation.result_bytes = body.result_bytes.get().min(16) as u8;
        operation.flags |= if body.flags.get() & FLAG_REPLAYED != 0 { FLAG_RESULT } else { 0 };
        self.finish(id);
    }

    /// A write was refused, but an earlier try of it may still be on its way. Its id is fenced before the refusal
    /// is told, so that what was told stays true.
    fn fence(&mut self, now: Nanoseconds, id: u64) {
        let Some((batch, index)) = self.batches.find(id, State::InFlight) else { return };
        let operation = &mut batch.operations[index];
        operation.flags |= FLAG_FENCING;
        operation.state = State::Waiting;
        self.dispatch(now, id, false);
    }

    fn scan_reply(&mut self, now: Nanoseconds, signal: &SignalView<'_>, view: u64) {
        let id = signal.request_id();
        if !self.is_expected(id, |kind| matches!(kind, Kind::Scan | Kind::ScanRange))
            || self.drop_stale(now, id, view)
        {
            return;
        }
        let Some((batch, index)) = self.batches.find(id, State::InFlight) else { return };
        let Some(body) = signal.body::<ScanReply>() else { return };
        let operation = &mut batch.operations[index];
        (operation.code, operation.node) = (0, 0);
        let last_key = signal.section(1);
        let is_range = operation.kind == Kind::ScanRange;
        let place = if is_range { last_key.len() as u64 } else { body.next_cursor.get() };
        operation.version = RowVersion { epoch: place, seq: u64::from(body.row_count.get()) };
        operation.flags |= if body.flags.get() & FLAG_DONE != 0 { FLAG_RESULT } else { 0 };
        batch.keep_reply(index, signal.section(0));
        if is_range {
            batch.extend_reply(index, last_key);
        }
        self.finish(id);
    }

    fn resolve_reply(&mut self, signal: &SignalView<'_>) {
        let id = signal.request_id();
        let Some(body) = signal.body::<ResolveReply>() else { return };
        let version = RowVersion { epoch: body.epoch.get(), seq: body.seq.get() };
        let result_bytes = body.result_bytes.get().min(16) as u8;
        let committed = body.outcome.get() == OUTCOME_COMMITTED;
        if is_internal(id) {
            let Some(transaction) = self.outcomes.of_request(id) else { return };
            let outcome = if committed {
                Outcome::Committed { version, result: body.result, result_bytes }
            } else {
                Outcome::Aborted
            };
            return self.settle(transaction, outcome);
        }
        if !self.is_expected(id, Kind::is_write) {
            return;
        }
        let Some((batch, index)) = self.batches.find(id, State::InFlight) else { return };
        let operation = &mut batch.operations[index];
        if operation.flags & FLAG_FENCING == 0 {
            return;
        }
        operation.node = 0;
        operation.reply_bytes = 0;
        if committed {
            operation.code = 0;
            (operation.version, operation.result, operation.result_bytes) =
                (version, body.result, result_bytes);
            operation.flags |= FLAG_RESULT;
        } else {
            operation.code = operation.refusal;
        }
        self.finish(id);
    }

    fn error_reply(&mut self, now: Nanoseconds, endpoint: usize, signal: &SignalView<'_>) {
        let id = signal.request_id();
        let Some(body) = signal.body::<ErrorReply>() else { return };
        let code = ErrorCode::from_number(body.code.get());
        let retryable = code.map_or(body.retryable.get() != 0, ErrorCode::is_retryable);
        if matches!(
            code,
            Some(
                ErrorCode::StaleMap
                    | ErrorCode::NotServing
                    | ErrorCode::NodeUnreachable
                    | ErrorCode::TableNotFound
                    | ErrorCode::TableNotActive
                    | ErrorCode::TableVersionMismatch
            )
        ) {
            self.refresh.want();
        }
        if is_internal(id) {
            self.own_request_refused(now, endpoint, id, body, signal.section(0), retryable);
        } else {
            self.operation_refused(now, id, body, signal.section(0), retryable);
        }
    }

    fn operation_refused(
        &mut self,
        now: Nanoseconds,
        id: u64,
        body: &ErrorReply,
        detail: &[u8],
        mut retryable: bool,
    ) {
        if !self.is_expected(id, |_| true) {
            return;
        }
        let Some((batch, index)) = self.batches.find(id, State::InFlight) else { return };
        if batch.transaction.is_some() {
            return self.transaction_refused(now, id, body.code.get(), body.node.get(), detail);
        }
        let operation = &mut batch.operations[index];
        let is_write = operation.kind.is_write();
        let mut number = body.code.get();
        if !is_write && number == ErrorCode::OutcomeUnknown as u16 {
            // What only reads has no outcome: it just found nobody.
            number = ErrorCode::NodeUnreachable as u16;
        }
        let code = ErrorCode::from_number(number);
        match code {
            // The write may have happened although its answer could not be brought.
            Some(ErrorCode::OutcomeUnknown | ErrorCode::ReplyBufferFull | ErrorCode::DeadlineExceeded)
                if is_write =>
            {
                operation.flags |= FLAG_IN_DOUBT;
            }
            Some(ErrorCode::TableVersionMismatch) => {
                // The bytes follow the version of the handle: they can be sent again only if that is the newest.
                let table = &batch.tables[usize::from(operation.table)];
                let newest = self.wire.map.table_version(table.id);
                retryable = newest.is_none_or(|newest| newest == table.version);
            }
            // The lock was waited for as long as it may be; another wait could end in doubt. Who asked may try again.
            Some(ErrorCode::LockTimeout) => retryable = false,
            Some(ErrorCode::OutcomeExpired) if is_write && operation.tries == 1 => {
                // It was sent once and refused at once, so it may have another number.
                let old = std::mem::take(&mut operation.transaction);
                self.wire.sessions.expire(old.session);
                self.wire.sessions.resolve(old);
                retryable = true;
            }
            _ => {}
        }
        if retryable {
            batch.keep_error(index, number, body.node.get(), detail);
            self.retry_later(now, id);
            return;
        }
        let flags = batch.operations[index].flags;
        let no_longer_known = matches!(
            code,
            Some(
                ErrorCode::Aborted
                    | ErrorCode::OutcomeExpired
                    | ErrorCode::AlreadyResolved
                    | ErrorCode::InvalidTransaction
            )
        );
        batch.keep_error(index, number, body.node.get(), detail);
        if is_write && flags & FLAG_IN_DOUBT != 0 && flags & FLAG_FENCING == 0 && !no_longer_known {
            batch.operations[index].refusal = number;
            return self.fence(now, id);
        }
        self.finish(id);
    }

    fn own_request_refused(
        &mut self,
        now: Nanoseconds,
        endpoint: usize,
        id: u64,
        body: &ErrorReply,
        detail: &[u8],
        retryable: bool,
    ) {
        if let Some(transaction) = self.outcomes.of_request(id) {
            if retryable {
                self.outcomes.again(now, transaction, &mut self.random);
            } else {
                self.settle(transaction, Outcome::Forgotten);
            }
        } else if !self.session_refused(now, id) && !self.refresh.refused(now, endpoint, id) {
            self.jobs.refused(now, id, body, detail, retryable);
        }
    }

    /// Sends the resolves that are due.
    pub(crate) fn step_resolves(&mut self, now: Nanoseconds) {
        if self.outcomes.next_due().is_none_or(|due| due > now) {
            return;
        }
        for (transaction, hash) in self.outcomes.due(now) {
            let endpoint = self.wire.map.route_of_hash(hash).map(|route| usize::from(route.endpoint));
            let ready = endpoint.filter(|endpoint| {
                self.wire.endpoints.get(*endpoint).is_some_and(|found| found.has_room(&self.wire.limits))
            });
            match ready {
                Some(endpoint) => self.send_resolve(now, endpoint, transaction, hash),
                None => self.outcomes.again(now, transaction, &mut self.random),
            }
        }
    }

    fn send_resolve(&mut self, now: Nanoseconds, endpoint: usize, transaction: TransactionId, hash: u64) {
        let id = self.own_request();
        let body = duet_protocol::signal::resolve::Resolve {
            session: transaction.session.into(),
            seq: transaction.seq.into(),
            partition_hash: hash.into(),
            resolved_below: self.wire.sessions.resolved_below(transaction.session).into(),
        };
        self.wire.send_own(now, endpoint, id, &body, duet_protocol::signal::Sections::none());
        self.outcomes.sent(transaction, id, endpoint);
    }
}
