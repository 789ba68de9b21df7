//! A fragment: one replica of one partition, with all its tables.

use crate::ldm::copy::Copy;
use crate::ldm::outcome::{OutcomeTable, RecordPlace};
use crate::ldm::queue::QueueEnds;
use crate::ldm::stored::StoredTable;
use crate::map::{LocalTable, Role};
use crate::outbox::ReplyTo;
use duet_memory::RowHandle;
use duet_protocol::ids::{RowVersion, TransactionId};
use std::collections::VecDeque;

/// Row states, kept in the header of the row.
pub mod row_state {
    /// Committed, nothing under way.
    pub const COMMITTED: u8 = 0;
    /// Committed, and locked by the pending write whose position is in the `older` field.
    pub const LOCKED: u8 = 1;
    /// In the index but not visible: an insert under way.
    pub const PENDING_INSERT: u8 = 2;
    /// The image of a pending update, not in the index.
    pub const IMAGE: u8 = 3;
    /// Committed, and locked by transactions; the number of the lock is in the `older` field.
    pub const HELD: u8 = 4;
    /// No row: the lock of transactions on its key; the number of the lock is in the `older` field. At a backup the
    /// image of a prepared insert.
    pub const HELD_ABSENT: u8 = 6;

    /// Whether readers see the row: all states with this bit unset.
    const INVISIBLE: u8 = 2;

    /// Whether readers see a row in this state.
    #[inline(always)]
    pub fn is_visible(state: u8) -> bool {
        state & INVISIBLE == 0
    }
}

/// What a pending write does when it commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingKind {
    /// Makes the image the row of a new key.
    Insert,
    /// Replaces the row by the image.
    Update,
    /// Removes the row.
    Delete,
    /// Records the transaction as aborted.
    Fence,
    /// A change that a transaction of several rows prepared, or its end: decided elsewhere, only its position counts here.
    Note,
}

/// A write that was sent to the backup and is not accepted yet.
#[derive(Debug)]
pub struct PendingWrite {
    /// What it does.
    pub kind: PendingKind,
    /// Version that the row gets.
    pub version: RowVersion,
    /// Its transaction.
    pub transaction: TransactionId,
    /// Where its outcome record was put.
    pub record: RecordPlace,
    /// Slot of the table.
    pub table: usize,
    /// Hash of the primary key.
    pub hash: u64,
    /// The committed row, null for an insert.
    pub row: RowHandle,
    /// The new image, null for a delete.
    pub image: RowHandle,
    /// Small result for the answer.
    pub result_bytes: u8,
    /// Small result for the answer.
    pub result: [u8; 16],
    /// Who asked for the write.
    pub reply: Option<ReplyTo>,
    /// Who asked what became of it.
    pub resolver: Option<ReplyTo>,
    /// Code with which the backup refused it, 0 if it did not.
    pub refused: u16,
    /// Writes that wait for the row.
    pub waiting: QueueEnds,
}

impl PendingWrite {
    /// A position that changes no row.
    pub fn without_row(kind: PendingKind, version: RowVersion, transaction: TransactionId) -> PendingWrite {
        PendingWrite {
            kind,
            version,
            transaction,
            record: RecordPlace::default(),
            table: 0,
            hash: 0,
            row: RowHandle::NULL,
            image: RowHandle::NULL,
            result_bytes: 0,
            result: [0; 16],
            reply: None,
            resolver: None,
            refused: 0,
            waiting: QueueEnds::EMPTY,
        }
    }
}

/// One replica of one partition.
#[derive(Debug)]
pub struct Fragment {
    /// Partition.
    pub partition: u16,
    /// Role of this node.
    pub role: Role,
    /// Fragment configuration.
    pub cfg: u64,
    /// Last position given out (primary) or applied (backup).
    pub seq: u64,
    /// Lane to the other replica, if there is one.
    pub lane: Option<usize>,
    /// Rows and indexes of each table by slot.
    pub tables: Vec<StoredTable>,
    /// Writes at the backup, in order of their positions; the last one has position `seq`.
    pub pending: VecDeque<PendingWrite>,
    /// Tables whose prepared rows were taken back at this position, until the backup has taken them back too.
    pub taken_back: VecDeque<(u64, usize)>,
    /// Outcome records.
    pub outcomes: OutcomeTable,
    /// Backup: positions were applied since the last acknowledgement.
    pub accept_due: bool,
    /// It was taken over and may not answer yet.
    pub warming: bool,
    /// Primary: nothing new is begun, so that the other replica can lead it.
    pub closing: bool,
    /// Primary: the copy to a joining replica, until that has accepted its end.
    pub copy: Option<Box<Copy>>,
    /// This replica joins: what was there before it was in the chain is still on its way.
    pub joining: bool,
}

impl Fragment {
    /// An empty fragment.
    pub fn new(
        partition: u16,
        role: Role,
        cfg: u64,
        lane: Option<usize>,
        outcomes: OutcomeTable,
    ) -> Fragment {
        Fragment {
            partition,
            role,
            cfg,
            seq: 0,
            lane,
            tables: Vec::new(),
            pending: VecDeque::new(),
            taken_back: VecDeque::new(),
            outcomes,
            accept_due: false,
            warming: false,
            closing: false,
            copy: None,
            joining: false,
        }
    }

    /// Makes room for these tables and their ordered indexes.
    pub fn ensure_tables(&mut self, tables: &[Option<LocalTable>]) {
        self.tables.resize_with(tables.len().max(self.tables.len()), StoredTable::new);
        for (stored, table) in self.tables.iter_mut().zip(tables) {
            stored.ensure_indexes(table.as_ref().map_or(&[], |table| &table.ordered));
        }
    }

    /// Gives out the next position to something that is decided elsewhere.
    pub fn note(&mut self, epoch: u64, transaction: TransactionId) -> u64 {
        self.seq += 1;
        let version = RowVersion { epoch, seq: self.seq };
        self.pending.push_back(PendingWrite::without_row(PendingKind::Note, version, transaction));
        self.seq
    }

    /// Position of the oldest pending write.
    pub fn first_pending(&self) -> u64 {
        self.seq + 1 - self.pending.len() as u64
    }

    /// The pending write at a position.
    pub fn pending_at(&mut self, seq: u64) -> Option<&mut PendingWrite> {
        let index = seq.checked_sub(self.first_pending())?;
        self.pending.get_mut(usize::try_from(index).ok()?)
    }

    /// The pending write whose position has these low 32 bits, as kept in a locked row.
    pub fn pending_of_lock(&mut self, lock: RowHandle) -> Option<&mut PendingWrite> {
        let distance = lock.to_u32().wrapping_sub(self.first_pending() as u32);
        self.pending.get_mut(distance as usize)
    }
}

/// The `older` field of a row that is locked by the pending write at `seq`.
pub fn lock_of(seq: u64) -> RowHandle {
    RowHandle::from_u32(seq as u32)
}
