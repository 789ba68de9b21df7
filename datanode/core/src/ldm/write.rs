//! The primary's half of a one-pass write: check, lock, send to the backup; expose and answer when it has accepted.

use crate::ldm::fragment::{Fragment, PendingKind, PendingWrite, lock_of, row_state};
use crate::ldm::lock::LockTable;
use crate::ldm::outcome::{Known, Outcome, OutcomeState, RecordPlace};
use crate::ldm::planted::OLD_ENTRIES;
use crate::ldm::purge::is_of_purge;
use crate::ldm::queue::{Asker, QueueEnds, Turn, Wish};
use crate::ldm::version::{RowChange, StoredImage};
use crate::ldm::{Context, Job, LocalDataManager};
use crate::outbox::ReplyTo;
use duet_memory::{Priority, Probe, RowHandle, RowHeader};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::{RowVersion, TransactionId};
use duet_protocol::schema::TableState;
use duet_protocol::signal::prepare_one::{self, PrepareOne};
use duet_protocol::signal::write::{
    FLAG_EXPECT_VERSION, OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT, Write,
};
use duet_protocol::signal::write_reply::{FLAG_REPLAYED, WriteReply};
use duet_protocol::signal::{Sections, SignalView};

/// Positions between two looks for expired sessions.
pub const EXPIRE_EVERY: u64 = 4_096;

/// A write that is not executed: the code and a detail.
pub(super) type Refusal = (ErrorCode, String);

/// What became of a write that was to be started.
enum Started {
    /// It is on its way.
    OnePass,
    /// More than its row changes.
    NeedsTwoPhases,
}

/// What a write will do, decided from the committed row.
pub(super) struct Decision {
    pub(super) kind: PendingKind,
    pub(super) row: RowHandle,
    /// The after-image was built in `LocalDataManager::image`, and is not what the request brought.
    pub(super) built: bool,
    /// Version of the table that the after-image follows.
    pub(super) table_version: u16,
    result_bytes: u8,
    result: [u8; 16],
}

impl LocalDataManager {
    /// Executes a write as primary, or queues it behind the write that holds the row. `probe` tells how far the look-up
    /// of the row has come.
    pub fn write(&mut self, context: &mut Context<'_>, job: &Job<'_>, probe: Option<Probe>) {
        let Some(body) = job.signal.body::<Write>() else { return };
        let Some(fragment) = &mut self.fragments[usize::from(job.partition)] else { return };
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        match fragment.outcomes.known(transaction, context.epoch) {
            Known::New => {}
            Known::Recorded(_) if context.planted_bug == 4 => {}
            Known::Recorded(outcome) => {
                if !repeat(context, fragment, job.reply, &outcome) {
                    self.hand_to_coordinator(context, job);
                }
                return;
            }
            other => return refuse_id(context, job.reply, other),
        }
        let (index, key) = (&fragment.tables[job.table].rows, job.signal.section(0));
        let found = match probe {
            Some(probe) => index.find_probed(&self.arena, job.hash, key, probe),
            None => index.find(&self.arena, job.hash, key),
        };
        if let Some(handle) = found {
            let row = self.arena.row(handle);
            if row.state() != row_state::COMMITTED {
                let wish = Wish {
                    signal: job.signal.bytes(),
                    asker: Asker::Write(job.reply),
                    partition: job.partition,
                    table: job.table,
                    hash: job.hash,
                };
                let ends = queue_of(fragment, &mut self.locks, row.state(), row.older());
                if self.queue.push(ends, &wish, Turn::Last).is_none() {
                    context.out.error(job.reply, ErrorCode::RowQueueFull, "");
                }
                return;
            }
        }
        let started = self.start(context, job, body, transaction, found);
        if matches!(started, Ok(Started::NeedsTwoPhases)) {
            self.hand_to_coordinator(context, job);
        } else if let Err((code, detail)) = started {
            if code.is_of_row() {
                context.counters.writes_refused += 1;
                let answer = WriteReply { code: (code as u16).into(), ..WriteReply::default() };
                context.out.reply(job.reply, &answer, Sections::none());
            } else {
                context.out.error(job.reply, code, &detail);
            }
        }
    }

    fn start(
        &mut self,
        context: &mut Context<'_>,
        job: &Job<'_>,
        body: &Write,
        transaction: TransactionId,
        found: Option<RowHandle>,
    ) -> Result<Started, Refusal> {
        let Some(decision) = self.decide(context, job, body, found)? else {
            return Ok(Started::NeedsTwoPhases);
        };
        let Some(fragment) = &mut self.fragments[usize::from(job.partition)] else {
            return Err((ErrorCode::Internal, String::new()));
        };
        let resolved_below = body.resolved_below.get().min(transaction.seq);
        admit(context, fragment, Some((transaction.session, resolved_below)))?;
        let key = job.signal.section(0);
        let value: &[u8] = if decision.built { &self.image } else { job.signal.section(1) };
        let version = RowVersion { epoch: context.epoch, seq: fragment.seq + 1 };
        let mut image = RowHandle::NULL;
        if decision.kind != PendingKind::Delete {
            let state = if decision.kind == PendingKind::Insert {
                row_state::PENDING_INSERT
            } else {
                row_state::IMAGE
            };
            let header = RowHeader {
                epoch: version.epoch,
                sequence: version.seq,
                table_version: decision.table_version,
                state,
                older: lock_of(version.seq),
            };
            let out_of_memory = |_| (ErrorCode::OutOfMemory, String::new());
            image = self.arena.allocate_row(&header, key, value, Priority::Normal).map_err(out_of_memory)?;
            let (stored, table) = (&mut fragment.tables[job.table], context.map.table_in(job.table));
            let entered = match decision.kind {
                PendingKind::Insert => stored.insert(&mut self.arena, table, job.hash, image),
                _ => stored.enter(&mut self.arena, table, Some(decision.row), None, image),
            };
            if let Err(error) = entered {
                self.arena.free(image);
                return Err(out_of_memory(error));
            }
        }
        assert!(version.epoch > self.drained, "a write enters epoch {}, which is drained", version.epoch);
        if !decision.row.is_null() {
            assert_rises(self.arena.row(decision.row).epoch(), version.epoch);
            self.arena.set_state_and_older(decision.row, row_state::LOCKED, lock_of(version.seq));
        }
        let pending = PendingWrite {
            kind: decision.kind,
            version,
            transaction,
            record: RecordPlace::default(),
            table: job.table,
            hash: job.hash,
            row: decision.row,
            image,
            result_bytes: decision.result_bytes,
            result: decision.result,
            reply: Some(job.reply),
            resolver: None,
            refused: 0,
            waiting: QueueEnds::EMPTY,
        };
        send_prepare(
            context,
            fragment,
            &pending,
            body.table.get(),
            decision.table_version,
            resolved_below,
            key,
            value,
        );
        self.pending_of_table[job.table] += 1;
        self.pending += 1;
        self.enter(context, job.partition, pending, resolved_below);
        Ok(Started::OnePass)
    }

    /// Puts a prepared write in the chain: outcome record, position, pending list; commits at once without a backup.
    #[inline(always)]
    pub(super) fn enter(
        &mut self,
        context: &mut Context<'_>,
        partition: u16,
        mut pending: PendingWrite,
        resolved_below: u64,
    ) {
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        fragment.seq = pending.version.seq;
        pending.record = fragment.outcomes.put(
            pending.transaction.session,
            resolved_below,
            Outcome {
                transaction_seq: pending.transaction.seq,
                state: OutcomeState::InProgress { seq: pending.version.seq },
                version: pending.version,
                result_bytes: pending.result_bytes,
                result: pending.result,
            },
        );
        if fragment.seq.is_multiple_of(EXPIRE_EVERY) {
            fragment.outcomes.expire(pending.version.epoch);
        }
        let alone = fragment.lane.is_none();
        if context.planted_bug == 2
            && let Some(reply) = pending.reply.take()
        {
            committed(context, reply, pending.version, (pending.result_bytes, pending.result), 0);
        }
        fragment.pending.push_back(pending);
        if alone {
            let upto = fragment.seq;
            self.accepted(context, partition, upto);
        }
    }

    /// Checks the write against the committed row and builds the after-image of an update in `self.image`. None when
    /// entries of unique indexes change with the row.
    fn decide(
        &mut self,
        context: &Context<'_>,
        job: &Job<'_>,
        body: &Write,
        found: Option<RowHandle>,
    ) -> Result<Option<Decision>, Refusal> {
        let plain = |code| (code, String::new());
        let table = context.map.tables.get(job.table).and_then(Option::as_ref);
        let table = table.filter(|table| table.id == body.table.get() && table.state == TableState::Active);
        let Some(table) = table else { return Err(plain(ErrorCode::TableNotActive)) };
        if !table.is_plain && table.is_hidden {
            return Err(plain(ErrorCode::HiddenTable));
        }
        if body.flags & FLAG_EXPECT_VERSION != 0 {
            let expected = RowVersion { epoch: body.expected_epoch.get(), seq: body.expected_seq.get() };
            let Some(handle) = found else { return Err(plain(ErrorCode::RowNotFound)) };
            let row = self.arena.row(handle);
            if (RowVersion { epoch: row.epoch(), seq: row.sequence() }) != expected {
                return Err(plain(ErrorCode::VersionMismatch));
            }
        }
        let row = found.unwrap_or(RowHandle::NULL);
        let mut decision = Decision {
            kind: PendingKind::Update,
            row,
            built: false,
            table_version: body.table_version.get(),
            result_bytes: 0,
            result: [0; 16],
        };
        match (body.operation, found) {
            (OPERATION_INSERT, Some(_)) => return Err(plain(ErrorCode::DuplicateKey)),
            (OPERATION_UPDATE | OPERATION_DELETE, None) => return Err(plain(ErrorCode::RowNotFound)),
            (OPERATION_INSERT | OPERATION_UPSERT, None) => decision.kind = PendingKind::Insert,
            (OPERATION_UPSERT, Some(handle)) => {
                let row = self.arena.row(handle);
                let change = RowChange::Replace(job.signal.section(1));
                let stored = StoredImage { image: row.value, table_version: row.table_version() };
                let made = change.apply(table, decision.table_version, stored, &mut self.image)?;
                (decision.built, decision.table_version) = (made.built, made.table_version);
            }
            (OPERATION_DELETE, Some(_)) => decision.kind = PendingKind::Delete,
            (OPERATION_UPDATE, Some(handle)) => {
                let row = self.arena.row(handle);
                let change =
                    RowChange::Update { program: job.signal.section(1), scratch: &mut self.older_image };
                let stored = StoredImage { image: row.value, table_version: row.table_version() };
                let made = change.apply(table, decision.table_version, stored, &mut self.image)?;
                (decision.built, decision.table_version) = (made.built, made.table_version);
                let bytes = made.result.as_bytes();
                decision.result_bytes = bytes.len() as u8;
                decision.result[..bytes.len()].copy_from_slice(bytes);
            }
            _ => return Err(plain(ErrorCode::InvalidRequest)),
        }
        if !table.is_plain && self.needs_two_phases(context, table, job, &decision)? {
            return Ok(None);
        }
        Ok(Some(decision))
    }

    /// The backup holds everything up to `upto`: expose in order, answer, let the next waiting writes in.
    pub(super) fn accepted(&mut self, context: &mut Context<'_>, partition: u16, upto: u64) {
        loop {
            let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
            while let Some((_, table)) = fragment.taken_back.pop_front_if(|(position, _)| *position <= upto) {
                self.pending_of_table[table] -= 1;
            }
            if fragment.pending.is_empty() || fragment.first_pending() > upto {
                return;
            }
            let Some(pending) = fragment.pending.pop_front() else { return };
            self.finish(context, partition, &pending);
        }
    }

    fn finish(&mut self, context: &mut Context<'_>, partition: u16, pending: &PendingWrite) {
        if pending.kind == PendingKind::Note {
            return;
        }
        if pending.kind != PendingKind::Fence {
            self.pending_of_table[pending.table] -= 1;
            self.pending -= 1;
        }
        if pending.refused == 0 {
            self.expose(context, partition, pending);
        } else {
            self.undo(context, partition, pending);
        }
        self.admit_waiting(context, partition, pending.waiting);
    }

    /// The write is on both replicas: make it visible and answer.
    fn expose(&mut self, context: &mut Context<'_>, partition: u16, pending: &PendingWrite) {
        if self.journal.is_some() {
            self.journal_write(context, partition, pending);
        }
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        let mut state = OutcomeState::Committed;
        match pending.kind {
            PendingKind::Insert => self.unlock(pending.image),
            PendingKind::Update => {
                let (row, image, forgets) = (pending.row, pending.image, context.planted_bug == OLD_ENTRIES);
                self.arena.set_state_and_older(image, row_state::COMMITTED, RowHandle::NULL);
                let (stored, table) =
                    (&mut fragment.tables[pending.table], context.map.table_in(pending.table));
                stored.put_but(&mut self.arena, table, pending.hash, row, image, forgets);
            }
            PendingKind::Delete => {
                let (stored, table) =
                    (&mut fragment.tables[pending.table], context.map.table_in(pending.table));
                stored.remove(&mut self.arena, table, pending.hash, pending.row);
            }
            PendingKind::Fence | PendingKind::Note => state = OutcomeState::Aborted,
        }
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        fragment.outcomes.finish(pending.transaction, pending.record, state);
        if let Some(reply) = pending.reply {
            context.counters.writes_committed += 1;
            committed(context, reply, pending.version, (pending.result_bytes, pending.result), 0);
        }
        if let Some(reply) = pending.resolver {
            crate::ldm::resolve::answer(
                context,
                reply,
                state,
                pending.version,
                pending.result_bytes,
                pending.result,
            );
        }
    }

    /// The backup refused the write: nothing happened.
    fn undo(&mut self, context: &mut Context<'_>, partition: u16, pending: &PendingWrite) {
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        fragment.outcomes.remove(pending.transaction);
        match pending.kind {
            PendingKind::Insert => {
                let (stored, table) =
                    (&mut fragment.tables[pending.table], context.map.table_in(pending.table));
                stored.remove(&mut self.arena, table, pending.hash, pending.image);
            }
            PendingKind::Update => {
                let (stored, table) =
                    (&mut fragment.tables[pending.table], context.map.table_in(pending.table));
                stored.leave(&mut self.arena, table, Some(pending.row), pending.image);
                self.arena.free(pending.image);
                self.unlock(pending.row);
            }
            PendingKind::Delete => self.unlock(pending.row),
            PendingKind::Fence | PendingKind::Note => {}
        }
        let code = ErrorCode::from_number(pending.refused).unwrap_or(ErrorCode::Internal);
        for reply in [pending.reply, pending.resolver].into_iter().flatten() {
            context.out.error(reply, code, "");
        }
    }

    pub(super) fn unlock(&mut self, row: RowHandle) {
        self.arena.set_state_and_older(row, row_state::COMMITTED, RowHandle::NULL);
    }

    /// Executes what waited for a row until something locks it again; that inherits the queue.
    pub(super) fn admit_waiting(&mut self, context: &mut Context<'_>, partition: u16, mut ends: QueueEnds) {
        while let Some((place, waiting)) = self.queue.pop(&mut ends) {
            let before = self.fragments[usize::from(partition)].as_ref().map_or(0, |fragment| fragment.seq);
            let mut lock = None;
            if let Some((signal, _)) = SignalView::split_again(&waiting.signal) {
                match waiting.asker {
                    Asker::Write(reply) => {
                        let job = Job { signal, reply, partition, table: waiting.table, hash: waiting.hash };
                        self.write(context, &job, None);
                    }
                    Asker::Participant { number, .. } => {
                        lock = self.operate_again(context, number, place, &signal).map(|lock| (lock, number));
                    }
                }
            }
            self.queue.recycle(place, waiting);
            if let Some((lock, participant)) = lock {
                self.locks.get_mut(lock).waiting = ends;
                self.grant_waiting(context, lock);
                return self.prepare_if_due(context, participant);
            }
            let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
            if fragment.seq > before
                && let Some(newest) = fragment.pending.back_mut()
            {
                newest.waiting = ends;
                return;
            }
        }
    }
}

/// The epochs of the versions of a row never fall.
#[inline]
pub(super) fn assert_rises(before: u64, after: u64) {
    assert!(before <= after, "a row of epoch {before} is replaced by one of epoch {after}");
}

/// The queue of a row in this state: of its pending write or of its lock.
pub(super) fn queue_of<'f>(
    fragment: &'f mut Fragment,
    locks: &'f mut LockTable,
    state: u8,
    older: RowHandle,
) -> &'f mut QueueEnds {
    if matches!(state, row_state::HELD | row_state::HELD_ABSENT) {
        return &mut locks.get_mut(older.to_u32()).waiting;
    }
    let Some(holder) = fragment.pending_of_lock(older) else {
        unreachable!("a locked row names a pending write");
    };
    &mut holder.waiting
}

/// Whether something may begin in the fragment: its chain can take one more write now, and an outcome record of this session that
/// frees those below a number.
#[inline]
pub(super) fn admit(
    context: &Context<'_>,
    fragment: &mut Fragment,
    session: Option<(u64, u64)>,
) -> Result<(), Refusal> {
    is_open(fragment)?;
    admit_begun(context, fragment, session)
}

/// As [`admit`], for what has begun in the fragment already.
#[inline]
pub(super) fn admit_begun(
    context: &Context<'_>,
    fragment: &mut Fragment,
    session: Option<(u64, u64)>,
) -> Result<(), Refusal> {
    takes_writes(context, fragment)?;
    if let Some((session, resolved_below)) = session
        && !fragment.outcomes.has_room(session, resolved_below)
        && !(is_of_purge(context, fragment, session)
            && fragment.outcomes.has_room_for_purge(session, resolved_below))
    {
        return Err((ErrorCode::TooManyUnresolved, String::new()));
    }
    Ok(())
}

/// Whether the chain can take one more fence of this session now.
pub(super) fn admit_fence(
    context: &Context<'_>,
    fragment: &mut Fragment,
    (session, resolved_below): (u64, u64),
) -> Result<(), Refusal> {
    is_open(fragment)?;
    takes_writes(context, fragment)?;
    match fragment.outcomes.has_room_for_fence(session, resolved_below) {
        true => Ok(()),
        false => Err((ErrorCode::TooManyUnresolved, String::new())),
    }
}

/// Whether something may begin in the fragment: it is not about to be handed over.
#[inline]
fn is_open(fragment: &Fragment) -> Result<(), Refusal> {
    match fragment.closing {
        true => Err((ErrorCode::NotServing, "the partition is being handed over".to_owned())),
        false => Ok(()),
    }
}

/// Whether the chain can take one more write now.
#[inline]
fn takes_writes(context: &Context<'_>, fragment: &Fragment) -> Result<(), Refusal> {
    if context.stalled {
        return Err((ErrorCode::EpochsStalled, String::new()));
    }
    if let Some(lane) = fragment.lane.map(|lane| &context.out.lanes[lane]) {
        // What a joining replica does not take before it is there it takes from the lane.
        if lane.link.is_none() && fragment.copy.is_none() {
            return Err((ErrorCode::BackupUnreachable, format!("backup node {}", lane.peer.node)));
        }
        if lane.is_congested() {
            return Err((ErrorCode::Overloaded, format!("backup node {} does not keep up", lane.peer.node)));
        }
    }
    Ok(())
}

/// Sends a write to the backup, if the fragment has one.
#[expect(clippy::too_many_arguments, reason = "the fields of one signal")]
pub(super) fn send_prepare(
    context: &mut Context<'_>,
    fragment: &Fragment,
    pending: &PendingWrite,
    table: u32,
    table_version: u16,
    resolved_below: u64,
    key: &[u8],
    value: &[u8],
) {
    let Some(lane) = fragment.lane else { return };
    let operation = match pending.kind {
        PendingKind::Insert | PendingKind::Update => prepare_one::OPERATION_PUT,
        PendingKind::Delete => prepare_one::OPERATION_DELETE,
        PendingKind::Fence | PendingKind::Note => prepare_one::OPERATION_FENCE,
    };
    let body = PrepareOne {
        partition: fragment.partition.into(),
        operation,
        result_bytes: pending.result_bytes,
        table: table.into(),
        table_version: table_version.into(),
        origin_cluster: 0.into(),
        reserved: 0.into(),
        cfg: fragment.cfg.into(),
        seq: pending.version.seq.into(),
        epoch: pending.version.epoch.into(),
        session: pending.transaction.session.into(),
        transaction_seq: pending.transaction.seq.into(),
        resolved_below: resolved_below.into(),
        commit_time: 0.into(),
        result: pending.result,
    };
    context.out.send_lane(lane, &body, Sections::two(key, value));
}

/// Answers a committed write. `flags` are those of [`WriteReply`].
fn committed(
    context: &mut Context<'_>,
    reply: ReplyTo,
    version: RowVersion,
    (result_bytes, result): (u8, [u8; 16]),
    flags: u16,
) {
    let answer = WriteReply {
        code: 0.into(),
        flags: flags.into(),
        result_bytes: u32::from(result_bytes).into(),
        epoch: version.epoch.into(),
        seq: version.seq.into(),
        result,
    };
    context.out.reply(reply, &answer, Sections::none());
}

/// A transaction id that came before: answer from its record, or attach to the write in progress. False when a coordinator
/// knows what it is.
fn repeat(context: &mut Context<'_>, fragment: &mut Fragment, reply: ReplyTo, outcome: &Outcome) -> bool {
    context.counters.replayed += 1;
    match outcome.state {
        OutcomeState::Committed => {
            let result = (outcome.result_bytes, outcome.result);
            committed(context, reply, outcome.version, result, FLAG_REPLAYED);
        }
        OutcomeState::Aborted => context.out.error(reply, ErrorCode::Aborted, ""),
        OutcomeState::InProgress { seq } => match fragment.pending_at(seq) {
            Some(pending) if pending.kind == PendingKind::Fence => {
                context.out.error(reply, ErrorCode::Aborted, "");
            }
            Some(pending) if pending.kind != PendingKind::Note => {
                displace(context, pending.reply.replace(reply), reply);
            }
            _ => return false,
        },
    }
    true
}

/// A newer request asks for the same transaction: the older one ends, so that nobody on its way keeps waiting for it.
pub(super) fn displace(context: &mut Context<'_>, older: Option<ReplyTo>, newer: ReplyTo) {
    if let Some(older) = older.filter(|older| *older != newer) {
        context.out.error(older, ErrorCode::OutcomeUnknown, "a later request waits for the same transaction");
    }
}

/// A transaction id that cannot be executed at all.
pub(super) fn refuse_id(context: &mut Context<'_>, reply: ReplyTo, known: Known) {
    let code = match known {
        Known::Resolved => ErrorCode::AlreadyResolved,
        Known::Expired => ErrorCode::OutcomeExpired,
        Known::Invalid => ErrorCode::InvalidTransaction,
        Known::New | Known::Recorded(_) => ErrorCode::Internal,
    };
    context.out.error(reply, code, "");
}
