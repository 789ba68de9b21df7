//! The coordinator's work for unique indexes: entries that change with a row are changed by further operations of the same
//! transaction (PROTOCOL.md §1, counterexamples 20 and 34).
//!
//! The primary of a row reports which entries its change needs, in the order in which they are to be locked; they are
//! changed one after the other, the client is answered when the last one is. Operations of one transaction may change
//! the same entry, so the entries of an operation wait until those of all operations before it have been sent.
//!
//! A write of one row that a client sent by itself comes here from the local data manager when it changes entries, and becomes a
//! transaction under its own id, whose outcome record is at the row. All such writes of a partition come to one coordinator; so
//! a repeated one finds the one under way.

use crate::interface::LinkId;
use crate::ldm::Context;
use crate::operation_check::primary_of;
use crate::outbox::{Address, BACKLOG_REFUSE_BYTES, Handle, ReplyTo};
use crate::transaction::{
    Ending, MAX_BYTES, MAX_OPERATIONS, NO_HOME, Outstanding, Part, State, Transaction, Transactions,
};
use duet_protocol::error::ErrorCode;
use duet_protocol::hash::key_hash;
use duet_protocol::ids::TransactionId;
use duet_protocol::schema::{IndexKind, Table};
use duet_protocol::signal::operate::{
    FLAG_IGNORE_EXISTING, FLAG_SINGLE, FLAG_WITHOUT_ENTRIES, OPERATION_ENTER_ROW, OPERATION_INSERT_ENTRY,
    OPERATION_REMOVE_ENTRY, Operate,
};
use duet_protocol::signal::operate_reply::{FLAG_ENTRIES, FLAG_IGNORED, OperateReply};
use duet_protocol::signal::row_entered::RowEntered;
use duet_protocol::signal::two_phase_write::{LOCAL_DATA_MANAGER, TwoPhaseWrite};
use duet_protocol::signal::write::{OPERATION_DELETE, OPERATION_INSERT, Write};
use duet_protocol::signal::write_reply::WriteReply;
use duet_protocol::signal::{Sections, SignalView};
use duet_protocol::unique::{EntryChange, EntryChangeKind};
use std::collections::VecDeque;

/// An operation without changes of entries.
pub(crate) const NO_JOB: u32 = u32::MAX;
/// Operations of coordinators have this bit in their numbers; the others name the job.
pub(crate) const ENTRY_NUMBERS: u32 = 1 << 31;
/// Buffers larger than this are not kept for the next job.
const SPARE_LIST_BYTES: usize = 4 << 10;

/// A write of one row that a client sent by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Single {
    result: [u8; 16],
    result_bytes: u16,
    /// Position of the row's version.
    pub(crate) position: u64,
    /// It is a row that is to be entered into new indexes.
    pub(crate) entering: Option<Entering>,
}

/// A row that the local data manager of this node wants to have in the unique indexes that are being built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entering {
    partition: u16,
}

impl Entering {
    /// Tells the local data manager what became of it.
    pub(crate) fn tell(
        self,
        context: &mut Context<'_>,
        reply: ReplyTo,
        code: Option<ErrorCode>,
        detail: &str,
    ) {
        let body = RowEntered {
            request: reply.request_id.into(),
            partition: self.partition.into(),
            code: code.map_or(0, |code| code as u16).into(),
            reserved: 0.into(),
        };
        let lane = context.map.partitions[usize::from(self.partition)].lane;
        let to = Address::Fragments { node: context.out.identity.sender.node, lane };
        let handle = Handle { number: 0, transaction: 0 };
        context.out.post(to, handle, &body, Sections::one(detail.as_bytes()));
    }
}

impl Single {
    /// Answers it.
    pub(crate) fn committed(&self, context: &mut Context<'_>, reply: ReplyTo, epoch: u64) {
        if let Some(entering) = self.entering {
            return entering.tell(context, reply, None, "");
        }
        let body = WriteReply {
            result_bytes: u32::from(self.result_bytes).into(),
            epoch: epoch.into(),
            seq: self.position.into(),
            result: self.result,
            ..WriteReply::default()
        };
        context.out.reply(reply, &body, Sections::none());
    }
}

/// What a transaction does for unique indexes.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// The entries of all operations before this one have been sent, or there are none.
    frontier: u32,
    /// Some operation had entries.
    used: bool,
    /// Number of an insert that may yet be taken back; 0 for none. What comes meanwhile is held back.
    holding: u32,
    held: VecDeque<(u64, Vec<u8>)>,
    held_bytes: usize,
}

impl Entries {
    pub(crate) fn holds_operations(&self) -> bool {
        self.holding != 0
    }

    /// With `holds` the operations after this one wait for it.
    pub(crate) fn hold_after(&mut self, number: u32, holds: bool) {
        if holds {
            self.holding = number;
            self.used = true;
        }
    }

    /// The operations after this one, which was sent before, wait for it.
    pub(crate) fn hold_from(&mut self, number: u32) {
        self.holding = self.holding.max(number);
        self.used = true;
    }

    pub(crate) fn are_used(&self) -> bool {
        self.used
    }
}

impl Transaction {
    /// Keeps an operation until it can be sent.
    pub(crate) fn hold(
        &mut self,
        reply: ReplyTo,
        signal: &SignalView<'_>,
    ) -> Result<(), (ErrorCode, String)> {
        let entries = &mut self.entries;
        entries.held_bytes += signal.bytes().len();
        if entries.held_bytes > MAX_BYTES || entries.held.len() >= MAX_OPERATIONS as usize {
            return Err((ErrorCode::TransactionTooLarge, String::new()));
        }
        entries.held.push_back((reply.request_id, signal.bytes().to_vec()));
        Ok(())
    }

    pub(crate) fn outstanding_mut(&mut self, number: u32) -> Option<&mut Outstanding> {
        let offset = number.checked_sub(self.first)?;
        self.outstanding.get_mut(offset as usize)?.as_mut()
    }
}

/// The changes of entries that one operation needs.
#[derive(Debug)]
pub(crate) struct EntryJob {
    /// Number of the operation.
    number: u32,
    /// What the client is told when all is done.
    answer: OperateReply,
    /// The changes.
    list: Vec<u8>,
    /// Where the next one begins.
    next: usize,
    /// Operations under way.
    running: u32,
    /// Its effects are being taken back.
    undoes: bool,
    /// Primary key of the row, for that.
    key: Vec<u8>,
}

impl EntryJob {
    fn is_sent(&self) -> bool {
        self.next >= self.list.len()
    }
}

/// The jobs of all transactions of a coordinator.
#[derive(Debug, Default)]
pub(crate) struct EntryJobs {
    jobs: Vec<EntryJob>,
    free: Vec<u32>,
}

impl EntryJobs {
    fn add(&mut self, number: u32, answer: OperateReply, list: &[u8], key: &[u8]) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            let (list, key) = (Vec::new(), Vec::new());
            self.jobs.push(EntryJob { number, answer, list, next: 0, running: 0, undoes: false, key });
            (self.jobs.len() - 1) as u32
        });
        let job = &mut self.jobs[slot as usize];
        (job.number, job.answer, job.next, job.running, job.undoes) = (number, answer, 0, 0, false);
        job.list.clear();
        job.list.extend_from_slice(list);
        job.key.clear();
        job.key.extend_from_slice(key);
        slot
    }

    fn remove(&mut self, slot: u32) {
        let job = &mut self.jobs[slot as usize];
        if job.list.capacity() + job.key.capacity() > SPARE_LIST_BYTES {
            (job.list, job.key) = (Vec::new(), Vec::new());
        }
        self.free.push(slot);
    }

    /// Whether none is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.len() == self.free.len()
    }
}

impl Transactions {
    /// Whether an operation, or one for entries, has no answer yet.
    pub(crate) fn is_outstanding(&self, index: usize, number: u32) -> bool {
        let transaction = &self.slots[index];
        let base = match number & ENTRY_NUMBERS != 0 {
            true => self.jobs.jobs.get((number & !ENTRY_NUMBERS) as usize).map(|job| job.number),
            false => Some(number),
        };
        let offset = base.and_then(|base| base.checked_sub(transaction.first));
        let outstanding = offset.and_then(|offset| transaction.outstanding.get(offset as usize));
        transaction.state == State::Active && matches!(outstanding, Some(Some(_)))
    }

    /// A write of one row becomes a transaction, or finds that it is one already.
    pub(crate) fn begin_single(&mut self, context: &mut Context<'_>, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<TwoPhaseWrite>() else { return };
        let Some((request, _)) = SignalView::split_again(signal.section(0)) else { return };
        let Some(write) = request.body::<Write>() else { return };
        let link = LinkId { slot: body.link_slot.get(), generation: body.link_generation.get() };
        let reply = ReplyTo { link, request_id: body.request.get() };
        let id = TransactionId { session: write.session.get(), seq: write.seq.get() };
        if let Some(index) = self.numbers.get(&id) {
            return attach(context, &mut self.slots[*index as usize], reply);
        }
        let partition = body.partition.get();
        let entering = (link.slot == LOCAL_DATA_MANAGER && write.operation == OPERATION_ENTER_ROW)
            .then_some(Entering { partition });
        let index = match (self.begin(reply, id, 0), entering) {
            (Ok(index), _) => index,
            (Err(code), Some(entering)) => return entering.tell(context, reply, Some(code), ""),
            (Err(code), None) => return context.out.error(reply, code, ""),
        };
        let (node, lane) =
            (primary_of(context, partition), context.map.partitions[usize::from(partition)].lane);
        let (handle, at) = (self.handle(index), self.now);
        let transaction = &mut self.slots[index];
        transaction.single = Some(Single { entering, ..Single::default() });
        transaction.ending = Some(Ending {
            request_id: reply.request_id,
            home: if entering.is_some() { NO_HOME } else { partition },
            resolved_below: write.resolved_below.get(),
        });
        transaction.parts.push(Part::new(partition, node, lane, false));
        transaction.outstanding.push_back(Some(Outstanding {
            request_id: reply.request_id,
            at,
            partition,
            node,
            operation: write.operation,
            flags: 0,
            table_version: write.table_version.get(),
            table: write.table.get(),
            may_enter: true,
            job: NO_JOB,
        }));
        let operate = Operate {
            table: write.table,
            table_version: write.table_version,
            operation: write.operation,
            flags: write.flags | FLAG_SINGLE,
            session: write.session,
            seq: write.seq,
            number: 1.into(),
            tries: 0.into(),
            expected_epoch: write.expected_epoch,
            expected_seq: write.expected_seq,
        };
        let to = Address::Fragments { node, lane };
        context.out.post(to, handle, &operate, Sections::two(request.section(0), request.section(1)));
    }

    /// An operation with entries, one for entries, or the one of a single write has its answer.
    pub(crate) fn unique_operation_done(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        signal: &SignalView<'_>,
        body: &OperateReply,
    ) {
        let number = body.number.get();
        let transaction = &mut self.slots[index];
        transaction.waits.retain(|(waits, _)| *waits != number);
        if number & ENTRY_NUMBERS != 0 {
            return self.entry_done(context, index, signal, body);
        }
        if body.code.get() != 0 {
            let code = ErrorCode::from_number(body.code.get()).unwrap_or(ErrorCode::Internal);
            let detail = String::from_utf8_lossy(signal.section(0));
            return self.refuse_operation(context, index, number, code, body.node.get(), &detail);
        }
        let now = self.now;
        let Some(waiting) = transaction.outstanding_mut(number).filter(|waiting| waiting.job == NO_JOB)
        else {
            return;
        };
        let (partition, answer) = (waiting.partition, OperateReply { flags: 0.into(), ..*body });
        if body.flags.get() & FLAG_ENTRIES != 0 {
            let job = self.jobs.add(number, answer, signal.section(1), signal.section(2));
            (waiting.job, waiting.at) = (job, now);
            transaction.entries.used = true;
        }
        let changes_row = transaction.single.is_none_or(|single| single.entering.is_none());
        if changes_row && let Some(part) = transaction.part(partition) {
            part.writes = true;
        }
        if body.flags.get() & FLAG_ENTRIES == 0 {
            return self.finish_operation(context, index, number, &answer);
        }
        // The primary may know an index that this part does not know yet.
        let overtaken = transaction.entries.frontier > number;
        let job = transaction.outstanding_mut(number).map_or(NO_JOB, |waiting| waiting.job);
        if overtaken && !self.send_entry(context, index, job) {
            return;
        }
        self.advance_entries(context, index);
    }

    /// Sends the entries whose turn it is, and operations that were held back.
    pub(crate) fn advance_entries(&mut self, context: &mut Context<'_>, index: usize) {
        loop {
            let transaction = &mut self.slots[index];
            if transaction.state != State::Active {
                return;
            }
            let entries = &mut transaction.entries;
            entries.frontier = entries.frontier.max(transaction.first);
            let offset = (entries.frontier - transaction.first) as usize;
            let Some(next) = transaction.outstanding.get(offset) else { break };
            match next {
                Some(waiting) if waiting.job != NO_JOB => {
                    let (number, job) = (entries.frontier, waiting.job);
                    if !self.send_entry(context, index, job) {
                        return;
                    }
                    if !self.jobs.jobs[job as usize].is_sent() {
                        break;
                    }
                    self.slots[index].entries.frontier = number + 1;
                }
                Some(waiting) if waiting.may_enter => break,
                Some(_) | None => entries.frontier += 1,
            }
        }
        self.send_held(context, index);
    }

    /// Sends the operations that were held back, up to the next one that holds others.
    fn send_held(&mut self, context: &mut Context<'_>, index: usize) {
        let transaction = &mut self.slots[index];
        let holding = transaction.entries.holding;
        if holding == 0 || transaction.outstanding_mut(holding).is_some() {
            return;
        }
        transaction.entries.holding = 0;
        loop {
            let transaction = &mut self.slots[index];
            if transaction.entries.holding != 0 || transaction.state != State::Active {
                return;
            }
            let Some((request_id, bytes)) = transaction.entries.held.pop_front() else { return };
            transaction.entries.held_bytes -= bytes.len();
            let reply = ReplyTo { link: transaction.link, request_id };
            let Some((signal, _)) = SignalView::split_again(&bytes) else { continue };
            let Some(body) = signal.body::<Operate>() else { continue };
            if let Err((code, detail)) = self.send_operation(context, index, reply, &signal, body) {
                let node = context.out.identity.sender.node;
                context.out.error(reply, code, &detail);
                return self.fail(context, index, code, node);
            }
        }
    }

    /// Sends the next entry of a job unless one is under way. False when the transaction has failed.
    fn send_entry(&mut self, context: &mut Context<'_>, index: usize, slot: u32) -> bool {
        let (handle, now) = (self.handle(index), self.now);
        let job = &mut self.jobs.jobs[slot as usize];
        if job.running > 0 || job.undoes {
            return true;
        }
        let Some((change, rest)) = EntryChange::split(&job.list[job.next..]) else { return true };
        let transaction = &mut self.slots[index];
        if let Some(waiting) = transaction.outstanding_mut(job.number) {
            waiting.at = now;
        }
        job.next = job.list.len() - rest.len();
        job.running = 1;
        let operation = match change.kind {
            EntryChangeKind::Insert => OPERATION_INSERT_ENTRY,
            EntryChangeKind::Remove => OPERATION_REMOVE_ENTRY,
        };
        let number = job.number;
        let Err((code, detail)) = send_change(context, transaction, handle, slot, operation, &change) else {
            return true;
        };
        let node = context.out.identity.sender.node;
        self.refuse_operation(context, index, number, code, node, &detail);
        false
    }

    fn entry_done(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        signal: &SignalView<'_>,
        body: &OperateReply,
    ) {
        let slot = body.number.get() & !ENTRY_NUMBERS;
        let Some(job) = self.jobs.jobs.get_mut(slot as usize).filter(|job| job.running > 0) else { return };
        let number = job.number;
        let Some(waiting) = self.slots[index].outstanding_mut(number).filter(|waiting| waiting.job == slot)
        else {
            return;
        };
        job.running -= 1;
        if job.undoes {
            if job.running == 0 {
                let answer = OperateReply { flags: FLAG_IGNORED.into(), ..job.answer };
                self.finish_operation(context, index, number, &answer);
            }
            return;
        }
        let code = body.code.get();
        if code == 0 {
            if job.is_sent() {
                let answer = job.answer;
                return self.finish_operation(context, index, number, &answer);
            }
            if self.send_entry(context, index, slot) {
                self.advance_entries(context, index);
            }
            return;
        }
        let node = body.node.get();
        if code == ErrorCode::DuplicateKey as u16 {
            context.counters.writes_refused += 1;
            if waiting.operation == OPERATION_INSERT && waiting.flags & FLAG_IGNORE_EXISTING != 0 {
                return self.take_back(context, index, slot);
            }
            let detail = self.violated(context, slot);
            return self.refuse_operation(context, index, number, ErrorCode::UniqueViolation, node, &detail);
        }
        let code = match ErrorCode::from_number(code) {
            // The base table is there, so its hidden table is coming or going.
            Some(ErrorCode::TableNotFound) => ErrorCode::TableNotActive,
            Some(code) => code,
            None => ErrorCode::Internal,
        };
        let detail = String::from_utf8_lossy(signal.section(0));
        self.refuse_operation(context, index, number, code, node, &detail);
    }

    /// The name of the index whose entry was sent last.
    fn violated(&self, context: &Context<'_>, slot: u32) -> String {
        let job = &self.jobs.jobs[slot as usize];
        let sent = &job.list[..job.next];
        let id = EntryChange::all(sent).last().map_or(0, |change| change.index);
        let known = context.map.state.tables.iter().flat_map(Table::secondary_indexes);
        let mut named = known.filter(|(index, known)| index.kind == IndexKind::Unique && known.id == id);
        named.next().map_or_else(|| format!("index {id}"), |(index, _)| format!("index '{}'", index.name))
    }

    /// An insert that violates an index, and was told to do nothing then, has no effect: its row and the entries inserted so
    /// far go again. All of them are locked, so nothing waits.
    fn take_back(&mut self, context: &mut Context<'_>, index: usize, slot: u32) {
        let handle = self.handle(index);
        let job = &mut self.jobs.jobs[slot as usize];
        let transaction = &mut self.slots[index];
        job.undoes = true;
        let mut sent = EntryChange::all(&job.list[..job.next]).collect::<Vec<_>>();
        sent.pop();
        for change in &sent {
            // The lane took the insert before, and a broken one is found by the time-out.
            let _ = send_change(context, transaction, handle, slot, OPERATION_REMOVE_ENTRY, change);
        }
        job.running = sent.len() as u32 + 1;
        let Some(waiting) = transaction.outstanding_mut(job.number).copied() else { return };
        let body = Operate {
            table: waiting.table.into(),
            table_version: waiting.table_version.into(),
            operation: OPERATION_DELETE,
            flags: FLAG_WITHOUT_ENTRIES,
            session: transaction.id.session.into(),
            seq: transaction.id.seq.into(),
            number: (ENTRY_NUMBERS | slot).into(),
            ..Operate::default()
        };
        let Some(part) = transaction.part(waiting.partition) else { return };
        let to = Address::Fragments { node: part.node, lane: part.lane };
        context.out.post(to, handle, &body, Sections::one(&job.key));
    }

    /// An operation and its entries are done.
    fn finish_operation(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        number: u32,
        answer: &OperateReply,
    ) {
        let transaction = &mut self.slots[index];
        let Some(waiting) = transaction.take_outstanding(number) else { return };
        if waiting.job != NO_JOB {
            self.jobs.remove(waiting.job);
        }
        if let Some(single) = &mut transaction.single {
            (single.result, single.result_bytes) = (answer.result, answer.result_bytes.get());
        } else {
            let reply = ReplyTo { link: transaction.link, request_id: waiting.request_id };
            if context.out.waiting(reply.link) > BACKLOG_REFUSE_BYTES {
                context.out.error(reply, ErrorCode::ReplyBufferFull, "");
                let node = context.out.identity.sender.node;
                return self.fail(context, index, ErrorCode::ReplyBufferFull, node);
            }
            context.out.reply(reply, answer, Sections::none());
        }
        self.operation_ended(context, index);
    }

    /// An operation fails, and with it the transaction.
    fn refuse_operation(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        number: u32,
        code: ErrorCode,
        node: u32,
        detail: &str,
    ) {
        let transaction = &mut self.slots[index];
        let reply = |request_id| ReplyTo { link: transaction.link, request_id };
        if transaction.single.is_some() {
            let Some(ending) = transaction.ending.take() else { return };
            if let Some(entering) = transaction.single.and_then(|single| single.entering) {
                entering.tell(context, reply(ending.request_id), Some(code), detail);
            } else if code.is_of_row() {
                context.counters.writes_refused += 1;
                let body = WriteReply { code: (code as u16).into(), ..WriteReply::default() };
                context.out.reply(reply(ending.request_id), &body, Sections::none());
            } else {
                context.out.error_of(reply(ending.request_id), code, node, detail);
            }
            self.fail(context, index, code, node);
            return self.forget(index);
        }
        if let Some(waiting) = transaction.outstanding_mut(number).copied() {
            if waiting.job != NO_JOB {
                self.jobs.remove(waiting.job);
            }
            let transaction = &mut self.slots[index];
            transaction.take_outstanding(number);
            let reply = ReplyTo { link: transaction.link, request_id: waiting.request_id };
            if code.is_of_row() {
                let body = OperateReply {
                    code: (code as u16).into(),
                    number: number.into(),
                    node: node.into(),
                    ..OperateReply::default()
                };
                context.out.reply(reply, &body, Sections::none());
            } else {
                context.out.error_of(reply, code, node, detail);
            }
        }
        self.fail(context, index, code, node);
    }

    /// The transaction fails: its changes of entries end, and so do operations that were held back.
    pub(crate) fn forget_entries(
        &mut self,
        context: &mut Context<'_>,
        index: usize,
        cause: ErrorCode,
        node: u32,
    ) {
        let transaction = &mut self.slots[index];
        for waiting in transaction.outstanding.iter_mut().flatten() {
            if waiting.job != NO_JOB {
                self.jobs.remove(std::mem::replace(&mut waiting.job, NO_JOB));
            }
        }
        if transaction.single.is_some() {
            transaction.outstanding.clear();
        }
        let code = crate::transaction::told_to_all(cause);
        for (request_id, _) in std::mem::take(&mut transaction.entries).held {
            context.out.error_of(ReplyTo { link: transaction.link, request_id }, code, node, "");
        }
    }
}

/// Sends the operation that changes an entry to its primary.
fn send_change(
    context: &mut Context<'_>,
    transaction: &mut Transaction,
    handle: crate::outbox::Handle,
    slot: u32,
    operation: u8,
    change: &EntryChange<'_>,
) -> Result<(), (ErrorCode, String)> {
    transaction.bytes += change.key.len() + change.value.len();
    if transaction.bytes > MAX_BYTES {
        return Err((ErrorCode::TransactionTooLarge, format!("at most {MAX_BYTES} bytes, entries included")));
    }
    let partition = context.map.partition_of(key_hash(change.key));
    let node = primary_of(context, partition);
    let lane = context.map.partitions[usize::from(partition)].lane;
    if let Some(code) = context.out.unreachable(node, lane) {
        return Err((code, format!("node {node} leads the partition of an entry")));
    }
    match transaction.part(partition) {
        Some(part) => part.writes = true,
        None => transaction.parts.push(Part::new(partition, node, lane, true)),
    }
    let body = Operate {
        table: change.table.into(),
        table_version: change.table_version.into(),
        operation,
        flags: 0,
        session: transaction.id.session.into(),
        seq: transaction.id.seq.into(),
        number: (ENTRY_NUMBERS | slot).into(),
        ..Operate::default()
    };
    let to = Address::Fragments { node, lane };
    context.out.post(to, handle, &body, Sections::two(change.key, change.value));
    Ok(())
}

/// A repeated write waits for the answer of the one under way.
fn attach(context: &mut Context<'_>, transaction: &mut Transaction, reply: ReplyTo) {
    let older = ReplyTo {
        link: transaction.link,
        request_id: transaction.ending.map_or(0, |ending| ending.request_id),
    };
    let (Some(ending), true) = (&mut transaction.ending, transaction.single.is_some()) else {
        return context.out.error(reply, ErrorCode::InvalidTransaction, "the id is that of a transaction");
    };
    ending.request_id = reply.request_id;
    transaction.link = reply.link;
    context.counters.replayed += 1;
    if older != reply {
        let detail = "a later request waits for the same transaction";
        context.out.error(older, ErrorCode::OutcomeUnknown, detail);
    }
}
