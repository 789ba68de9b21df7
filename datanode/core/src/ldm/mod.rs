//! The local data manager: owner of the rows of its fragments. It answers committed reads and scans, leads the
//! one-pass writes of its primary fragments and applies those of its backup fragments.

mod build;
pub mod chain;
pub mod copy;
mod copy_in;
mod entering;
pub mod fragment;
mod hand_over;
pub mod journal;
pub mod lock;
pub mod operation;
pub mod outcome;
pub mod participant;
mod planted;
pub mod prepared;
pub mod purge;
pub mod queue;
pub mod range;
pub mod resolve;
mod rest;
pub mod scan;
pub mod stored;
pub mod takeover;
pub mod unique;
mod version;
pub mod write;

use crate::coordinator::GROUP;
use crate::interface::NodeCounters;
use crate::map::{ClusterMap, Role};
use crate::outbox::{Outbox, ReplyTo};
use copy::Copies;
use duet_memory::{Arena, ArenaOptions, MemoryBudget, OrderedIndex, Probe};
use duet_protocol::error::ErrorCode;
use duet_protocol::hash::key_hash;
use duet_protocol::ids::RowVersion;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::read_reply::ReadReply;
use duet_protocol::signal::scan_reply::{ScanRow, push_row};
use duet_protocol::signal::{Sections, SignalType, SignalView};
use entering::Entering;
pub use entering::IndexRefusal;
use fragment::{Fragment, row_state};
use journal::CommittedChange;
use lock::LockTable;
use outcome::OutcomeTable;
use participant::Participants;
use prepared::PreparedTransactions;
use purge::Purge;
use queue::WaitQueue;
use stored::StoredTable;
use takeover::ChangedFragment;
use unique::EntryScratch;

/// Rows of dropped tables freed in one turn.
const CLEAR_ROWS_PER_TURN: usize = 2_000;
/// Bytes of the memory budget for which one outcome record may be kept beside it (1/16 of it at 48 bytes a record).
const OUTCOME_SHARE: u64 = 16 * 48;
/// Outcome records that every fragment may keep, however small the budget.
const LEAST_OUTCOMES: usize = 4_096;

/// What the blocks of a thread share while one event is processed.
#[derive(Debug)]
pub struct Context<'a> {
    /// The installed cluster state.
    pub map: &'a ClusterMap,
    /// The node's epoch.
    pub epoch: u64,
    /// Whether no commit is accepted, for epochs do not close.
    pub stalled: bool,
    /// Where answers and chain signals go.
    pub out: &'a mut Outbox,
    /// Counters.
    pub counters: &'a mut NodeCounters,
    /// Planted bug of the simulator's tests, 0 for none.
    pub planted_bug: u32,
}

/// A request that the transaction coordinator has checked and routed to this LDM.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The request.
    pub signal: SignalView<'a>,
    /// Who asked.
    pub reply: ReplyTo,
    /// Partition; this node is its primary.
    pub partition: u16,
    /// Slot of the table.
    pub table: usize,
    /// Hash of the primary key.
    pub hash: u64,
}

/// What a replica holds at rest, to be compared with the other replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaDigest {
    /// Partition.
    pub partition: u16,
    /// Whether this node is the primary.
    pub primary: bool,
    /// Last position.
    pub last_seq: u64,
    /// Number of rows.
    pub rows: u64,
    /// Hash over all rows with versions, independent of their order.
    pub rows_hash: u64,
    /// Number of outcome records.
    pub outcomes: u64,
    /// Hash over all outcome records.
    pub outcomes_hash: u64,
}

/// The local data manager.
#[derive(Debug)]
pub struct LocalDataManager {
    arena: Arena,
    /// Most outcome records of all fragments.
    outcome_limit: usize,
    fragments: Vec<Option<Fragment>>,
    queue: WaitQueue,
    locks: LockTable,
    participants: Participants,
    /// Backup: what transactions have prepared here.
    prepared: PreparedTransactions,
    /// Dropped tables that are being freed.
    clearing: Vec<StoredTable>,
    /// Nodes of ordered indexes that are gone.
    clearing_indexes: Vec<OrderedIndex>,
    /// Whether an index is being built, or was given up.
    building: bool,
    /// Ordered indexes of fragments that are write-only: being built, or built here and waiting for others.
    write_only: u64,
    purge: Purge,
    /// Fragments whose rows are being entered into unique indexes.
    entering: Vec<Entering>,
    /// Rows given to coordinators for that.
    entered: u64,
    /// Why a unique index cannot be built, until it is told.
    index_refusal: Option<IndexRefusal>,
    /// Writes on their way, by table slot.
    pending_of_table: Vec<u32>,
    pending: u64,
    /// Fragments with an acknowledgement to send at the end of the burst.
    accept_due: Vec<u16>,
    /// Newest view that all its instances have installed.
    barrier: u64,
    /// Lanes whose fragments belong here.
    own_lanes: Vec<u16>,
    /// Whether a fragment that was taken over does not answer yet.
    warming: bool,
    copies: Copies,
    /// Attempt to hand over for which fragments are closed; 0 for none.
    closing: u64,
    /// Whether fragments were led here that coordinators of this node may still take for led.
    left: bool,
    image: Vec<u8>,
    /// An image in another version of its table than the one it is stored under.
    older_image: Vec<u8>,
    batch: Vec<u8>,
    /// Work of scans since the end of the last burst.
    scan_work: usize,
    /// Epoch that was told as drained: nothing is committed in it or before any more.
    pub drained: u64,
    /// Commits, where somebody wants to know them.
    journal: Option<Vec<CommittedChange>>,
    /// Changes of entries of unique indexes that the operation being executed needs.
    entries: EntryScratch,
    /// Number of coordinators of the node.
    pub(crate) coordinators: u16,
}

impl LocalDataManager {
    /// An LDM without fragments.
    ///
    /// # Errors
    /// A sentence when the address space cannot be reserved.
    pub fn new(budget: &MemoryBudget, options: ArenaOptions) -> Result<LocalDataManager, String> {
        let arena =
            Arena::new(budget.clone(), options).map_err(|error| format!("cannot reserve memory: {error}"))?;
        Ok(LocalDataManager {
            arena,
            outcome_limit: usize::try_from(budget.limit_bytes() / OUTCOME_SHARE).unwrap_or(usize::MAX),
            fragments: Vec::new(),
            queue: WaitQueue::default(),
            locks: LockTable::default(),
            participants: Participants::default(),
            prepared: PreparedTransactions::default(),
            clearing: Vec::new(),
            clearing_indexes: Vec::new(),
            building: false,
            write_only: 0,
            purge: Purge::default(),
            entering: Vec::new(),
            entered: 0,
            index_refusal: None,
            pending_of_table: Vec::new(),
            pending: 0,
            accept_due: Vec::new(),
            barrier: 0,
            own_lanes: Vec::new(),
            warming: false,
            copies: Copies::default(),
            closing: 0,
            left: false,
            image: Vec::new(),
            older_image: Vec::new(),
            batch: Vec::new(),
            scan_work: 0,
            drained: 0,
            journal: None,
            entries: EntryScratch::default(),
            coordinators: 1,
        })
    }

    /// The cluster state was installed: creates fragments (of the partitions that it owns) and tables, starts freeing
    /// `removed` table slots. Returns the fragments whose configuration is another one now, for
    /// [`LocalDataManager::settle_view`].
    pub fn install(
        &mut self,
        map: &ClusterMap,
        node: u32,
        removed: &[usize],
        owns: impl Fn(u16) -> bool,
        lane_of: impl Fn(u32, u16) -> Option<usize>,
    ) -> Vec<ChangedFragment> {
        let mut changed = Vec::new();
        let tables = map.tables.len();
        self.pending_of_table.resize(tables.max(self.pending_of_table.len()), 0);
        self.fragments.resize_with(map.partitions.len().max(self.fragments.len()), || None);
        for slot in removed {
            assert_eq!(self.pending_of_table[*slot], 0, "a table with pending writes was removed");
        }
        let outcomes = (self.outcome_limit / map.partitions.len().max(1)).max(LEAST_OUTCOMES);
        for (partition, info) in map.partitions.iter().enumerate() {
            let partition = partition as u16;
            if !owns(partition) {
                continue;
            }
            let peer = match info.role {
                Role::Primary { backup } => backup,
                Role::Backup { primary } => Some(primary),
                Role::Elsewhere { .. } => continue,
            };
            let lane = peer.and_then(|peer| lane_of(peer, partition));
            let joins = matches!(info.role, Role::Backup { .. }) && map.is_joining(node);
            let copies = &mut self.copies;
            let fragment = self.fragments[usize::from(partition)].get_or_insert_with(|| {
                let mut new =
                    Fragment::new(partition, info.role, info.cfg, lane, OutcomeTable::new(outcomes));
                new.joining = joins;
                copies.begin_joining(joins);
                new
            });
            if fragment.cfg != info.cfg {
                changed.push(ChangedFragment { partition, before: fragment.role });
                (fragment.role, fragment.cfg, fragment.lane) = (info.role, info.cfg, lane);
            }
            assert_eq!(fragment.role, info.role, "a new role is a new configuration");
            for slot in removed {
                let Some(stored) = fragment.tables.get_mut(*slot).map(std::mem::take) else { continue };
                if !stored.is_clear() {
                    self.clearing.push(stored);
                }
            }
            fragment.ensure_tables(&map.tables);
        }
        changed
    }

    /// Names the lanes whose fragments belong here.
    pub fn set_lanes(&mut self, lanes: Vec<u16>) {
        self.own_lanes = lanes;
    }

    /// First stage of a group: fetch the index line of a key.
    #[inline]
    pub fn prefetch_bucket(&self, partition: u16, table: usize, hash: u64) {
        if let Some(Some(fragment)) = self.fragments.get(usize::from(partition)) {
            fragment.tables[table].rows.prefetch_bucket(&self.arena, hash);
        }
    }

    /// Further stages of a group: fetch all rows, then execute in order.
    pub fn execute(&mut self, context: &mut Context<'_>, jobs: &[Option<Job<'_>>]) {
        if self.warming || self.left {
            return self.execute_while_warming(context, jobs);
        }
        self.execute_group(context, jobs);
    }

    #[cold]
    fn execute_while_warming(&mut self, context: &mut Context<'_>, jobs: &[Option<Job<'_>>]) {
        for job in jobs.iter().flatten() {
            if self.is_warming_at(job.partition) {
                context.out.error(job.reply, ErrorCode::NotServing, "the partition is being taken over");
            } else if !self.is_led(job.partition) {
                context.out.error(job.reply, ErrorCode::StaleMap, "another node leads the partition");
            } else {
                self.execute_group(context, &[Some(*job)]);
            }
        }
    }

    fn execute_group(&mut self, context: &mut Context<'_>, jobs: &[Option<Job<'_>>]) {
        let mut probes: [Option<Probe>; GROUP] = [None; GROUP];
        for (job, probe) in jobs.iter().flatten().zip(&mut probes) {
            if let Some(fragment) = &self.fragments[usize::from(job.partition)] {
                *probe = Some(fragment.tables[job.table].rows.prefetch_row(&self.arena, job.hash));
            }
        }
        for (job, probe) in jobs.iter().flatten().zip(&mut probes) {
            if let (Some(fragment), Some(probe)) = (&self.fragments[usize::from(job.partition)], probe) {
                fragment.tables[job.table].rows.prefetch_overflow(&self.arena, job.hash, probe);
            }
        }
        for (job, probe) in jobs.iter().flatten().zip(probes) {
            match (job.signal.signal_type(), probe) {
                (SignalType::Read, Some(probe)) => self.read(context, job, probe),
                (SignalType::Write, Some(probe)) => self.write(context, job, Some(probe)),
                _ => context.out.error(job.reply, ErrorCode::Internal, "the coordinator sent a wrong signal"),
            }
        }
    }

    #[inline]
    fn read(&mut self, context: &mut Context<'_>, job: &Job<'_>, probe: Probe) {
        let Some(fragment) = &self.fragments[usize::from(job.partition)] else { return };
        context.counters.reads += 1;
        let key = job.signal.section(0);
        let row = fragment.tables[job.table]
            .rows
            .find_probed(&self.arena, job.hash, key, probe)
            .map(|handle| self.arena.row(handle))
            .filter(|row| row_state::is_visible(row.state()));
        match row {
            Some(row) => {
                let (mut value, mut version) = (row.value, row.table_version());
                let named = job.signal.body::<Read>().map_or(version, |body| body.table_version.get());
                if version != named
                    && let Some(Some(table)) = context.map.tables.get(job.table)
                {
                    (value, version) = table.image_for(value, version, named, &mut self.older_image);
                }
                let body = ReadReply {
                    code: 0.into(),
                    table_version: version.into(),
                    reserved: 0.into(),
                    epoch: row.epoch().into(),
                    seq: row.sequence().into(),
                };
                context.out.reply(job.reply, &body, Sections::one(value));
            }
            None => {
                context.counters.reads_not_found += 1;
                let body = ReadReply { code: (ErrorCode::RowNotFound as u16).into(), ..ReadReply::default() };
                context.out.reply(job.reply, &body, Sections::none());
            }
        }
    }

    /// Whether there is background work: rows to free or to look at, or requests that wait, to be reported or refused.
    pub fn has_background_work(&self) -> bool {
        !self.clearing.is_empty()
            || !self.clearing_indexes.is_empty()
            || self.is_building()
            || self.queue.len() > 0
            || self.is_purging()
            || self.is_copying()
    }

    /// Background work in bounded slices: frees dropped tables, deletes expired rows, tells who waits for whom.
    pub fn tick(&mut self, context: &mut Context<'_>) {
        self.report_waits(context);
        self.copies.refill();
        self.build_slice(context);
        self.enter_slice(context);
        if let Some(table) = self.clearing.last_mut()
            && table.clear_step(&mut self.arena, CLEAR_ROWS_PER_TURN)
        {
            self.clearing.pop();
        }
        self.purge(context);
    }

    /// Whether writes on any table in `slots` are on their way.
    pub fn has_pending(&self, mut slots: impl Iterator<Item = usize>) -> bool {
        slots.any(|slot| self.pending_of_table.get(slot).is_some_and(|count| *count > 0))
    }

    /// Epoch of the oldest one-pass write under way; `u64::MAX` for none. The pending writes of a fragment are in the
    /// order of their epochs.
    pub fn oldest_unfinished(&self) -> u64 {
        let oldest = |fragment: &Fragment| fragment.pending.front().map(|pending| pending.version.epoch);
        self.fragments.iter().flatten().filter_map(oldest).min().unwrap_or(u64::MAX)
    }

    /// Fills in the gauges.
    pub fn measure(&self, counters: &mut NodeCounters) {
        counters.pending_writes = self.pending;
        counters.queued_writes = self.queue.len() as u64;
        counters.row_locks = self.locks.len() as u64;
        counters.participants = self.participants.len() as u64;
        counters.prepared = self.prepared.len() as u64;
        counters.failed_indexes = self.failed_indexes();
        (counters.building_indexes, counters.building_done) = self.build_progress();
        let fragments = || self.fragments.iter().flatten();
        counters.outcomes = fragments().map(|fragment| fragment.outcomes.len() as u64).sum();
        counters.rows = fragments().flat_map(|fragment| &fragment.tables).map(|table| table.rows.len()).sum();
    }

    /// Position of the last write of a fragment that this node holds.
    pub fn last_position(&self, partition: u16) -> Option<u64> {
        Some(self.fragments.get(usize::from(partition))?.as_ref()?.seq)
    }

    /// What every fragment holds; walks over all rows.
    pub fn digests(&self, map: &ClusterMap) -> Vec<ReplicaDigest> {
        self.fragments.iter().flatten().map(|fragment| self.digest(fragment, map)).collect()
    }

    /// What is wrong with the ordered indexes of the fragments when no write is on its way; walks over all rows.
    pub fn index_faults(&self, map: &ClusterMap) -> Vec<String> {
        let mut faults = Vec::new();
        for fragment in self.fragments.iter().flatten() {
            for (stored, table) in fragment.tables.iter().zip(&map.tables) {
                let Some(table) = table else { continue };
                let found = stored.index_faults(&self.arena, table);
                faults.extend(found.iter().map(|fault| format!("partition {}: {fault}", fragment.partition)));
            }
        }
        faults
    }

    fn digest(&self, fragment: &Fragment, map: &ClusterMap) -> ReplicaDigest {
        let (mut rows, mut rows_hash, mut bytes) = (0, 0u64, Vec::new());
        for (slot, table) in fragment.tables.iter().enumerate() {
            let id = map.tables.get(slot).and_then(Option::as_ref).map_or(0, |table| table.id);
            let mut cursor = Some(0);
            while let Some(position) = cursor {
                cursor = table.rows.scan_step(&self.arena, position, |handle| {
                    let row = self.arena.row(handle);
                    if !row_state::is_visible(row.state()) {
                        return;
                    }
                    bytes.clear();
                    bytes.extend_from_slice(&[id as u8, (id >> 8) as u8]);
                    let version = RowVersion { epoch: row.epoch(), seq: row.sequence() };
                    let table_version = row.table_version();
                    push_row(&mut bytes, &ScanRow { version, table_version, key: row.key, value: row.value });
                    rows += 1;
                    rows_hash = rows_hash.wrapping_add(key_hash(&bytes));
                });
            }
        }
        let text = format!("{:?}", fragment.outcomes.sorted());
        ReplicaDigest {
            partition: fragment.partition,
            primary: matches!(fragment.role, Role::Primary { .. }),
            last_seq: fragment.seq,
            rows,
            rows_hash,
            outcomes: fragment.outcomes.len() as u64,
            outcomes_hash: key_hash(text.as_bytes()),
        }
    }
}
