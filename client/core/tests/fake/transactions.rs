//! Transactions of the fake cluster: one coordinator's view without waiting. Whoever meets another's lock is refused at once.

use super::{FakeCluster, Record, error};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::FrameBuilder;
use duet_protocol::ids::{RowVersion, TransactionId};
use duet_protocol::signal::commit_transaction::CommitTransaction;
use duet_protocol::signal::operate::{
    FLAG_EXPECT_VERSION, FLAG_IGNORE_EXISTING, FLAG_IGNORE_MISSING, OPERATION_READ, OPERATION_READ_EXCLUSIVE,
    OPERATION_READ_SHARED, Operate,
};
use duet_protocol::signal::operate_reply::{FLAG_IGNORED, OperateReply};
use duet_protocol::signal::rollback_transaction::RollbackTransaction;
use duet_protocol::signal::transaction_reply::{OUTCOME_ABORTED, OUTCOME_COMMITTED, TransactionReply};
use duet_protocol::signal::write::{OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE};
use duet_protocol::signal::{Sections, SignalView};
use duet_protocol::update::apply_update;
use std::collections::BTreeMap;

type Place = (u32, Vec<u8>);

/// A transaction that was begun and not ended.
#[derive(Debug, Default)]
pub(super) struct OpenTransaction {
    node: u32,
    operations: u32,
    failure: Option<ErrorCode>,
    /// Rows as they will be; none where they are deleted.
    changes: BTreeMap<Place, Option<Vec<u8>>>,
    /// Locked rows, and whether by itself alone.
    locks: BTreeMap<Place, bool>,
}

impl FakeCluster {
    /// Number of transactions that were begun and not ended.
    pub fn open_transactions(&self) -> usize {
        self.transactions.len()
    }

    /// All links were lost, and with them all transactions.
    pub fn lose_transactions(&mut self) {
        self.transactions.clear();
    }

    /// Answers a request that belongs to a transaction; false for all others.
    pub(super) fn transaction_request(
        &mut self,
        node: u32,
        signal: &SignalView<'_>,
        out: &mut FrameBuilder,
    ) -> bool {
        let id = signal.request_id();
        let named = |session: u64, seq: u64| TransactionId { session, seq };
        if let Some(body) = signal.body::<Operate>() {
            let transaction = named(body.session.get(), body.seq.get());
            match self.operate(node, transaction, body, signal) {
                Ok((reply, row)) => {
                    if reply.code.get() != 0 && !is_missing_read(body, &reply) {
                        self.fail(transaction);
                    }
                    out.push(0, id, &reply, Sections::one(&row));
                }
                Err(code) => {
                    self.fail(transaction);
                    error(out, id, code, node);
                }
            }
        } else if let Some(body) = signal.body::<CommitTransaction>() {
            match self.commit(node, named(body.session.get(), body.seq.get()), body) {
                Ok(epoch) => ended(out, id, OUTCOME_COMMITTED, epoch),
                Err(code) => error(out, id, code, node),
            }
        } else if let Some(body) = signal.body::<RollbackTransaction>() {
            match self.transactions.remove(&named(body.session.get(), body.seq.get())) {
                Some(_) => ended(out, id, OUTCOME_ABORTED, 0),
                None => error(out, id, ErrorCode::UnknownTransaction, node),
            }
        } else {
            return false;
        }
        true
    }

    fn fail(&mut self, transaction: TransactionId) {
        if let Some(open) = self.transactions.get_mut(&transaction) {
            open.failure.get_or_insert(ErrorCode::TransactionFailed);
            open.changes.clear();
            open.locks.clear();
        }
    }

    fn operate(
        &mut self,
        node: u32,
        transaction: TransactionId,
        body: &Operate,
        signal: &SignalView<'_>,
    ) -> Result<(OperateReply, Vec<u8>), ErrorCode> {
        assert!(transaction.session != 0 && transaction.seq != 0, "transactions have ids");
        let number = body.number.get();
        if number == 1 {
            let new = OpenTransaction { node, ..OpenTransaction::default() };
            assert!(self.transactions.insert(transaction, new).is_none(), "a transaction began twice");
        }
        let open = self.transactions.get_mut(&transaction).ok_or(ErrorCode::UnknownTransaction)?;
        assert_eq!(open.node, node, "a transaction lives at one node");
        if let Some(code) = open.failure {
            return Err(code);
        }
        open.operations += 1;
        assert_eq!(number, open.operations, "operations are numbered");
        self.known_table(body.table.get(), body.table_version.get())?;
        let place = (body.table.get(), signal.section(0).to_vec());
        if body.operation != OPERATION_READ {
            self.lock(transaction, &place, body.operation != OPERATION_READ_SHARED)?;
        }
        let committed = self.rows.get(&place).cloned();
        let version = committed.as_ref().map(|(version, _)| *version).unwrap_or_default();
        let open = self.transactions.get_mut(&transaction).ok_or(ErrorCode::UnknownTransaction)?;
        let current = match open.changes.get(&place) {
            Some(changed) => changed.clone(),
            None => committed.map(|(_, value)| value),
        };
        let mut reply = OperateReply {
            number: number.into(),
            table_version: body.table_version,
            node: node.into(),
            epoch: version.epoch.into(),
            seq: version.seq.into(),
            ..OperateReply::default()
        };
        let reads = [OPERATION_READ, OPERATION_READ_SHARED, OPERATION_READ_EXCLUSIVE];
        if reads.contains(&body.operation) {
            let code = if current.is_some() { 0 } else { ErrorCode::RowNotFound as u16 };
            reply.code = code.into();
            return Ok((reply, current.unwrap_or_default()));
        }
        let expected = RowVersion { epoch: body.expected_epoch.get(), seq: body.expected_seq.get() };
        let (refused, accepted) = match (&current, body.operation) {
            (Some(_), OPERATION_INSERT) => (Some(ErrorCode::DuplicateKey), FLAG_IGNORE_EXISTING),
            (None, OPERATION_UPDATE | OPERATION_DELETE) => {
                (Some(ErrorCode::RowNotFound), FLAG_IGNORE_MISSING)
            }
            _ if body.flags & FLAG_EXPECT_VERSION != 0 && expected != version => {
                (Some(ErrorCode::VersionMismatch), 0)
            }
            _ => (None, 0),
        };
        if let Some(code) = refused {
            match body.flags & accepted {
                0 => reply.code = (code as u16).into(),
                _ => reply.flags = FLAG_IGNORED.into(),
            }
            return Ok((reply, Vec::new()));
        }
        let payload = signal.section(1);
        let changed = match (body.operation, current) {
            (OPERATION_DELETE, _) => None,
            (OPERATION_UPDATE, Some(old)) => {
                let mut image = Vec::new();
                let layout = &self.layouts[&body.table.get()];
                let sum = apply_update(layout, &old, payload, &mut image);
                let sum = sum.map_err(|error| error.refusal())?;
                reply.result[..sum.as_bytes().len()].copy_from_slice(sum.as_bytes());
                reply.result_bytes = (sum.as_bytes().len() as u16).into();
                Some(image)
            }
            _ => Some(payload.to_vec()),
        };
        open.changes.insert(place, changed);
        Ok((reply, Vec::new()))
    }

    fn lock(&mut self, transaction: TransactionId, place: &Place, alone: bool) -> Result<(), ErrorCode> {
        let others = self.transactions.iter().filter(|(id, _)| **id != transaction);
        let mut held = others.filter_map(|(_, open)| open.locks.get(place));
        if held.any(|held_alone| alone || *held_alone) {
            return Err(ErrorCode::LockTimeout);
        }
        if let Some(open) = self.transactions.get_mut(&transaction) {
            *open.locks.entry(place.clone()).or_default() |= alone;
        }
        Ok(())
    }

    fn commit(
        &mut self,
        node: u32,
        transaction: TransactionId,
        body: &CommitTransaction,
    ) -> Result<u64, ErrorCode> {
        let open = self.transactions.remove(&transaction).ok_or(ErrorCode::UnknownTransaction)?;
        assert_eq!(open.node, node, "a transaction lives at one node");
        if let Some(code) = open.failure {
            return Err(code);
        }
        if open.changes.is_empty() {
            return Ok(self.epoch);
        }
        let home = self.state.partition_of(body.partition_hash.get()).expect("formed");
        if self.known_record(home, transaction)?.is_some() {
            return Err(ErrorCode::Aborted);
        }
        let mut version = RowVersion { epoch: self.epoch, seq: self.seq };
        for (place, changed) in open.changes {
            version.seq += 1;
            match changed {
                Some(image) => self.rows.insert(place, (version, image)),
                None => self.rows.remove(&place),
            };
        }
        self.seq = version.seq;
        let below = body.resolved_below.get().min(transaction.seq);
        self.note_resolved_below(home, transaction.session, below);
        self.records.insert((home, transaction), Record { committed: Some((version, [0; 16], 0)) });
        Ok(version.epoch)
    }
}

fn is_missing_read(body: &Operate, reply: &OperateReply) -> bool {
    let reads = [OPERATION_READ, OPERATION_READ_SHARED, OPERATION_READ_EXCLUSIVE];
    reads.contains(&body.operation) && reply.code.get() == ErrorCode::RowNotFound as u16
}

fn ended(out: &mut FrameBuilder, id: u64, outcome: u16, epoch: u64) {
    let body =
        TransactionReply { outcome: outcome.into(), epoch: epoch.into(), ..TransactionReply::default() };
    out.push(0, id, &body, Sections::none());
}
