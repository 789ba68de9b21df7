//! Operations of transactions at the primary: locking the row, executing on it, waiting for it.

use crate::ldm::fragment::row_state;
use crate::ldm::lock::{Change, LockTable, Place, lock_handle};
use crate::ldm::participant::{Coordinator, Participants, State};
use crate::ldm::planted::{SHORT_SHARED_LOCKS, UNLOCKED_ENTERING};
use crate::ldm::queue::{Asker, QueueEnds, Turn, Wish};
use crate::ldm::unique::stored_image;
use crate::ldm::version::{Made, RowChange, StoredImage};
use crate::ldm::write::{Refusal, queue_of};
use crate::ldm::{Context, LocalDataManager};
use crate::map::{LocalTable, Role};
use crate::outbox::Address;
use duet_memory::{Priority, RowHandle, RowHeader};
use duet_protocol::error::ErrorCode;
use duet_protocol::hash::key_hash;
use duet_protocol::ids::{RowVersion, TransactionId};
use duet_protocol::schema::TableState;
use duet_protocol::signal::lock_wait::{Blocker, LockWait, section_of};
use duet_protocol::signal::operate::{
    FLAG_EXPECT_VERSION, FLAG_IGNORE_EXISTING, FLAG_IGNORE_MISSING, FLAG_SINGLE, FLAG_WITHOUT_ENTRIES,
    OPERATION_ENTER_ROW, OPERATION_INSERT_ENTRY, OPERATION_READ, OPERATION_READ_EXCLUSIVE,
    OPERATION_READ_SHARED, OPERATION_REMOVE_ENTRY, Operate,
};
use duet_protocol::signal::operate_reply::{FLAG_ENTRIES, FLAG_GIVEN_BACK, FLAG_IGNORED, OperateReply};
use duet_protocol::signal::write::{OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT};
use duet_protocol::signal::{Sections, SignalView};

/// Most holders of a shared lock that one report of a waiting operation names; the next report names others.
const BLOCKERS_PER_REPORT: usize = 8;

/// Ticks of 10 ms that a one-pass write may wait for a row that transactions hold: the lock time-out.
const LOCK_TICKS: u64 = 200;
/// Ticks between two looks for such writes.
const LOOK_EVERY: u64 = 32;

/// What came of an operation.
#[derive(Default)]
struct Done {
    /// The row to be told, for reads.
    row: Option<RowHandle>,
    /// Slot of its table, and the version that the reader names.
    read_as: (usize, u16),
    /// It was a read and there is no row.
    missing: bool,
    ignored: bool,
    /// Version of the committed row.
    version: RowVersion,
    result_bytes: u8,
    result: [u8; 16],
    /// The operation is done when the changes of entries in `self.entries` are.
    entries: bool,
}

/// What came of asking for a lock.
enum Acquired {
    Lock(u32),
    Waits,
    Refused(ErrorCode),
}

impl LocalDataManager {
    /// Executes an operation that came from the coordinator on node `from` in a lane, or lets it wait for its row.
    pub fn operate(&mut self, context: &mut Context<'_>, coordinator: Coordinator, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<Operate>() else { return };
        match self.start_operation(context, coordinator, signal, body) {
            Ok(Some((participant, lock))) => {
                self.execute_locked(context, participant, lock, signal, body);
                if context.planted_bug == SHORT_SHARED_LOCKS && body.operation == OPERATION_READ_SHARED {
                    self.let_go(context, participant, lock);
                }
            }
            Ok(None) => {}
            Err(refusal) => give_back(context, &coordinator, signal, body, refusal),
        }
    }

    /// Finds the place of an operation and takes its lock; none when it waits, or needs no lock and is answered.
    fn start_operation(
        &mut self,
        context: &mut Context<'_>,
        coordinator: Coordinator,
        signal: &SignalView<'_>,
        body: &Operate,
    ) -> Result<Option<(u32, u32)>, Refusal> {
        let (place, table) = self.place_of(context, signal, body)?;
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        let unlocked = context.planted_bug == 10 && body.operation == OPERATION_READ_SHARED;
        let reads =
            body.operation == OPERATION_READ && !self.waits_itself(&place, transaction, signal.section(0));
        if reads || unlocked {
            let mut done = self.read_unlocked(&place, transaction, signal.section(0));
            done.read_as = (place.table, body.table_version.get());
            self.tell(context, &coordinator, body.number.get(), Ok(done));
            return Ok(None);
        }
        if body.operation == OPERATION_ENTER_ROW && context.planted_bug == UNLOCKED_ENTERING {
            let current = self.read_unlocked(&place, transaction, signal.section(0)).row;
            let current = current.map(|row| stored_image(&self.arena, row));
            self.entries.derive(table, true, signal.section(0), None, current)?;
            let done = Done { entries: !self.entries.list.is_empty(), ..Done::default() };
            self.tell(context, &coordinator, body.number.get(), Ok(done));
            return Ok(None);
        }
        if self.is_closed_to(place.partition, transaction) {
            let detail = format!("partition {} is being handed over", place.partition);
            return Err((ErrorCode::NotServing, detail));
        }
        let participant = self
            .participants
            .find_or_add(transaction, place.partition, coordinator)
            .map_err(|code| (code, String::new()))?;
        if self.participants.get(participant).state != State::Locked {
            return Err((ErrorCode::InvalidRequest, "the transaction is being committed".to_owned()));
        }
        if table.state != TableState::Active {
            self.tell(context, &coordinator, body.number.get(), Ok(Done::default()));
            return Ok(None);
        }
        match self.acquire(participant, &place, signal, is_exclusive(body)) {
            Acquired::Lock(lock) => Ok(Some((participant, lock))),
            Acquired::Waits => Ok(None),
            Acquired::Refused(code) => Err((code, String::new())),
        }
    }

    /// An operation that waited has its turn, and the row is free: the lock that it took, if it did.
    pub(super) fn operate_again(
        &mut self,
        context: &mut Context<'_>,
        participant: u32,
        queued: u32,
        signal: &SignalView<'_>,
    ) -> Option<u32> {
        let body = signal.body::<Operate>()?;
        let waiter = self.participants.get_mut(participant);
        waiter.waiting.retain(|place| *place != queued);
        let coordinator = waiter.coordinator;
        let place = match self.place_of(context, signal, body) {
            Ok((place, table)) if table.state == TableState::Active => place,
            Ok(_) => {
                self.tell(context, &coordinator, body.number.get(), Ok(Done::default()));
                return None;
            }
            Err(refusal) => {
                self.tell(context, &coordinator, body.number.get(), Err(refusal));
                return None;
            }
        };
        match self.acquire(participant, &place, signal, is_exclusive(body)) {
            Acquired::Lock(lock) => {
                self.execute_locked(context, participant, lock, signal, body);
                Some(lock)
            }
            Acquired::Waits => unreachable!("the row is free"),
            Acquired::Refused(code) => {
                self.tell(context, &coordinator, body.number.get(), Err((code, String::new())));
                None
            }
        }
    }

    /// Checks that the row belongs here and its table can be used. Entries of an index that is being dropped may be changed
    /// still, which does nothing: their operations were derived before, and their transactions are to go on.
    fn place_of<'m>(
        &self,
        context: &Context<'m>,
        signal: &SignalView<'_>,
        body: &Operate,
    ) -> Result<(Place, &'m LocalTable), Refusal> {
        let id = body.table.get();
        let Some((slot, table)) = context.map.table(id) else {
            return Err((ErrorCode::TableNotFound, format!("table {id}")));
        };
        let of_entry = matches!(body.operation, OPERATION_INSERT_ENTRY | OPERATION_REMOVE_ENTRY);
        if table.state != TableState::Active && !(of_entry && table.state == TableState::Dropping) {
            return Err((ErrorCode::TableNotActive, format!("table {id}")));
        }
        let reads =
            matches!(body.operation, OPERATION_READ | OPERATION_READ_SHARED | OPERATION_READ_EXCLUSIVE);
        if table.is_closed && reads {
            return Err((ErrorCode::IndexNotFound, format!("table {id}")));
        }
        if table.layouts.of(body.table_version.get()).is_none() {
            return Err((
                ErrorCode::TableVersionMismatch,
                format!("table {id} has version {}", table.version),
            ));
        }
        if matches!(body.operation, OPERATION_INSERT | OPERATION_UPSERT) {
            table.check_version_of_new_row(body.table_version.get())?;
        }
        let key = signal.section(0);
        let hash = key_hash(key);
        let partition = context.map.partition_of(table.layout().partition_hash_from(key, hash));
        let fragment = self.fragments.get(usize::from(partition)).and_then(Option::as_ref);
        if !fragment.is_some_and(|fragment| matches!(fragment.role, Role::Primary { .. })) {
            return Err((ErrorCode::StaleMap, format!("partition {partition}")));
        }
        if self.is_warming_at(partition) {
            return Err((ErrorCode::NotServing, format!("partition {partition} is being taken over")));
        }
        Ok((Place { partition, table: slot, table_id: id, hash }, table))
    }

    /// Takes a lock for a participant, or queues the operation.
    fn acquire(
        &mut self,
        participant: u32,
        place: &Place,
        signal: &SignalView<'_>,
        exclusive: bool,
    ) -> Acquired {
        let Some(fragment) = &mut self.fragments[usize::from(place.partition)] else {
            return Acquired::Refused(ErrorCode::StaleMap);
        };
        let key = signal.section(0);
        let index = &mut fragment.tables[place.table].rows;
        let found = index.find(&self.arena, place.hash, key);
        let state = found.map(|row| self.arena.row(row).state());
        if let (Some(row), Some(state)) = (found, state)
            && state != row_state::COMMITTED
        {
            let older = self.arena.row(row).older();
            let is_held = matches!(state, row_state::HELD | row_state::HELD_ABSENT);
            // What a transaction does to one row happens in order, so nothing overtakes what waits already.
            let follows = !self.participants.get(participant).waiting.is_empty()
                && self.queue.has_participant(queue_of(fragment, &mut self.locks, state, older), participant);
            if is_held
                && !follows
                && let Some(lock) =
                    join(&mut self.locks, &mut self.participants, participant, older.to_u32(), exclusive)
            {
                return Acquired::Lock(lock);
            }
            let asker = Asker::Participant { number: participant, exclusive };
            let (partition, table, hash) = (place.partition, place.table, place.hash);
            let wish = Wish { signal: signal.bytes(), asker, partition, table, hash };
            let holds = self.participants.get(participant).locks.contains(&older.to_u32());
            let turn = if holds && is_held { Turn::First } else { Turn::WithOwn };
            let ends = queue_of(fragment, &mut self.locks, state, older);
            return match self.queue.push(ends, &wish, turn) {
                Some(queued) => {
                    self.participants.get_mut(participant).waiting.push(queued);
                    Acquired::Waits
                }
                None => Acquired::Refused(ErrorCode::RowQueueFull),
            };
        }
        if self.locks.is_full() {
            return Acquired::Refused(ErrorCode::TooManyLocks);
        }
        let (row, state) = match found {
            Some(row) => (row, row_state::HELD),
            None => {
                let header = RowHeader {
                    epoch: 0,
                    sequence: 0,
                    table_version: 0,
                    state: row_state::HELD_ABSENT,
                    older: RowHandle::NULL,
                };
                let Ok(row) = self.arena.allocate_row(&header, key, &[], Priority::Normal) else {
                    return Acquired::Refused(ErrorCode::OutOfMemory);
                };
                if index.insert(&mut self.arena, place.hash, row, Priority::Normal).is_err() {
                    self.arena.free(row);
                    return Acquired::Refused(ErrorCode::OutOfMemory);
                }
                (row, row_state::HELD_ABSENT)
            }
        };
        let lock = self.locks.add(*place, row, participant, exclusive);
        self.arena.set_state_and_older(row, state, lock_handle(lock));
        self.participants.get_mut(participant).locks.push(lock);
        self.pending_of_table[place.table] += 1;
        Acquired::Lock(lock)
    }

    /// Whether earlier operations of the transaction wait for this row.
    fn waits_itself(&mut self, place: &Place, transaction: TransactionId, key: &[u8]) -> bool {
        let participant = self.participants.find(transaction, place.partition);
        let waiting = |number: &u32| !self.participants.get(*number).waiting.is_empty();
        let Some(participant) = participant.filter(waiting) else { return false };
        let Some(fragment) = &mut self.fragments[usize::from(place.partition)] else { return false };
        let Some(row) = fragment.tables[place.table].rows.find(&self.arena, place.hash, key) else {
            return false;
        };
        let (state, older) = (self.arena.row(row).state(), self.arena.row(row).older());
        state != row_state::COMMITTED
            && self.queue.has_participant(queue_of(fragment, &mut self.locks, state, older), participant)
    }

    /// A holder has left a lock: grants it to those who can have it now, in order; when nobody holds it any more the row
    /// is free for whoever waits.
    pub(super) fn grant_waiting(&mut self, context: &mut Context<'_>, number: u32) {
        loop {
            let lock = self.locks.get_mut(number);
            if lock.holders.is_empty() {
                return self.free_lock(context, number);
            }
            let Some(Asker::Participant { number: participant, exclusive }) = self.queue.first(&lock.waiting)
            else {
                return;
            };
            let holds = lock.holders.contains(&participant);
            let grantable =
                if exclusive { holds && lock.holders.len() == 1 } else { holds || !lock.exclusive };
            if !grantable {
                return;
            }
            let Some((queued, waiting)) = self.queue.pop(&mut lock.waiting) else { return };
            lock.exclusive |= exclusive;
            if !holds {
                lock.holders.push(participant);
                self.participants.get_mut(participant).locks.push(number);
            }
            self.participants.get_mut(participant).waiting.retain(|place| *place != queued);
            if let Some((signal, _)) = SignalView::split_again(&waiting.signal)
                && let Some(body) = signal.body::<Operate>()
            {
                self.execute_locked(context, participant, number, &signal, body);
                self.prepare_if_due(context, participant);
            }
            self.queue.recycle(queued, waiting);
        }
    }

    /// Nobody holds a lock: the row is an ordinary one again, or no row, and what waited for it is executed.
    fn free_lock(&mut self, context: &mut Context<'_>, number: u32) {
        let lock = self.locks.get_mut(number);
        let (place, row) = (lock.place, lock.row);
        let ends = std::mem::replace(&mut lock.waiting, QueueEnds::EMPTY);
        self.locks.remove(number);
        self.pending_of_table[place.table] -= 1;
        if !row.is_null() {
            if self.arena.row(row).state() == row_state::HELD {
                self.unlock(row);
            } else if let Some(fragment) = &mut self.fragments[usize::from(place.partition)] {
                let removed = fragment.tables[place.table].rows.remove(&mut self.arena, place.hash, row);
                assert!(removed, "the row of a lock is in the index");
                self.arena.free(row);
            }
        }
        if !ends.is_empty() {
            self.admit_waiting(context, place.partition, ends);
        }
    }

    /// Executes an operation on a row that its transaction has locked, and tells the coordinator.
    fn execute_locked(
        &mut self,
        context: &mut Context<'_>,
        participant: u32,
        lock: u32,
        signal: &SignalView<'_>,
        body: &Operate,
    ) {
        let coordinator = self.participants.get(participant).coordinator;
        let done = self.change_row(context, lock, signal, body);
        if let Ok(done) = &done
            && body.flags & FLAG_SINGLE != 0
        {
            let single = self.participants.get_mut(participant);
            (single.result_bytes, single.result) = (done.result_bytes, done.result);
        }
        let key: &[u8] = if body.flags & FLAG_IGNORE_EXISTING != 0 { signal.section(0) } else { &[] };
        self.tell_with_key(context, &coordinator, body.number.get(), done, key);
    }

    /// The row as its transaction sees it, and whether it is committed.
    fn current(&self, lock: u32) -> (Option<RowHandle>, Option<RowHandle>) {
        let lock = self.locks.get(lock);
        let committed = Some(lock.row).filter(|row| self.arena.row(*row).state() == row_state::HELD);
        let current = match lock.change {
            Change::None => committed,
            Change::Put(image) => Some(image),
            Change::Delete => None,
        };
        (current, committed)
    }

    fn version_of(&self, row: Option<RowHandle>) -> RowVersion {
        row.map_or(RowVersion::default(), |row| {
            let row = self.arena.row(row);
            RowVersion { epoch: row.epoch(), seq: row.sequence() }
        })
    }

    fn change_row(
        &mut self,
        context: &Context<'_>,
        lock: u32,
        signal: &SignalView<'_>,
        body: &Operate,
    ) -> Result<Done, Refusal> {
        let plain = |code| (code, String::new());
        let (current, committed) = self.current(lock);
        let mut done = Done { version: self.version_of(committed), ..Done::default() };
        if matches!(body.operation, OPERATION_READ | OPERATION_READ_SHARED | OPERATION_READ_EXCLUSIVE) {
            (done.row, done.missing) = (current, current.is_none());
            done.read_as = (self.locks.get(lock).place.table, body.table_version.get());
            return Ok(done);
        }
        let (_, table) = self.place_of(context, signal, body)?;
        if matches!(body.operation, OPERATION_INSERT_ENTRY | OPERATION_REMOVE_ENTRY | OPERATION_ENTER_ROW) {
            done.entries = self.change_entry(lock, signal, body, table, current)?;
            return Ok(done);
        }
        let ignores = |flag: u8| body.flags & flag != 0;
        done.ignored = match (body.operation, current) {
            (OPERATION_UPDATE | OPERATION_DELETE, None) if ignores(FLAG_IGNORE_MISSING) => true,
            (OPERATION_INSERT, Some(_)) if ignores(FLAG_IGNORE_EXISTING) => true,
            (OPERATION_UPDATE | OPERATION_DELETE, None) => return Err(plain(ErrorCode::RowNotFound)),
            (OPERATION_INSERT, Some(_)) => return Err(plain(ErrorCode::DuplicateKey)),
            _ => false,
        };
        if done.ignored {
            return Ok(done);
        }
        if ignores(FLAG_EXPECT_VERSION) {
            let expected = RowVersion { epoch: body.expected_epoch.get(), seq: body.expected_seq.get() };
            if committed.is_none() {
                return Err(plain(ErrorCode::RowNotFound));
            }
            if done.version != expected {
                return Err(plain(ErrorCode::VersionMismatch));
            }
        }
        let (named, given) = (body.table_version.get(), signal.section(1));
        let key = signal.section(0);
        let maintained = !table.unique.is_empty() && body.flags & FLAG_WITHOUT_ENTRIES == 0;
        let change = match body.operation {
            OPERATION_INSERT | OPERATION_UPSERT => RowChange::Replace(given),
            OPERATION_UPDATE => RowChange::Update { program: given, scratch: &mut self.older_image },
            OPERATION_DELETE => {
                if maintained {
                    let before = current.map(|row| stored_image(&self.arena, row));
                    self.entries.derive(table, false, key, before, None)?;
                    done.entries = !self.entries.list.is_empty();
                }
                return self.set_change(lock, key, None, (table, named)).map(|()| done);
            }
            _ => return Err(plain(ErrorCode::InvalidRequest)),
        };
        let mut made = Made { table_version: named, ..Made::default() };
        if let Some(row) = current {
            let row = self.arena.row(row);
            let stored = StoredImage { image: row.value, table_version: row.table_version() };
            made = change.apply(table, named, stored, &mut self.image)?;
        }
        let image = std::mem::take(&mut self.image);
        let value = if made.built { &image[..] } else { given };
        let after = StoredImage { image: value, table_version: made.table_version };
        let mut derived = Ok(());
        if maintained {
            let before = current.map(|row| stored_image(&self.arena, row));
            derived = self.entries.derive(table, false, key, before, Some(after));
            done.entries = !self.entries.list.is_empty();
        }
        let changed =
            derived.and_then(|()| self.set_change(lock, key, Some(value), (table, made.table_version)));
        self.image = image;
        let bytes = made.result.as_bytes();
        done.result_bytes = bytes.len() as u8;
        done.result[..bytes.len()].copy_from_slice(bytes);
        changed.map(|()| done)
    }

    /// Notes what the row will be when its transaction commits; none for no row.
    pub(super) fn set_change(
        &mut self,
        number: u32,
        key: &[u8],
        value: Option<&[u8]>,
        (table, table_version): (&LocalTable, u16),
    ) -> Result<(), Refusal> {
        let out_of_memory = |_| (ErrorCode::OutOfMemory, String::new());
        let change = match value {
            Some(value) => {
                let header = RowHeader {
                    epoch: 0,
                    sequence: 0,
                    table_version,
                    state: row_state::IMAGE,
                    older: RowHandle::NULL,
                };
                let image = self.arena.allocate_row(&header, key, value, Priority::Normal);
                Change::Put(image.map_err(out_of_memory)?)
            }
            None => Change::Delete,
        };
        let lock = self.locks.get_mut(number);
        let committed = Some(lock.row).filter(|row| self.arena.row(*row).state() == row_state::HELD);
        let older = lock.change.image();
        let Some(fragment) = &mut self.fragments[usize::from(lock.place.partition)] else { return Ok(()) };
        let stored = &mut fragment.tables[lock.place.table];
        match (change.image(), older) {
            (Some(image), _) => {
                if let Err(error) = stored.enter(&mut self.arena, table, committed, older, image) {
                    self.arena.free(image);
                    return Err(out_of_memory(error));
                }
            }
            (None, Some(older)) => stored.leave(&mut self.arena, table, committed, older),
            (None, None) => {}
        }
        if let Some(older) = older {
            self.arena.free(older);
        }
        lock.change = if change == Change::Delete && committed.is_none() { Change::None } else { change };
        lock.table_version = table_version;
        Ok(())
    }

    /// A read without a lock: the transaction's own change, or the committed row.
    fn read_unlocked(&self, place: &Place, transaction: TransactionId, key: &[u8]) -> Done {
        let missing = Done { missing: true, ..Done::default() };
        let Some(fragment) = &self.fragments[usize::from(place.partition)] else { return missing };
        let Some(row) = fragment.tables[place.table].rows.find(&self.arena, place.hash, key) else {
            return missing;
        };
        let view = self.arena.row(row);
        let own = matches!(view.state(), row_state::HELD | row_state::HELD_ABSENT)
            .then(|| view.older().to_u32())
            .filter(|lock| {
                let participant = self.participants.find(transaction, place.partition);
                participant.is_some_and(|participant| self.locks.get(*lock).holders.contains(&participant))
            });
        let (current, committed) = match own {
            Some(lock) => self.current(lock),
            None => {
                let visible = Some(row).filter(|_| row_state::is_visible(view.state()));
                (visible, visible)
            }
        };
        Done {
            row: current,
            missing: current.is_none(),
            version: self.version_of(committed),
            ..Done::default()
        }
    }

    /// Answers an operation.
    fn tell(
        &mut self,
        context: &mut Context<'_>,
        coordinator: &Coordinator,
        number: u32,
        done: Result<Done, Refusal>,
    ) {
        self.tell_with_key(context, coordinator, number, done, &[]);
    }

    /// Answers an operation; the key goes with changes of entries.
    fn tell_with_key(
        &mut self,
        context: &mut Context<'_>,
        coordinator: &Coordinator,
        number: u32,
        done: Result<Done, Refusal>,
        key: &[u8],
    ) {
        let node = context.out.identity.sender.node.into();
        let mut body = OperateReply { number: number.into(), node, ..OperateReply::default() };
        let to = coordinator.address();
        match done {
            Ok(done) => {
                body.code = if done.missing { ErrorCode::RowNotFound as u16 } else { 0 }.into();
                body.flags = if done.ignored { FLAG_IGNORED } else { 0 }.into();
                body.result_bytes = u16::from(done.result_bytes).into();
                body.result = done.result;
                (body.epoch, body.seq) = (done.version.epoch.into(), done.version.seq.into());
                let mut value: &[u8] = &[];
                if let Some(row) = done.row {
                    let row = self.arena.row(row);
                    let (slot, named) = done.read_as;
                    let mut version = row.table_version();
                    value = row.value;
                    if version != named
                        && let Some(Some(table)) = context.map.tables.get(slot)
                    {
                        (value, version) = table.image_for(value, version, named, &mut self.older_image);
                    }
                    body.table_version = version.into();
                }
                let sections = if done.entries {
                    body.flags = FLAG_ENTRIES.into();
                    Sections::three(value, &self.entries.list, key)
                } else {
                    Sections::one(value)
                };
                context.out.post(to, coordinator.handle, &body, sections);
            }
            Err((code, detail)) => {
                body.code = (code as u16).into();
                context.out.post(to, coordinator.handle, &body, Sections::one(detail.as_bytes()));
            }
        }
    }

    /// Takes the waiting operations of a participant out of their queues; who waited behind them may have its turn now.
    pub(super) fn forget_waiting(&mut self, context: &mut Context<'_>, participant: u32) {
        let leaving = self.participants.get_mut(participant);
        let partition = leaving.partition;
        let mut locks = Vec::new();
        for queued in std::mem::take(&mut leaving.waiting) {
            let Some((row, _)) = self.row_waited_for(partition, queued) else { continue };
            let (state, older) = (self.arena.row(row).state(), self.arena.row(row).older());
            let Some(fragment) = &mut self.fragments[usize::from(partition)] else { continue };
            let ends = queue_of(fragment, &mut self.locks, state, older);
            self.queue.remove(ends, queued);
            if matches!(state, row_state::HELD | row_state::HELD_ABSENT) {
                locks.push(older.to_u32());
            }
        }
        for lock in locks {
            self.grant_waiting(context, lock);
        }
    }

    /// The row that a waiting request waits for.
    fn row_waited_for(&self, partition: u16, queued: u32) -> Option<(RowHandle, u32)> {
        let waiting = self.queue.at(queued);
        let (signal, _) = SignalView::split_again(&waiting.signal)?;
        let number = signal.body::<Operate>()?.number.get();
        let fragment = self.fragments[usize::from(partition)].as_ref()?;
        let row = fragment.tables[waiting.table].rows.find(&self.arena, waiting.hash, signal.section(0));
        let Some(row) = row else { unreachable!("a row that is waited for is in the index") };
        Some((row, number))
    }

    /// Tells the coordinators of operations that have waited for a while whom they wait for.
    pub(super) fn report_waits(&mut self, context: &mut Context<'_>) {
        self.queue.ticks += 1;
        if context.planted_bug == 6 {
            self.lose_patience(context);
        }
        if self.queue.ticks.is_multiple_of(LOOK_EVERY) && self.queue.len() > self.queue.operations {
            self.refuse_tired_writes(context);
        }
        if self.queue.operations == 0 {
            return;
        }
        let mut blockers: Vec<Blocker> = Vec::new();
        for (number, participant) in self.participants.iter() {
            for queued in &participant.waiting {
                let (_, since) = self.queue.asker_at(*queued);
                // After 10 to 20 ms, then ever more rarely: whoever closes a circle is the last to report.
                let waited = self.queue.ticks - since;
                if waited < 2 || !waited.is_power_of_two() {
                    continue;
                }
                let Some((row, operation)) = self.row_waited_for(participant.partition, *queued) else {
                    continue;
                };
                blockers.clear();
                self.blockers_of(participant.partition, number, *queued, row, &mut blockers);
                if !blockers.is_empty() {
                    let body = LockWait { number: operation.into(), reserved: 0.into() };
                    let (to, handle) = (participant.coordinator.address(), participant.coordinator.handle);
                    context.out.post(to, handle, &body, Sections::one(section_of(&blockers)));
                }
            }
        }
    }

    /// One-pass writes that have waited too long for a row that transactions hold have done nothing yet: they are refused.
    /// (Operations of transactions end by the time-out of their coordinators.)
    fn refuse_tired_writes(&mut self, context: &mut Context<'_>) {
        for queued in self.queue.writes_waiting_for(LOCK_TICKS) {
            let waiting = self.queue.at(queued);
            let (Asker::Write(reply), partition) = (waiting.asker, waiting.partition) else { continue };
            let Some((signal, _)) = SignalView::split_again(&waiting.signal) else { continue };
            let Some(fragment) = &mut self.fragments[usize::from(partition)] else { continue };
            let index = &fragment.tables[waiting.table].rows;
            let Some(row) = index.find(&self.arena, waiting.hash, signal.section(0)) else { continue };
            let (state, older) = (self.arena.row(row).state(), self.arena.row(row).older());
            if matches!(state, row_state::HELD | row_state::HELD_ABSENT) {
                let ends = queue_of(fragment, &mut self.locks, state, older);
                self.queue.remove(ends, queued);
                context.out.error(reply, ErrorCode::LockTimeout, "");
                self.grant_waiting(context, older.to_u32());
            }
        }
    }

    /// The transactions that hold a row, and the one that waits directly before this participant (it waits for those
    /// before it in turn).
    fn blockers_of(
        &self,
        partition: u16,
        participant: u32,
        queued: u32,
        row: RowHandle,
        blockers: &mut Vec<Blocker>,
    ) {
        let view = self.arena.row(row);
        let mut add = |number: u32| {
            let other = self.participants.get(number);
            blockers.push(Blocker {
                session: other.transaction.session.into(),
                seq: other.transaction.seq.into(),
                node: other.coordinator.node.into(),
                coordinator: u32::from(other.coordinator.handle.number).into(),
            });
        };
        let ends = if matches!(view.state(), row_state::HELD | row_state::HELD_ABSENT) {
            let lock = self.locks.get(view.older().to_u32());
            let others = lock.holders.iter().filter(|holder| **holder != participant);
            let turn = self.queue.ticks as usize * BLOCKERS_PER_REPORT;
            let skip = if lock.holders.len() > BLOCKERS_PER_REPORT { turn % lock.holders.len() } else { 0 };
            for holder in others.clone().skip(skip).chain(others.take(skip)).take(BLOCKERS_PER_REPORT) {
                add(*holder);
            }
            lock.waiting
        } else {
            let fragment = self.fragments[usize::from(partition)].as_ref();
            let pending = fragment.and_then(|fragment| {
                let distance = view.older().to_u32().wrapping_sub(fragment.first_pending() as u32);
                fragment.pending.get(distance as usize)
            });
            pending.map_or(QueueEnds::EMPTY, |pending| pending.waiting)
        };
        let mut before = None;
        for place in self.queue.places(&ends).take_while(|place| *place != queued) {
            if let (Asker::Participant { number, .. }, _) = self.queue.asker_at(place)
                && number != participant
            {
                before = Some(number);
            }
        }
        if let Some(before) = before {
            add(before);
        }
    }
}

/// Whether an operation locks its row for its transaction alone. (A read without a lock takes one only where it waits behind
/// operations of its own transaction, which hold the row then.)
fn is_exclusive(body: &Operate) -> bool {
    !matches!(body.operation, OPERATION_READ | OPERATION_READ_SHARED)
}

/// Takes a lock that is held already, if that can be now.
fn join(
    locks: &mut LockTable,
    participants: &mut Participants,
    participant: u32,
    number: u32,
    exclusive: bool,
) -> Option<u32> {
    let lock = locks.get_mut(number);
    let holds = lock.holders.contains(&participant);
    if holds && (!exclusive || lock.exclusive || lock.holders.len() == 1) {
        lock.exclusive |= exclusive;
        return Some(number);
    }
    if !holds && !exclusive && !lock.exclusive && lock.waiting.is_empty() {
        lock.holders.push(participant);
        participants.get_mut(participant).locks.push(number);
        return Some(number);
    }
    None
}

impl Coordinator {
    /// Where its signals go.
    pub fn address(&self) -> Address {
        Address::Coordinator { node: self.node, lane: self.lane, number: self.handle.number }
    }
}

/// Refuses an operation; one whose partition is led by another node now, or will be soon, goes back as it came.
fn give_back(
    context: &mut Context<'_>,
    coordinator: &Coordinator,
    signal: &SignalView<'_>,
    body: &Operate,
    (code, detail): Refusal,
) {
    let elsewhere = matches!(code, ErrorCode::NotServing | ErrorCode::StaleMap);
    let node = context.out.identity.sender.node.into();
    let answer = OperateReply {
        code: (code as u16).into(),
        flags: if elsewhere { FLAG_GIVEN_BACK } else { 0 }.into(),
        number: body.number,
        node,
        ..OperateReply::default()
    };
    let operation = if elsewhere { signal.bytes() } else { &[] };
    let sections = Sections::two(detail.as_bytes(), operation);
    context.out.post(coordinator.address(), coordinator.handle, &answer, sections);
}
