//! Rows from before a unique index are entered into it (PROTOCOL.md, counterexample 35).
//!
//! The entries are on other nodes, so this is the primary's business and done by transactions: for each row one that locks
//! the row, derives its entries in the indexes that are being built, inserts them, and commits. It is idempotent: an entry
//! that is there already stays. The transaction is run by a coordinator of this node as those of single writes are, and is told
//! apart by having no outcome record, for nobody will ask.
//!
//! All keys are visited that are in the fragment when the index becomes known, in the order of a full scan, those of
//! inserts that are on their way and of locks without rows included. So whatever was executed before the index was known, and
//! derived no entries, is met: it holds the lock of its row until it ends, and the transaction that enters the row waits for
//! it. Operations that are executed later derive the entries themselves. After a change of the primary the new one begins
//! anew.

use crate::ldm::fragment::row_state;
use crate::ldm::{Context, LocalDataManager};
use crate::map::{ClusterMap, LocalTable, Role};
use crate::outbox::{Address, Handle};
use duet_protocol::error::ErrorCode;
use duet_protocol::hash::key_hash;
use duet_protocol::ids::session_id;
use duet_protocol::row::RowView;
use duet_protocol::schema::IndexState;
use duet_protocol::signal::operate::OPERATION_ENTER_ROW;
use duet_protocol::signal::row_entered::RowEntered;
use duet_protocol::signal::two_phase_write::{LOCAL_DATA_MANAGER, TwoPhaseWrite};
use duet_protocol::signal::write::Write;
use duet_protocol::signal::{Sections, SignalView, append_signal};
use std::collections::VecDeque;

/// Rows that are being entered at a time.
const MAX_UNDER_WAY: usize = 256;
/// Most buckets visited in one turn.
const BUCKETS_PER_TURN: usize = 1_000;
/// Sessions of these transactions are above all others: of a circle of waiting transactions theirs are rolled back.
const SESSION_MARK: u64 = 1 << 39;
/// Longest reason, in characters.
const MAX_REASON: usize = 300;

/// Why a unique index cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRefusal {
    /// Id of the index.
    pub index: u32,
    /// The error for its creator.
    pub code: ErrorCode,
    /// What exactly.
    pub detail: String,
}

/// The rows of a fragment that are being entered into a unique index.
#[derive(Debug)]
pub(super) struct Entering {
    partition: u16,
    slot: usize,
    index: u32,
    session: u64,
    /// Where the scan goes on; `None` at its end.
    cursor: Option<u64>,
    /// Keys that were found and wait for their turn.
    keys: VecDeque<Vec<u8>>,
    /// Requests to coordinators without an answer.
    under_way: Vec<(u64, Vec<u8>)>,
    refused: bool,
}

impl Entering {
    fn is_done(&self) -> bool {
        self.cursor.is_none() && self.keys.is_empty() && self.under_way.is_empty() && !self.refused
    }
}

impl LocalDataManager {
    /// Begins to enter rows into the unique indexes that the state which was just installed opened for writes, and ceases
    /// where that is not, or no longer, this replica's business.
    pub fn begin_entering(&mut self, map: &ClusterMap, node: u32, epoch: u64) {
        let fragments = &self.fragments;
        let led = |partition: u16| {
            let fragment = fragments.get(usize::from(partition)).and_then(Option::as_ref);
            fragment.is_some_and(|fragment| matches!(fragment.role, Role::Primary { .. }))
        };
        let is_built = |slot: usize, id: u32| {
            let table = map.tables.get(slot).and_then(Option::as_ref);
            let index = table.and_then(|table| table.unique.iter().find(|index| index.id == id));
            index.is_some_and(|index| index.state == IndexState::WriteOnly)
        };
        self.entering.retain(|entering| led(entering.partition) && is_built(entering.slot, entering.index));
        for partition in self.fragments.iter().flatten().map(|fragment| fragment.partition) {
            if !led(partition) {
                continue;
            }
            for (slot, table) in map.tables.iter().enumerate() {
                let unique = table.iter().flat_map(|table| &table.unique);
                for index in unique.filter(|index| index.state == IndexState::WriteOnly).map(|index| index.id)
                {
                    let is_known = |known: &Entering| known.partition == partition && known.index == index;
                    if !self.entering.iter().any(is_known) {
                        self.entering.push(Entering {
                            partition,
                            slot,
                            index,
                            session: session_id(epoch | SESSION_MARK, node, partition),
                            cursor: Some(0),
                            keys: VecDeque::new(),
                            under_way: Vec::new(),
                            refused: false,
                        });
                    }
                }
            }
        }
    }

    /// Unique indexes of fragments led here whose rows are entered, and how much of them is done.
    pub(super) fn entering_progress(&self, thousandths: impl Fn(u64) -> u64) -> (u64, u64) {
        let done = self.entering.iter().map(|entering| match entering.cursor {
            Some(cursor) => thousandths(cursor),
            None if entering.is_done() => 1_000,
            None => 999,
        });
        (self.entering.len() as u64, done.sum())
    }

    /// Whether rows have to be entered into unique indexes yet.
    pub(super) fn is_entering(&self) -> bool {
        self.entering.iter().any(|entering| !entering.is_done())
    }

    /// Why a unique index cannot be built, once.
    pub fn take_index_refusal(&mut self) -> Option<IndexRefusal> {
        self.index_refusal.take()
    }

    /// Sends the next rows to coordinators.
    pub(super) fn enter_slice(&mut self, context: &mut Context<'_>) {
        let mut room =
            MAX_UNDER_WAY.saturating_sub(self.entering.iter().map(|each| each.under_way.len()).sum());
        let mut buckets = BUCKETS_PER_TURN;
        for number in 0..self.entering.len() {
            while room > 0 && !self.entering[number].refused {
                let entering = &mut self.entering[number];
                if let Some(key) = entering.keys.pop_front() {
                    room -= 1;
                    self.enter_row(context, number, key);
                    continue;
                }
                let (Some(cursor), Some(fragment)) =
                    (entering.cursor, &self.fragments[usize::from(entering.partition)])
                else {
                    break;
                };
                if buckets == 0 {
                    return;
                }
                buckets -= 1;
                let arena = &self.arena;
                let keys = &mut entering.keys;
                entering.cursor = fragment.tables[entering.slot].rows.scan_step(arena, cursor, |row| {
                    keys.push_back(arena.key(row).to_vec());
                });
            }
        }
    }

    fn enter_row(&mut self, context: &mut Context<'_>, number: usize, key: Vec<u8>) {
        self.entered += 1;
        let request = self.entered;
        let entering = &mut self.entering[number];
        let Some(Some(table)) = context.map.tables.get(entering.slot) else { return };
        let write = Write {
            table: table.id.into(),
            table_version: table.version.into(),
            operation: OPERATION_ENTER_ROW,
            session: entering.session.into(),
            seq: request.into(),
            ..Write::default()
        };
        self.batch.clear();
        append_signal(&mut self.batch, 0, request, &write, Sections::one(&key));
        let coordinator = (entering.partition % self.coordinators) as u8;
        let body = TwoPhaseWrite {
            link_slot: LOCAL_DATA_MANAGER.into(),
            request: request.into(),
            partition: entering.partition.into(),
            ..TwoPhaseWrite::default()
        };
        let node = context.out.identity.sender.node;
        let lane = context.map.partitions[usize::from(entering.partition)].lane;
        let to = Address::Coordinator { node, lane, number: coordinator };
        let handle = Handle { number: coordinator, transaction: 0 };
        context.out.post(to, handle, &body, Sections::one(&self.batch));
        entering.under_way.push((request, key));
    }

    /// A coordinator tells what became of a row.
    pub(super) fn row_entered(&mut self, context: &Context<'_>, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<RowEntered>() else { return };
        let request = body.request.get();
        let mut found = None;
        for (number, entering) in self.entering.iter_mut().enumerate() {
            if let Some(place) = entering.under_way.iter().position(|(sent, _)| *sent == request) {
                found = Some((number, entering.under_way.swap_remove(place).1));
                break;
            }
        }
        // It was for an index that is given up, or a fragment that is led by another node now.
        let Some((number, key)) = found else { return };
        if body.code.get() == 0 {
            return;
        }
        let code = ErrorCode::from_number(body.code.get()).unwrap_or(ErrorCode::Internal);
        let entering = &mut self.entering[number];
        let no_memory = matches!(code, ErrorCode::OutOfMemory | ErrorCode::BackupOutOfMemory);
        if code.is_retryable() && !no_memory {
            return entering.keys.push_back(key);
        }
        entering.refused = true;
        entering.keys.clear();
        let (index, slot, partition) = (entering.index, entering.slot, entering.partition);
        let (code, detail) = match code {
            _ if no_memory => (ErrorCode::IndexGivenUp, "no memory is left for it".to_owned()),
            ErrorCode::UniqueViolation => {
                let table = context.map.tables.get(slot).and_then(Option::as_ref);
                let named =
                    table.and_then(|table| self.duplicate(context, table, slot, partition, index, &key));
                let detail = named.unwrap_or_else(|| String::from_utf8_lossy(signal.section(0)).into_owned());
                (code, detail)
            }
            code => (code, String::from_utf8_lossy(signal.section(0)).into_owned()),
        };
        let detail = detail.chars().take(MAX_REASON).collect();
        self.index_refusal = Some(IndexRefusal { index, code, detail });
    }

    /// The sentence that names a row whose values in an index another row has too.
    fn duplicate(
        &self,
        context: &Context<'_>,
        table: &LocalTable,
        slot: usize,
        partition: u16,
        index: u32,
        key: &[u8],
    ) -> Option<String> {
        let index = table.unique.iter().find(|known| known.id == index)?;
        let stored = self.fragments.get(usize::from(partition))?.as_ref()?.tables.get(slot)?;
        let row = self.arena.row(stored.rows.find(&self.arena, key_hash(key), key)?);
        if !row_state::is_visible(row.state()) {
            return None;
        }
        let newest = table.layouts.newest();
        let mut scratch = Vec::new();
        let (value, version) = table.image_for(row.value, row.table_version(), newest, &mut scratch);
        let layout = table.layouts.of_row(version);
        let view = RowView::new(layout, key, value);
        let text = |columns: &[u16]| {
            let values = columns.iter().map(|column| match view.column(usize::from(*column)) {
                Ok(value) => value.to_string(),
                Err(error) => error.to_string(),
            });
            values.collect::<Vec<_>>().join(", ")
        };
        let (values, name) = (text(index.layout.columns()), &index.name);
        let known = context.map.state.tables.iter().find(|known| known.id == table.id)?;
        let row = text(&known.definition.primary_key);
        Some(format!("index '{name}': the row with primary key ({row}) and another one both have ({values})"))
    }
}
