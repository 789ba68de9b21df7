//! The backup's half of a two-phase commit: it applies what the primary has ordered, never locks and never waits; what is
//! prepared here has all the memory that its commit will need.

use crate::ldm::fragment::row_state;
use crate::ldm::outcome::{Outcome, OutcomeState};
use crate::ldm::planted::ANY_POSITION;
use crate::ldm::write::{EXPIRE_EVERY, assert_rises};
use crate::ldm::{Context, LocalDataManager};
use crate::map::Role;
use crate::outbox::{Address, Handle};
use duet_memory::{OutOfMemory, Priority, RowHandle, RowHeader};
use duet_protocol::error::ErrorCode;
use duet_protocol::hash::key_hash;
use duet_protocol::ids::{RowVersion, TransactionId};
use duet_protocol::signal::abort_prepared::AbortPrepared;
use duet_protocol::signal::prepare_one::{OPERATION_DELETE, OPERATION_PUT};
use duet_protocol::signal::prepare_row::{FLAG_HOME, FLAG_LAST, PrepareRow};
use duet_protocol::signal::prepared::Prepared;
use duet_protocol::signal::{Sections, SignalView};
use rustc_hash::FxHashMap;

/// A change that is prepared at a backup.
#[derive(Clone, Copy, Debug)]
pub(super) struct PreparedRow {
    pub(super) table: usize,
    pub(super) hash: u64,
    /// The committed row; null for an insert.
    pub(super) row: RowHandle,
    /// The new image, null for a delete. That of an insert is in the index.
    pub(super) image: RowHandle,
    pub(super) position: u64,
}

/// What a transaction has prepared in a fragment, at its backup.
#[derive(Debug)]
pub(super) struct PreparedTransaction {
    pub(super) rows: Vec<PreparedRow>,
    pub(super) home: bool,
    /// Node, number and name of the transaction at its coordinator.
    pub(super) coordinator: (u32, u8, u64),
    /// Its coordinator was removed from the view.
    pub(super) orphan: bool,
    /// Epoch in which it was committed.
    pub(super) epoch: u64,
    /// Why it could not all be prepared, 0 if it was.
    code: u16,
    /// The last change has come.
    whole: bool,
    pub(super) committed: bool,
}

/// All transactions that have prepared something in a fragment that is backed up here.
#[derive(Debug, Default)]
pub struct PreparedTransactions {
    pub(super) transactions: FxHashMap<(TransactionId, u16), PreparedTransaction>,
    spare: Vec<Vec<PreparedRow>>,
}

impl PreparedTransactions {
    /// Number of them.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// The images that are prepared for rows of a table in a partition, each with the committed row or null.
    pub(super) fn images(
        &self,
        partition: u16,
        table: usize,
    ) -> impl Iterator<Item = (RowHandle, RowHandle)> {
        let here = move |key: &(TransactionId, u16)| key.1 == partition;
        let open = self.transactions.iter().filter(move |(key, _)| here(key));
        open.flat_map(|(_, found)| &found.rows)
            .filter(move |row| row.table == table && !row.image.is_null())
            .map(|row| (row.row, row.image))
    }

    pub(super) fn recycle(&mut self, mut rows: Vec<PreparedRow>) {
        if self.spare.len() < 64 {
            rows.clear();
            self.spare.push(rows);
        }
    }

    /// Whether the change at a position is prepared and not decided.
    pub fn is_undecided(&self, partition: u16, position: u64) -> bool {
        let open = self.transactions.iter().filter(|((_, at), found)| *at == partition && !found.committed);
        open.flat_map(|(_, found)| &found.rows).any(|row| row.position == position)
    }
}

impl LocalDataManager {
    /// The position of a chain signal for a backup fragment; false when it is not for this replica.
    pub(super) fn takes_position(
        &mut self,
        planted_bug: u32,
        partition: u16,
        cfg: u64,
        position: u64,
    ) -> bool {
        let fragment = self.fragments.get_mut(usize::from(partition)).and_then(Option::as_mut);
        let Some(fragment) =
            fragment.filter(|fragment| matches!(fragment.role, Role::Backup { .. }) && fragment.cfg == cfg)
        else {
            return false;
        };
        assert!(
            position == fragment.seq + 1 || planted_bug == ANY_POSITION,
            "positions of partition {partition} are dense: {position} after {}",
            fragment.seq
        );
        fragment.seq = position;
        if !fragment.accept_due {
            fragment.accept_due = true;
            self.accept_due.push(partition);
        }
        true
    }

    /// PREPARE_B at the backup.
    pub(super) fn prepare_row(&mut self, context: &mut Context<'_>, lane: u16, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<PrepareRow>() else { return };
        let (partition, position) = (body.partition.get(), body.position.get());
        if !self.takes_position(context.planted_bug, partition, body.cfg.get(), position) {
            context.out.errors += 1;
            return;
        }
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        let row = self.prepare_image(context, partition, body, signal.section(0), signal.section(1));
        let PreparedTransactions { transactions, spare } = &mut self.prepared;
        let found = transactions.entry((transaction, partition)).or_insert_with(|| PreparedTransaction {
            rows: spare.pop().unwrap_or_default(),
            home: false,
            coordinator: (body.coordinator_node.get(), body.coordinator.get() as u8, body.handle.get()),
            orphan: !context
                .map
                .state
                .view
                .members()
                .any(|member| member.node == body.coordinator_node.get()),
            epoch: 0,
            code: 0,
            whole: false,
            committed: false,
        });
        match row {
            Ok(Some(row)) => {
                found.rows.push(row);
                self.pending_of_table[row.table] += 1;
            }
            Ok(None) => {}
            Err(_) => {
                found.code = ErrorCode::BackupOutOfMemory as u16;
                let fragment = self.fragments[usize::from(partition)].as_ref();
                self.copies.lacks_memory |= fragment.is_some_and(|fragment| fragment.joining);
            }
        }
        let last = body.flags & FLAG_LAST != 0;
        found.whole |= last;
        let code = found.code;
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        if body.flags & FLAG_HOME != 0 {
            found.home = true;
            let mut outcome = Outcome {
                transaction_seq: transaction.seq,
                state: OutcomeState::InProgress { seq: position },
                version: RowVersion { epoch: body.epoch.get(), seq: position },
                result_bytes: 0,
                result: [0; 16],
            };
            let result = signal.section(2);
            if let Some(room) = outcome.result.get_mut(..result.len()) {
                room.copy_from_slice(result);
                outcome.result_bytes = result.len() as u8;
            }
            fragment.outcomes.put(transaction.session, body.resolved_below.get(), outcome);
        }
        if position.is_multiple_of(EXPIRE_EVERY) {
            fragment.outcomes.expire(body.epoch.get());
        }
        if last {
            let me = context.out.identity.sender.node;
            let primary = match fragment.role {
                Role::Backup { primary } => primary,
                Role::Primary { .. } | Role::Elsewhere { .. } => me,
            };
            let mut replicas = [0; 8];
            (replicas[0], replicas[1]) = (primary as u8, me as u8);
            let answer = Prepared {
                partition: partition.into(),
                code: code.into(),
                node: me.into(),
                epoch: context.epoch.into(),
                replicas,
            };
            let (node, number) = (body.coordinator_node.get(), body.coordinator.get() as u8);
            let handle = Handle { number, transaction: body.handle.get() };
            context.out.post(Address::Coordinator { node, lane, number }, handle, &answer, Sections::none());
        }
    }

    /// Makes the image of a prepared row at the backup.
    fn prepare_image(
        &mut self,
        context: &Context<'_>,
        partition: u16,
        body: &PrepareRow,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<PreparedRow>, OutOfMemory> {
        if !matches!(body.operation, OPERATION_PUT | OPERATION_DELETE) {
            return Ok(None);
        }
        let Some((table, _)) = context.map.table(body.table.get()) else {
            unreachable!("table {} is used by the primary before every node has it", body.table.get());
        };
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return Ok(None) };
        let (stored, local) = (&mut fragment.tables[table], context.map.table_in(table));
        let hash = key_hash(key);
        let found = stored.rows.find(&self.arena, hash, key);
        let (row, position) = (found.unwrap_or(RowHandle::NULL), body.position.get());
        let mut prepared = PreparedRow { table, hash, row, image: RowHandle::NULL, position };
        if body.operation == OPERATION_PUT {
            let header = RowHeader {
                epoch: body.epoch.get(),
                sequence: body.position.get(),
                table_version: body.table_version.get(),
                state: if found.is_some() { row_state::IMAGE } else { row_state::HELD_ABSENT },
                older: RowHandle::NULL,
            };
            prepared.image = self.arena.allocate_row(&header, key, value, Priority::Normal)?;
            // Now, so that there is nothing left that could fail when the commit comes.
            let entered = match found {
                Some(_) => stored.enter(&mut self.arena, local, found, None, prepared.image),
                None => stored.insert(&mut self.arena, local, hash, prepared.image),
            };
            if let Err(error) = entered {
                self.arena.free(prepared.image);
                return Err(error);
            }
        }
        Ok(Some(prepared))
    }

    pub(super) fn commit_at_backup(
        &mut self,
        context: &mut Context<'_>,
        partition: u16,
        transaction: TransactionId,
        epoch: u64,
    ) {
        let Some(found) = self.prepared.transactions.get_mut(&(transaction, partition)) else {
            let again = context.map.state.view.number > 1;
            assert!(
                again || matches!(context.planted_bug, 5..=7),
                "{transaction} commits what is not prepared here"
            );
            return;
        };
        if found.committed && context.map.state.view.number > 1 {
            return;
        }
        assert!(found.whole && found.code == 0, "{transaction} commits what is not wholly prepared");
        (found.committed, found.epoch) = (true, epoch);
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        for prepared in &found.rows {
            let (stored, table) =
                (&mut fragment.tables[prepared.table], context.map.table_in(prepared.table));
            self.pending_of_table[prepared.table] -= 1;
            context.counters.writes_applied += 1;
            if prepared.image.is_null() {
                if !prepared.row.is_null() {
                    stored.remove(&mut self.arena, table, prepared.hash, prepared.row);
                }
                continue;
            }
            let header = RowHeader {
                epoch,
                sequence: prepared.position,
                state: row_state::COMMITTED,
                ..self.arena.row(prepared.image).header()
            };
            self.arena.set_header(prepared.image, &header);
            if !prepared.row.is_null() {
                assert_rises(self.arena.row(prepared.row).epoch(), epoch);
                stored.put(&mut self.arena, table, prepared.hash, prepared.row, prepared.image);
            }
        }
        let rows = std::mem::take(&mut found.rows);
        if found.home {
            fragment.outcomes.commit(transaction, epoch);
        }
        self.prepared.recycle(rows);
    }

    /// ABORT at the backup.
    pub(super) fn abort_prepared(&mut self, context: &mut Context<'_>, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<AbortPrepared>() else { return };
        let (partition, position) = (body.partition.get(), body.position.get());
        // Planted bug: straight from the coordinator, without a position.
        let straight = context.planted_bug == 5 && position == 0;
        if !straight && !self.takes_position(context.planted_bug, partition, body.cfg.get(), position) {
            context.out.errors += 1;
            return;
        }
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        let Some(found) = self.prepared.transactions.remove(&(transaction, partition)) else {
            // Before this replica was in the chain.
            let joining = self.fragments[usize::from(partition)].as_ref().is_some_and(|at| at.joining);
            assert!(joining || context.planted_bug != 0, "{transaction} aborts what is not prepared here");
            return;
        };
        assert!(!found.committed, "{transaction} aborts what it has committed");
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        for prepared in &found.rows {
            self.pending_of_table[prepared.table] -= 1;
            if prepared.image.is_null() {
                continue;
            }
            let (stored, table) =
                (&mut fragment.tables[prepared.table], context.map.table_in(prepared.table));
            if prepared.row.is_null() {
                stored.remove(&mut self.arena, table, prepared.hash, prepared.image);
            } else {
                stored.leave(&mut self.arena, table, Some(prepared.row), prepared.image);
                self.arena.free(prepared.image);
            }
        }
        if found.home {
            fragment.outcomes.remove(transaction);
        }
        if position.is_multiple_of(EXPIRE_EVERY) && !straight {
            fragment.outcomes.expire(body.epoch.get());
        }
        self.prepared.recycle(found.rows);
    }
}
