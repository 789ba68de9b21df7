//! The participant's half of a two-phase commit: what a transaction holds, prepares, commits and gives up in a fragment, at
//! the primary (the backup's half: `prepared.rs`; PROTOCOL.md §1; states and messages as tables in `docs/commit.md`).
//!
//! What is prepared ends by the word of the coordinator only, never by a time (counterexample 23).

use crate::ldm::copy::Lacks;
use crate::ldm::fragment::row_state;
use crate::ldm::lock::{Change, MAX_LOCKS};
use crate::ldm::outcome::{Known, Outcome, OutcomeState};
use crate::ldm::planted::{DECISIONS_NOT_AWAITED, HASTY_PREPARE};
use crate::ldm::resolve;
use crate::ldm::write::{EXPIRE_EVERY, admit, admit_begun, assert_rises, displace, refuse_id};
use crate::ldm::{Context, LocalDataManager};
use crate::map::Role;
use crate::outbox::{Address, Handle, ReplyTo};
use crate::takeover::{TAKEOVER, taker_of};
use duet_memory::{RowHandle, RowHeader};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::{RowVersion, TransactionId};
use duet_protocol::signal::abort_prepared::AbortPrepared;
use duet_protocol::signal::abort_rows::AbortRows;
use duet_protocol::signal::commit_rows::CommitRows;
use duet_protocol::signal::committed::Committed;
use duet_protocol::signal::complete::Complete;
use duet_protocol::signal::prepare::{self, Prepare};
use duet_protocol::signal::prepare_one::{OPERATION_DELETE, OPERATION_PUT};
use duet_protocol::signal::prepare_row::{FLAG_HOME, FLAG_LAST, OPERATION_NONE, PrepareRow};
use duet_protocol::signal::prepared::Prepared;
use duet_protocol::signal::{Sections, SignalType, SignalView};
use rustc_hash::FxHashMap;

/// Planted bug of the simulator's tests: ticks after which a participant gives up by itself what it has prepared.
const IMPATIENT_TICKS: u64 = 6;

/// A transaction's coordinator, as a participant knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinator {
    /// Its node.
    pub node: u32,
    /// Lane through which its node is reached about the fragment.
    pub lane: u16,
    /// Its number, and its name for the transaction.
    pub handle: Handle,
}

/// State of a transaction in a fragment, at its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds locks, or waits for some.
    Locked,
    /// Its changes are on their way to the backup or there; only the coordinator ends it.
    Prepared,
    /// Its changes are exposed; kept until COMPLETE.
    Committed,
}

/// A transaction in a fragment, at its primary.
#[derive(Debug)]
pub struct Participant {
    /// The transaction.
    pub transaction: TransactionId,
    /// Partition.
    pub partition: u16,
    /// Its coordinator.
    pub coordinator: Coordinator,
    /// State.
    pub state: State,
    /// Locks held.
    pub locks: Vec<u32>,
    /// Places of operations that wait.
    pub waiting: Vec<u32>,
    /// PREPARE has come, and has its turn when no operation waits any more.
    due: Option<Prepare>,
    /// Its coordinator was removed from the view: only the one that takes it over ends it.
    pub orphan: bool,
    /// Epoch in which it was committed.
    pub epoch: u64,
    /// Whether it lives.
    used: bool,
    /// Whether the outcome record is here.
    home: bool,
    /// Who wants to know the outcome.
    resolver: Option<ReplyTo>,
    /// Tick at which it was prepared.
    prepared_at: u64,
    /// What a joining replica lacks of it.
    pub(super) lacks: Lacks,
    /// Position of its first change, where the outcome record is.
    position: u64,
    /// Result for the outcome record: that of the only operation on rows.
    pub result: [u8; 16],
    /// Used bytes of it.
    pub result_bytes: u8,
}

impl Participant {
    /// It was prepared, or committed, at this replica while that was the backup.
    pub(super) fn inherit(&mut self, state: State, epoch: u64, position: u64, home: bool, orphan: bool) {
        (self.state, self.epoch, self.position) = (state, epoch, position);
        (self.home, self.orphan) = (home, orphan);
    }
}

/// All participants of an LDM, by number and by transaction.
#[derive(Debug, Default)]
pub struct Participants {
    slots: Vec<Participant>,
    free: Vec<u32>,
    numbers: FxHashMap<(TransactionId, u16), u32>,
}

impl Participants {
    /// Number of participants.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The participant of a transaction in a partition.
    pub fn find(&self, transaction: TransactionId, partition: u16) -> Option<u32> {
        self.numbers.get(&(transaction, partition)).copied()
    }

    /// The participant of a transaction in a partition, a new one if there is none.
    ///
    /// # Errors
    /// `InvalidTransaction` when another coordinator uses the id, `NotServing` when one that was removed did, `TooManyLocks` when there are too many.
    pub fn find_or_add(
        &mut self,
        transaction: TransactionId,
        partition: u16,
        coordinator: Coordinator,
    ) -> Result<u32, ErrorCode> {
        if let Some(number) = self.find(transaction, partition) {
            let known = &self.slots[number as usize];
            if known.orphan {
                // Tried again at another node, before whoever takes the transaction over has ended it.
                return Err(ErrorCode::NotServing);
            }
            return if known.coordinator == coordinator {
                Ok(number)
            } else {
                Err(ErrorCode::InvalidTransaction)
            };
        }
        if self.len() >= MAX_LOCKS {
            return Err(ErrorCode::TooManyLocks);
        }
        Ok(self.add(transaction, partition, coordinator))
    }

    /// The participant of a transaction that a former backup has prepared, whatever the limit: what is prepared cannot be refused.
    pub(super) fn inherit(
        &mut self,
        transaction: TransactionId,
        partition: u16,
        coordinator: Coordinator,
    ) -> u32 {
        let known = self.find(transaction, partition);
        known.unwrap_or_else(|| self.add(transaction, partition, coordinator))
    }

    fn add(&mut self, transaction: TransactionId, partition: u16, coordinator: Coordinator) -> u32 {
        let new = |locks, waiting| Participant {
            transaction,
            partition,
            coordinator,
            state: State::Locked,
            locks,
            waiting,
            due: None,
            orphan: false,
            epoch: 0,
            used: true,
            home: false,
            resolver: None,
            prepared_at: 0,
            lacks: Lacks::Nothing,
            position: 0,
            result: [0; 16],
            result_bytes: 0,
        };
        let number = match self.free.pop() {
            Some(number) => {
                let slot = &mut self.slots[number as usize];
                *slot = new(std::mem::take(&mut slot.locks), std::mem::take(&mut slot.waiting));
                number
            }
            None => {
                self.slots.push(new(Vec::new(), Vec::new()));
                (self.slots.len() - 1) as u32
            }
        };
        self.numbers.insert((transaction, partition), number);
        number
    }

    /// A participant.
    pub fn get(&self, number: u32) -> &Participant {
        &self.slots[number as usize]
    }

    /// A participant, to be changed.
    pub fn get_mut(&mut self, number: u32) -> &mut Participant {
        &mut self.slots[number as usize]
    }

    /// Those that live, in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Participant)> {
        let slots = self.slots.iter().enumerate().map(|(number, slot)| (number as u32, slot));
        slots.filter(|(_, slot)| slot.used)
    }

    /// Those of a partition that live, to be changed.
    pub(super) fn of_partition(&mut self, partition: u16) -> impl Iterator<Item = &mut Participant> {
        self.slots.iter_mut().filter(move |slot| slot.used && slot.partition == partition)
    }

    /// Numbers of those that live, in order.
    pub fn numbers(&self) -> Vec<u32> {
        self.iter().map(|(number, _)| number).collect()
    }

    fn remove(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        slot.used = false;
        debug_assert!(slot.locks.is_empty() && slot.waiting.is_empty(), "what leaves holds nothing");
        self.numbers.remove(&(slot.transaction, slot.partition));
        self.free.push(number);
    }
}

impl LocalDataManager {
    /// A signal of a coordinator or of the other replica about a transaction, which came in lane `lane` of node `from`.
    pub fn transaction_signal(
        &mut self,
        context: &mut Context<'_>,
        from: u32,
        lane: u16,
        signal: &SignalView<'_>,
    ) {
        let coordinator = Coordinator { node: from, lane, handle: Handle::of(signal) };
        match signal.signal_type() {
            SignalType::Operate => self.operate(context, coordinator, signal),
            SignalType::Prepare => self.prepare(context, coordinator, signal),
            SignalType::PrepareRow => self.prepare_row(context, lane, signal),
            SignalType::CommitRows => self.commit_rows(context, lane, signal),
            SignalType::AbortRows => self.abort_rows(context, coordinator, signal),
            SignalType::AbortPrepared => self.abort_prepared(context, signal),
            SignalType::Complete => self.complete(context, signal),
            SignalType::RowEntered => self.row_entered(context, signal),
            _ => context.out.errors += 1,
        }
    }

    /// PREPARE at the primary.
    fn prepare(&mut self, context: &mut Context<'_>, coordinator: Coordinator, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<Prepare>() else { return };
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        if let Some(number) = self.participants.find(transaction, body.partition.get()) {
            let participant = self.participants.get_mut(number);
            let waits = !participant.waiting.is_empty() && context.planted_bug != HASTY_PREPARE;
            if participant.coordinator == coordinator && waits {
                participant.due = Some(*body);
                return;
            }
        }
        self.prepare_now(context, coordinator, body);
    }

    /// An operation that waited has had its turn: if it was the last one, a PREPARE that came behind it is next.
    pub(super) fn prepare_if_due(&mut self, context: &mut Context<'_>, number: u32) {
        let participant = self.participants.get_mut(number);
        if participant.waiting.is_empty()
            && let Some(body) = participant.due.take()
        {
            let coordinator = participant.coordinator;
            self.prepare_now(context, coordinator, &body);
        }
    }

    fn prepare_now(&mut self, context: &mut Context<'_>, coordinator: Coordinator, body: &Prepare) {
        if let Err(code) = self.try_prepare(context, coordinator, body) {
            let refusal = Prepared {
                partition: body.partition,
                code: (code as u16).into(),
                node: context.out.identity.sender.node.into(),
                epoch: context.epoch.into(),
                replicas: [0; 8],
            };
            context.out.post(coordinator.address(), coordinator.handle, &refusal, Sections::none());
        }
    }

    fn try_prepare(
        &mut self,
        context: &mut Context<'_>,
        coordinator: Coordinator,
        body: &Prepare,
    ) -> Result<(), ErrorCode> {
        let partition = body.partition.get();
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        let home = body.flags.get() & prepare::FLAG_HOME != 0;
        let fragment = self.fragments.get_mut(usize::from(partition)).and_then(Option::as_mut);
        let led = |role| matches!(role, Role::Primary { .. });
        let fragment = fragment.filter(|fragment| led(fragment.role)).ok_or(ErrorCode::StaleMap)?;
        if fragment.warming {
            return Err(ErrorCode::NotServing);
        }
        let resolved_below = body.resolved_below.get().min(transaction.seq);
        if home {
            match fragment.outcomes.known(transaction, context.epoch) {
                Known::New => {}
                Known::Recorded(outcome) if outcome.state == OutcomeState::Committed => {
                    return Err(ErrorCode::InvalidTransaction);
                }
                // Fenced by a resolve, or about to be.
                Known::Recorded(_) => return Err(ErrorCode::Aborted),
                Known::Invalid => return Err(ErrorCode::InvalidTransaction),
                Known::Resolved => return Err(ErrorCode::AlreadyResolved),
                Known::Expired => return Err(ErrorCode::OutcomeExpired),
            }
        }
        let session = home.then_some((transaction.session, resolved_below));
        let known = self.participants.find(transaction, partition);
        let admitted = match known {
            Some(_) => admit_begun(context, fragment, session),
            None => admit(context, fragment, session),
        };
        admitted.map_err(|(code, _)| code)?;
        let number = match known {
            None if !home => return Err(ErrorCode::UnknownTransaction),
            _ => self.participants.find_or_add(transaction, partition, coordinator)?,
        };
        let participant = self.participants.get_mut(number);
        let waits = !participant.waiting.is_empty() && context.planted_bug != HASTY_PREPARE;
        if participant.state != State::Locked || waits {
            return Err(ErrorCode::InvalidRequest);
        }
        (participant.state, participant.home) = (State::Prepared, home);
        participant.prepared_at = self.queue.ticks;
        self.send_prepared(context, number, resolved_below);
        Ok(())
    }

    /// Gives positions to the changes of a participant and sends them to the backup.
    fn send_prepared(&mut self, context: &mut Context<'_>, number: u32, resolved_below: u64) {
        let participant = self.participants.get(number);
        let (partition, transaction) = (participant.partition, participant.transaction);
        let (home, coordinator) = (participant.home, participant.coordinator);
        let (result, result_bytes) = (participant.result, participant.result_bytes);
        let first_position = self.fragments[usize::from(partition)].as_ref().map_or(0, |found| found.seq + 1);
        let locks = &mut self.locks;
        let mut left =
            participant.locks.iter().filter(|lock| locks.get(**lock).change != Change::None).count().max(1);
        let mut sent = 0;
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        for lock in participant.locks.iter().map(Some).chain([None]) {
            let change = lock.map_or(Change::None, |lock| locks.get(*lock).change);
            // At least one position is needed for the outcome, or for an empty answer of the backup.
            if change == Change::None && (lock.is_some() || sent > 0) {
                continue;
            }
            sent += 1;
            left -= 1;
            let position = fragment.note(context.epoch, transaction);
            let (mut table, mut table_version) = (0, 0);
            let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
            if let Some(lock) = lock {
                let lock = locks.get_mut(*lock);
                lock.position = position;
                (table, table_version) = (lock.place.table_id, lock.table_version);
                key = self.arena.key(lock.row);
                if let Change::Put(image) = lock.change {
                    value = self.arena.value(image);
                }
            }
            let flags = if left == 0 { FLAG_LAST } else { 0 } | if home && sent == 1 { FLAG_HOME } else { 0 };
            let mut told: &[u8] = &[];
            if flags & FLAG_HOME != 0 {
                told = &result[..usize::from(result_bytes)];
                let outcome = Outcome {
                    transaction_seq: transaction.seq,
                    state: OutcomeState::InProgress { seq: position },
                    version: RowVersion { epoch: context.epoch, seq: position },
                    result_bytes,
                    result,
                };
                fragment.outcomes.put(transaction.session, resolved_below, outcome);
            }
            if let Some(lane) = fragment.lane {
                let body = PrepareRow {
                    partition: partition.into(),
                    operation: match change {
                        Change::None => OPERATION_NONE,
                        Change::Put(_) => OPERATION_PUT,
                        Change::Delete => OPERATION_DELETE,
                    },
                    flags: if context.planted_bug == 8 { flags & !FLAG_HOME } else { flags },
                    table: table.into(),
                    table_version: table_version.into(),
                    coordinator: u16::from(coordinator.handle.number).into(),
                    coordinator_node: coordinator.node.into(),
                    cfg: fragment.cfg.into(),
                    position: position.into(),
                    epoch: context.epoch.into(),
                    session: transaction.session.into(),
                    seq: transaction.seq.into(),
                    resolved_below: resolved_below.into(),
                    handle: coordinator.handle.transaction.into(),
                };
                context.out.send_lane(lane, &body, Sections::three(key, value, told));
            }
            if position.is_multiple_of(EXPIRE_EVERY) {
                fragment.outcomes.expire(context.epoch);
            }
        }
        self.participants.get_mut(number).position = first_position;
        if fragment.lane.is_none() {
            let upto = fragment.seq;
            self.accepted(context, partition, upto);
            let mut replicas = [0; 8];
            replicas[0] = context.out.identity.sender.node as u8;
            let body = Prepared {
                partition: partition.into(),
                code: 0.into(),
                node: context.out.identity.sender.node.into(),
                epoch: context.epoch.into(),
                replicas,
            };
            context.out.post(coordinator.address(), coordinator.handle, &body, Sections::none());
        }
    }

    /// COMMIT at the last replica, COMMIT_P at the primary.
    fn commit_rows(&mut self, context: &mut Context<'_>, lane: u16, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<CommitRows>() else { return };
        let partition = body.partition.get();
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        let fragment = self.fragments.get(usize::from(partition)).and_then(Option::as_ref);
        match fragment.map(|fragment| fragment.role) {
            Some(Role::Backup { primary }) => {
                self.commit_at_backup(context, partition, transaction, body.epoch.get());
                let to = Address::Fragments { node: primary, lane };
                context.out.post(to, Handle::of(signal), body, Sections::none());
            }
            Some(Role::Primary { .. }) => {
                self.commit_at_primary(context, partition, transaction, body, Handle::of(signal));
            }
            Some(Role::Elsewhere { .. }) | None => context.out.errors += 1,
        }
    }

    fn commit_at_primary(
        &mut self,
        context: &mut Context<'_>,
        partition: u16,
        transaction: TransactionId,
        body: &CommitRows,
        handle: Handle,
    ) {
        let taken_over = handle.transaction & TAKEOVER != 0;
        // After a change of view a decision may come more than once.
        let again = context.map.state.view.number > 1;
        let Some(number) = self.participants.find(transaction, partition) else {
            assert!(
                again || matches!(context.planted_bug, 5..=7),
                "{transaction} commits what is not prepared here"
            );
            if taken_over {
                self.tell_taker(context, partition, transaction, handle);
            }
            return;
        };
        let participant = self.participants.get_mut(number);
        if participant.state == State::Committed && (again || context.planted_bug == 7) {
            if taken_over {
                self.tell_taker(context, partition, transaction, handle);
            } else if again {
                let (coordinator, position) = (participant.coordinator, participant.position);
                let answer = self.committed_answer(context, partition, position);
                context.out.post(coordinator.address(), coordinator.handle, &answer, Sections::none());
            }
            return;
        }
        assert_eq!(participant.state, State::Prepared, "{transaction} commits what is not prepared");
        participant.state = State::Committed;
        participant.epoch = body.epoch.get();
        let (home, coordinator, position) = (participant.home, participant.coordinator, participant.position);
        let epoch = body.epoch.get();
        let lacks = std::mem::take(&mut participant.lacks);
        if lacks == Lacks::Changes && context.planted_bug != DECISIONS_NOT_AWAITED {
            participant.lacks = Lacks::Decision;
        }
        let mut locks = std::mem::take(&mut participant.locks);
        for lock in &locks {
            if lacks == Lacks::Changes {
                self.copy_change(context, *lock, epoch);
            }
            self.expose_change(context, *lock, epoch);
        }
        if home && let Some(fragment) = &mut self.fragments[usize::from(partition)] {
            fragment.outcomes.commit(transaction, epoch);
            if lacks == Lacks::Changes {
                fragment.copy_outcome(context, transaction);
            }
        }
        if taken_over {
            self.tell_taker(context, partition, transaction, handle);
        } else {
            let answer = self.committed_answer(context, partition, position);
            context.out.post(coordinator.address(), coordinator.handle, &answer, Sections::none());
        }
        self.release_locks(context, number, &mut locks);
        self.participants.get_mut(number).locks = locks;
    }

    fn committed_answer(&self, context: &Context<'_>, partition: u16, position: u64) -> Committed {
        Committed {
            partition: partition.into(),
            reserved: 0.into(),
            node: context.out.identity.sender.node.into(),
            epoch: context.epoch.into(),
            position: position.into(),
        }
    }

    /// COMMITTED to the coordinator that has taken a transaction over.
    fn tell_taker(
        &self,
        context: &mut Context<'_>,
        partition: u16,
        transaction: TransactionId,
        handle: Handle,
    ) {
        let lane = context.map.partitions[usize::from(partition)].lane;
        let node = taker_of(&context.map.state.view, transaction);
        let answer = self.committed_answer(context, partition, 0);
        context.out.post(Address::Coordinator { node, lane, number: 0 }, handle, &answer, Sections::none());
    }

    /// Makes the change of a locked row the committed row.
    fn expose_change(&mut self, context: &mut Context<'_>, number: u32, epoch: u64) {
        if self.journal.is_some() {
            self.journal_change(context, number, epoch);
        }
        let lock = self.locks.get_mut(number);
        let (place, row) = (lock.place, lock.row);
        let Some(fragment) = &mut self.fragments[usize::from(place.partition)] else { return };
        let (stored, table) = (&mut fragment.tables[place.table], context.map.table_in(place.table));
        if !row.is_null() && self.arena.row(row).state() == row_state::HELD {
            assert_rises(self.arena.row(row).epoch(), epoch);
        }
        match std::mem::replace(&mut lock.change, Change::None) {
            Change::None => return,
            // An insert that was prepared while this replica was the backup: its image is in the index.
            Change::Put(image) if image == row => {
                let header = RowHeader {
                    epoch,
                    sequence: lock.position,
                    state: row_state::HELD,
                    ..self.arena.row(row).header()
                };
                self.arena.set_header(row, &header);
                context.counters.writes_committed += 1;
                return;
            }
            Change::Put(image) => {
                let older = self.arena.row(row).older();
                let header = RowHeader {
                    epoch,
                    sequence: lock.position,
                    state: row_state::HELD,
                    older,
                    ..self.arena.row(image).header()
                };
                self.arena.set_header(image, &header);
                lock.row = if self.arena.row(row).state() == row_state::HELD {
                    stored.put(&mut self.arena, table, place.hash, row, image)
                } else {
                    stored.put_new(&mut self.arena, place.hash, row, image);
                    image
                };
            }
            Change::Delete => {
                stored.remove(&mut self.arena, table, place.hash, row);
                lock.row = RowHandle::NULL;
            }
        }
        context.counters.writes_committed += 1;
    }

    /// A participant leaves its locks; whoever waits for them has its turn.
    fn release_locks(&mut self, context: &mut Context<'_>, number: u32, locks: &mut Vec<u32>) {
        for lock in locks.drain(..) {
            let held = self.locks.get_mut(lock);
            let (place, row) = (held.place, held.row);
            if let Some(image) = std::mem::replace(&mut held.change, Change::None).image() {
                if let Some(fragment) = &mut self.fragments[usize::from(place.partition)] {
                    let committed = Some(row).filter(|row| self.arena.row(*row).state() == row_state::HELD);
                    let table = context.map.table_in(place.table);
                    fragment.tables[place.table].leave(&mut self.arena, table, committed, image);
                }
                // The image of an insert that was prepared here as a backup is what holds the lock of the absent row.
                if image != row {
                    self.arena.free(image);
                }
            }
            held.holders.retain(|holder| *holder != number);
            held.exclusive = false;
            self.grant_waiting(context, lock);
        }
    }

    /// ABORT at the primary; also the release of locks where nothing was changed.
    fn abort_rows(&mut self, context: &mut Context<'_>, coordinator: Coordinator, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<AbortRows>() else { return };
        let partition = body.partition.get();
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        // Another coordinator may have been given the same id, and was refused.
        let taken_over = coordinator.handle.transaction & TAKEOVER != 0;
        // A take-over of an earlier view may be late: the client may have begun again with the same id.
        let is_meant = |found: &Participant| {
            if taken_over { found.orphan } else { found.coordinator == coordinator }
        };
        if let Some(number) = self.participants.find(transaction, partition)
            && is_meant(self.participants.get(number))
        {
            self.abort_participant(context, number);
        }
    }

    pub(super) fn abort_participant(&mut self, context: &mut Context<'_>, number: u32) {
        self.forget_waiting(context, number);
        let participant = self.participants.get_mut(number);
        let mut locks = std::mem::take(&mut participant.locks);
        let (state, partition, transaction) =
            (participant.state, participant.partition, participant.transaction);
        let resolver = participant.resolver.take();
        let home = participant.home;
        assert!(state != State::Committed, "{transaction} aborts what it has committed");
        if state == State::Prepared
            && context.planted_bug != 5
            && let Some(fragment) = &mut self.fragments[usize::from(partition)]
        {
            let position = fragment.note(context.epoch, transaction);
            for lock in locks.iter().map(|lock| self.locks.get(*lock)) {
                if lock.change != Change::None {
                    fragment.taken_back.push_back((position, lock.place.table));
                    self.pending_of_table[lock.place.table] += 1;
                }
            }
            if home {
                fragment.outcomes.remove(transaction);
            }
            if let Some(lane) = fragment.lane {
                let body = AbortPrepared {
                    partition: partition.into(),
                    reserved: 0.into(),
                    reserved_2: 0.into(),
                    cfg: fragment.cfg.into(),
                    position: position.into(),
                    epoch: context.epoch.into(),
                    session: transaction.session.into(),
                    seq: transaction.seq.into(),
                };
                context.out.send_lane(lane, &body, Sections::none());
            }
            if position.is_multiple_of(EXPIRE_EVERY) {
                fragment.outcomes.expire(context.epoch);
            }
            let alone = fragment.lane.is_none();
            if std::mem::take(&mut self.participants.get_mut(number).lacks) == Lacks::Rows {
                self.copy_locked_rows(context, &locks);
            }
            if alone {
                self.accepted(context, partition, position);
            }
        }
        // A late copy of the write must not make it untrue, and one that waits for the row comes behind the fence.
        if let Some(reply) = resolver {
            self.fence(context, reply, 0, partition, transaction);
        }
        self.release_locks(context, number, &mut locks);
        self.participants.get_mut(number).locks = locks;
        self.participants.remove(number);
    }

    /// COMPLETE at any replica. Who asked for the outcome hears of it only now: all rows are exposed.
    fn complete(&mut self, context: &mut Context<'_>, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<Complete>() else { return };
        let partition = body.partition.get();
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        let fragment = self.fragments.get(usize::from(partition)).and_then(Option::as_ref);
        if fragment.is_some_and(|fragment| matches!(fragment.role, Role::Primary { .. })) {
            if let Some(number) = self.participants.find(transaction, partition) {
                let state = self.participants.get(number).state;
                assert_eq!(state, State::Committed, "{transaction} is complete but not committed");
                let resolver = self.participants.get_mut(number).resolver.take();
                self.participants.remove(number);
                if let (Some(reply), Some(fragment)) = (resolver, &mut self.fragments[usize::from(partition)])
                {
                    match fragment.outcomes.known(transaction, context.epoch) {
                        Known::Recorded(outcome) => {
                            let (bytes, result) = (outcome.result_bytes, outcome.result);
                            resolve::answer(context, reply, outcome.state, outcome.version, bytes, result);
                        }
                        other => refuse_id(context, reply, other),
                    }
                }
            }
        } else if let Some(found) = self.prepared.transactions.remove(&(transaction, partition)) {
            assert!(found.committed, "{transaction} is complete but not committed");
        }
    }

    /// Lets someone wait for the outcome of a transaction that is prepared here, or committed but perhaps not everywhere yet.
    /// False when it is not one.
    pub(super) fn resolve_prepared(
        &mut self,
        context: &mut Context<'_>,
        reply: ReplyTo,
        partition: u16,
        transaction: TransactionId,
    ) -> bool {
        let Some(number) = self.participants.find(transaction, partition) else { return false };
        displace(context, self.participants.get_mut(number).resolver.replace(reply), reply);
        true
    }

    /// Whether this replica has prepared the change at a position and does not know what becomes of it.
    pub fn is_undecided(&self, partition: u16, position: u64) -> bool {
        let led = |lock: &u32| self.locks.get(*lock).position == position;
        self.prepared.is_undecided(partition, position)
            || self.participants.iter().any(|(_, participant)| {
                participant.partition == partition
                    && participant.state == State::Prepared
                    && participant.locks.iter().any(led)
            })
    }

    /// Planted bug of the simulator's tests: participants that do not wait for the coordinator's word.
    pub(super) fn lose_patience(&mut self, context: &mut Context<'_>) {
        let now = self.queue.ticks;
        let impatient = |participant: &Participant| {
            participant.state == State::Prepared && now > participant.prepared_at + IMPATIENT_TICKS
        };
        let tired: Vec<u32> = self
            .participants
            .iter()
            .filter(|(_, participant)| impatient(participant))
            .map(|(number, _)| number)
            .collect();
        for number in tired {
            self.abort_participant(context, number);
        }
    }
}
