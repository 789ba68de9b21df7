//! What is committed here as primary, in the order in which it is exposed. Kept only where somebody asked for it: the
//! simulator, which judges the epochs of all commits.

use crate::ldm::fragment::{PendingKind, PendingWrite};
use crate::ldm::lock::Change;
use crate::ldm::{Context, LocalDataManager};
use duet_memory::RowHandle;
use duet_protocol::ids::{RowVersion, TransactionId};

/// A row that was put or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedChange {
    /// Partition.
    pub partition: u16,
    /// Table id.
    pub table: u32,
    /// Primary key.
    pub key: Vec<u8>,
    /// The row from now on; none when it was removed.
    pub value: Option<Vec<u8>>,
    /// Commit epoch and position.
    pub version: RowVersion,
    /// The transaction.
    pub transaction: TransactionId,
}

impl LocalDataManager {
    /// Remembers all commits from now on.
    pub fn keep_journal(&mut self) {
        self.journal.get_or_insert_default();
    }

    /// Takes what was remembered.
    pub fn take_journal(&mut self) -> Vec<CommittedChange> {
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A one-pass write is exposed now.
    #[cold]
    pub(super) fn journal_write(&mut self, context: &Context<'_>, partition: u16, pending: &PendingWrite) {
        let (row, deleted) = match pending.kind {
            PendingKind::Insert | PendingKind::Update => (pending.image, false),
            PendingKind::Delete => (pending.row, true),
            PendingKind::Fence | PendingKind::Note => return,
        };
        self.journal_row(
            context,
            (partition, pending.table),
            row,
            deleted,
            pending.version,
            pending.transaction,
        );
    }

    /// The change of a locked row is exposed now.
    #[cold]
    pub(super) fn journal_change(&mut self, context: &Context<'_>, number: u32, epoch: u64) {
        let lock = self.locks.get(number);
        let (row, deleted) = match lock.change {
            Change::None => return,
            Change::Put(image) => (image, false),
            Change::Delete => (lock.row, true),
        };
        let version = RowVersion { epoch, seq: lock.position };
        let place = (lock.place.partition, lock.place.table);
        let Some(holder) = lock.holders.first() else { return };
        let transaction = self.participants.get(*holder).transaction;
        self.journal_row(context, place, row, deleted, version, transaction);
    }

    fn journal_row(
        &mut self,
        context: &Context<'_>,
        (partition, slot): (u16, usize),
        row: RowHandle,
        deleted: bool,
        version: RowVersion,
        transaction: TransactionId,
    ) {
        let table = context.map.tables.get(slot).and_then(Option::as_ref).map_or(0, |table| table.id);
        let key = self.arena.key(row).to_vec();
        let value = (!deleted).then(|| self.arena.value(row).to_vec());
        if let Some(journal) = &mut self.journal {
            journal.push(CommittedChange { partition, table, key, value, version, transaction });
        }
    }
}
