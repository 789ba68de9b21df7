//! The transaction coordinator: checks requests, finds their partition, and hands them to the LDM here or to the node
//! that leads the partition.

use crate::interface::LinkId;
use crate::ldm::{Context, Job, LocalDataManager};
use crate::map::{ClusterMap, LocalTable, Role};
use crate::outbox::{BACKLOG_PAUSE_BYTES, BACKLOG_REFUSE_BYTES, ReplyTo};
use crate::transaction::Transactions;
use duet_protocol::error::ErrorCode;
use duet_protocol::hash::key_hash;
use duet_protocol::ids::session_id;
use duet_protocol::layout::TableLayout;
use duet_protocol::schema::TableState;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::resolve::Resolve;
use duet_protocol::signal::scan::{FLAG_ANY_REPLICA, Scan};
use duet_protocol::signal::session_opened::SessionOpened;
use duet_protocol::signal::write::{
    FLAG_EXPECT_VERSION, OPERATION_DELETE, OPERATION_INSERT, OPERATION_UPDATE, OPERATION_UPSERT, Write,
};
use duet_protocol::signal::{Sections, SignalType, SignalView};
use duet_protocol::update::validate_update;

/// Requests prefetched and executed together.
pub const GROUP: usize = 64;
/// Most requests forwarded and not yet answered.
const MAX_FORWARDS: usize = 65_536;

/// Bits of an entry's generation.
const FORWARD_GENERATIONS: u32 = 0x00ff_ffff;

/// A request that another node answers through this one.
#[derive(Clone, Copy, Debug)]
struct Forward {
    reply: ReplyTo,
    via: LinkId,
    is_write: bool,
    generation: u32,
    used: bool,
}

/// Where a request goes.
pub(crate) enum Route {
    Here { partition: u16, table: usize, hash: u64 },
    Node { node: u32 },
    Refused(ErrorCode, String),
}

/// Where the coordinator hands requests on: to the local data manager of the same thread, or to those of others.
pub trait DataPort {
    /// See [`LocalDataManager::prefetch_bucket`].
    fn prefetch_bucket(&self, partition: u16, table: usize, hash: u64);
    /// See [`LocalDataManager::execute`].
    fn execute(&mut self, context: &mut Context<'_>, jobs: &[Option<Job<'_>>]);
    /// See [`LocalDataManager::resolve`].
    fn resolve(
        &mut self,
        context: &mut Context<'_>,
        reply: ReplyTo,
        signal: &SignalView<'_>,
        body: &Resolve,
        partition: u16,
    );
    /// See [`LocalDataManager::scan`].
    fn scan(
        &mut self,
        context: &mut Context<'_>,
        reply: ReplyTo,
        signal: &SignalView<'_>,
        body: &Scan,
        table: usize,
    );
}

impl DataPort for LocalDataManager {
    #[inline(always)]
    fn prefetch_bucket(&self, partition: u16, table: usize, hash: u64) {
        LocalDataManager::prefetch_bucket(self, partition, table, hash);
    }

    #[inline(always)]
    fn execute(&mut self, context: &mut Context<'_>, jobs: &[Option<Job<'_>>]) {
        LocalDataManager::execute(self, context, jobs);
    }

    fn resolve(
        &mut self,
        context: &mut Context<'_>,
        reply: ReplyTo,
        _signal: &SignalView<'_>,
        body: &Resolve,
        partition: u16,
    ) {
        LocalDataManager::resolve(self, context, reply, body, partition);
    }

    fn scan(
        &mut self,
        context: &mut Context<'_>,
        reply: ReplyTo,
        signal: &SignalView<'_>,
        body: &Scan,
        table: usize,
    ) {
        LocalDataManager::scan(self, context, reply, signal, body, table);
    }
}

/// The transaction coordinator.
#[derive(Debug)]
pub struct TransactionCoordinator {
    /// Number of the coordinator within the node; it tells the answers to its forwarded requests from those of others.
    number: u8,
    /// Number of coordinators of the node; each gives out its own share of the session ids of an epoch.
    coordinators: u16,
    forwards: Vec<Forward>,
    free: Vec<u32>,
    session_epoch: u64,
    sessions: u16,
    /// No session is opened in an epoch before this one.
    pub sessions_from: u64,
    /// Transactions of several rows.
    pub transactions: Transactions,
}

/// The link over which requests are forwarded to a node: that of lane 0.
pub type ForwardLink<'a> = &'a dyn Fn(u32) -> Option<LinkId>;

impl TransactionCoordinator {
    /// The coordinator with this number among the `coordinators` of its node.
    pub fn numbered(number: u8, coordinators: u16) -> TransactionCoordinator {
        TransactionCoordinator {
            number,
            coordinators,
            forwards: Vec::new(),
            free: Vec::new(),
            session_epoch: 0,
            sessions: 0,
            sessions_from: 0,
            transactions: Transactions::numbered(number),
        }
    }

    /// Takes the requests of one frame in order: reads and writes in prefetched groups, the others one by one.
    /// Without `forward_link` (requests that another node forwarded) nothing is forwarded again.
    pub fn requests<'a>(
        &mut self,
        context: &mut Context<'_>,
        ldm: &mut impl DataPort,
        link: LinkId,
        signals: impl Iterator<Item = SignalView<'a>>,
        forward_link: Option<ForwardLink<'_>>,
    ) {
        let mut group: [Option<Job<'a>>; GROUP] = [None; GROUP];
        let mut used = 0;
        let mut latest = None;
        for signal in signals {
            let reply = ReplyTo { link, request_id: signal.request_id() };
            if !matches!(signal.signal_type(), SignalType::Read | SignalType::Write) {
                if is_of_transaction(&signal) {
                    self.transactions.request(context, reply, &signal);
                    continue;
                }
                ldm.execute(context, &group[..used]);
                used = 0;
                self.other_request(context, ldm, reply, &signal, forward_link);
                continue;
            }
            match route(context, &mut latest, &signal) {
                Route::Here { partition, table, hash } => {
                    ldm.prefetch_bucket(partition, table, hash);
                    group[used] = Some(Job { signal, reply, partition, table, hash });
                    used += 1;
                }
                Route::Node { node } => self.forward(context, reply, &signal, node, forward_link),
                Route::Refused(code, detail) => context.out.error(reply, code, &detail),
            }
            if used == GROUP {
                ldm.execute(context, &group);
                used = 0;
            }
        }
        ldm.execute(context, &group[..used]);
    }

    fn other_request(
        &mut self,
        context: &mut Context<'_>,
        ldm: &mut impl DataPort,
        reply: ReplyTo,
        signal: &SignalView<'_>,
        forward_link: Option<ForwardLink<'_>>,
    ) {
        if !context.map.is_serving() {
            context.out.error(reply, ErrorCode::NotServing, "");
        } else if let Some(body) = signal.body::<Resolve>() {
            let partition = context.map.partition_of(body.partition_hash.get());
            match context.map.partitions[usize::from(partition)].role {
                Role::Primary { .. } => ldm.resolve(context, reply, signal, body, partition),
                Role::Backup { primary } | Role::Elsewhere { primary } => {
                    self.forward(context, reply, signal, primary, forward_link);
                }
            }
        } else if let Some(body) = signal.body::<Scan>() {
            match route_scan(context, body) {
                Route::Here { table, .. } => ldm.scan(context, reply, signal, body, table),
                Route::Node { node } => self.forward(context, reply, signal, node, forward_link),
                Route::Refused(code, detail) => context.out.error(reply, code, &detail),
            }
        } else {
            self.open_session(context, reply);
        }
    }

    fn open_session(&mut self, context: &mut Context<'_>, reply: ReplyTo) {
        if context.epoch < self.sessions_from {
            let detail = "the node has not heard of the cluster's epoch yet";
            return context.out.error(reply, ErrorCode::NotServing, detail);
        }
        if self.session_epoch != context.epoch {
            self.session_epoch = context.epoch;
            self.sessions = 0;
        }
        let before = self.sessions.checked_mul(self.coordinators);
        let counter = before.and_then(|before| before.checked_add(u16::from(self.number) + 1));
        let Some(counter) = counter else {
            context.out.error(reply, ErrorCode::Overloaded, "too many sessions in one epoch");
            return;
        };
        self.sessions += 1;
        context.counters.sessions_opened += 1;
        let session = session_id(context.epoch, context.out.identity.sender.node, counter);
        let body = SessionOpened { session: session.into(), epoch: context.epoch.into() };
        context.out.reply(reply, &body, Sections::none());
    }

    fn forward(
        &mut self,
        context: &mut Context<'_>,
        reply: ReplyTo,
        signal: &SignalView<'_>,
        node: u32,
        forward_link: Option<ForwardLink<'_>>,
    ) {
        let Some(forward_link) = forward_link else {
            context.out.error(reply, ErrorCode::StaleMap, "");
            return;
        };
        let Some(via) = forward_link(node) else {
            context.out.error(reply, ErrorCode::NodeUnreachable, &format!("node {node} leads the partition"));
            return;
        };
        if self.forwarded() >= MAX_FORWARDS || context.out.waiting(via) > BACKLOG_PAUSE_BYTES {
            context.out.error(reply, ErrorCode::Overloaded, "too many requests for other nodes");
            return;
        }
        let is_write = signal.signal_type() == SignalType::Write;
        let index = self.free.pop().unwrap_or_else(|| {
            self.forwards.push(Forward { reply, via, is_write, generation: 0, used: false });
            (self.forwards.len() - 1) as u32
        });
        let entry = &mut self.forwards[index as usize];
        let generation = entry.generation.wrapping_add(1) & FORWARD_GENERATIONS;
        *entry = Forward { reply, via, is_write, generation, used: true };
        context.counters.forwarded += 1;
        context.out.relay(via, forward_id(self.number, generation, index), signal);
    }

    /// Requests that other nodes have to answer.
    pub fn forwarded(&self) -> usize {
        self.forwards.len() - self.free.len()
    }

    /// An answer came over the link of another node: relay it to whoever asked.
    pub fn answered(&mut self, context: &mut Context<'_>, link: LinkId, signal: &SignalView<'_>) {
        let (number, generation, index) = forward_parts(signal.request_id());
        if number != self.number {
            return;
        }
        let Some(entry) = self.forwards.get_mut(index as usize) else { return };
        if !entry.used || entry.generation != generation || entry.via != link {
            return;
        }
        entry.used = false;
        self.free.push(index);
        let reply = entry.reply;
        if context.out.waiting(reply.link) > BACKLOG_REFUSE_BYTES {
            context.out.error(reply, ErrorCode::ReplyBufferFull, "");
        } else {
            context.out.relay(reply.link, reply.request_id, signal);
        }
    }

    /// A link is gone: what was forwarded over it has no answer, and nobody waits for what came from it.
    pub fn link_closed(&mut self, context: &mut Context<'_>, link: LinkId) {
        for (index, entry) in self.forwards.iter_mut().enumerate() {
            if !entry.used || entry.via != link {
                continue;
            }
            entry.used = false;
            self.free.push(index as u32);
            let code = if entry.is_write { ErrorCode::OutcomeUnknown } else { ErrorCode::NodeUnreachable };
            context.out.error(entry.reply, code, "the link to the leading node broke");
        }
        self.transactions.link_closed(context, link);
    }
}

/// Whether a request is part of a transaction of several operations.
pub(crate) fn is_of_transaction(signal: &SignalView<'_>) -> bool {
    matches!(
        signal.signal_type(),
        SignalType::Operate | SignalType::CommitTransaction | SignalType::RollbackTransaction
    )
}

/// Request id under which a request is forwarded: number of the coordinator, generation and index of its entry.
fn forward_id(number: u8, generation: u32, index: u32) -> u64 {
    u64::from(number) << 56 | u64::from(generation) << 32 | u64::from(index)
}

fn forward_parts(id: u64) -> (u8, u32, u32) {
    ((id >> 56) as u8, (id >> 32) as u32 & FORWARD_GENERATIONS, id as u32)
}

/// A table in the version that a request names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'m> {
    /// Its slot.
    pub(crate) slot: usize,
    id: u32,
    version: u16,
    /// The layout of that version.
    pub(crate) layout: &'m TableLayout,
    /// Whether whole new rows may follow it.
    takes_new_rows: bool,
}

/// The table that a request of the frame was for: the next one is mostly for the same.
type Latest<'m> = Option<Named<'m>>;

/// As [`table_of`], beginning with the table found last.
#[inline(always)]
fn table_again<'m>(
    context: &Context<'m>,
    latest: &mut Latest<'m>,
    id: u32,
    version: u16,
) -> Result<Named<'m>, Route> {
    if let Some(named) = *latest
        && named.id == id
        && named.version == version
    {
        return Ok(named);
    }
    let found = table_of(context, id, version)?;
    *latest = Some(found);
    Ok(found)
}

/// Table by id and version, if it can be read and written. Every version that the table ever had will do, and the next one
/// from the moment at which this node knows of it (counterexample 37).
pub(crate) fn table_of<'m>(context: &Context<'m>, id: u32, version: u16) -> Result<Named<'m>, Route> {
    if !context.map.is_serving() {
        return Err(Route::Refused(ErrorCode::NotServing, String::new()));
    }
    let map: &'m ClusterMap = context.map;
    let Some((slot, table)) = map.table(id) else {
        return Err(Route::Refused(ErrorCode::TableNotFound, format!("table {id}")));
    };
    if table.refuses {
        return Err(refused(table));
    }
    let Some(layout) = table.layouts.of(version) else {
        return Err(Route::Refused(
            ErrorCode::TableVersionMismatch,
            format!("table {id} has version {}", table.version),
        ));
    };
    let takes_new_rows = version >= table.first_version_of_new_rows;
    Ok(Named { slot, id, version, layout, takes_new_rows })
}

/// Why a table is not open for clients.
#[cold]
fn refused(table: &LocalTable) -> Route {
    let code = match table.state {
        TableState::Active => ErrorCode::IndexNotFound,
        TableState::Preparing | TableState::Dropping => ErrorCode::TableNotActive,
    };
    Route::Refused(code, format!("table {}", table.id))
}

/// Checks a read or write completely and finds its place.
#[inline(always)]
fn route<'m>(context: &Context<'m>, latest: &mut Latest<'m>, signal: &SignalView<'_>) -> Route {
    let checked = match signal.body::<Write>() {
        Some(write) => check_write(context, latest, signal, write),
        None => match signal.body::<Read>() {
            Some(read) => table_again(context, latest, read.table.get(), read.table_version.get()),
            None => Err(Route::Refused(ErrorCode::InvalidRequest, String::new())),
        },
    };
    let Named { slot, layout, .. } = match checked {
        Ok(found) => found,
        Err(refused) => return refused,
    };
    let key = signal.section(0);
    let hash = key_hash(key);
    let partition = context.map.partition_of(layout.partition_hash_from(key, hash));
    match context.map.partitions[usize::from(partition)].role {
        Role::Primary { .. } => Route::Here { partition, table: slot, hash },
        Role::Backup { primary } | Role::Elsewhere { primary } => Route::Node { node: primary },
    }
}

#[inline]
fn check_write<'m>(
    context: &Context<'m>,
    latest: &mut Latest<'m>,
    signal: &SignalView<'_>,
    write: &Write,
) -> Result<Named<'m>, Route> {
    let named = table_again(context, latest, write.table.get(), write.table_version.get())?;
    let layout = named.layout;
    let row_error = |code, error: duet_protocol::row::RowError| Route::Refused(code, error.to_string());
    layout.validate_key(signal.section(0)).map_err(|error| row_error(ErrorCode::InvalidKey, error))?;
    let value = signal.section(1);
    // Those of the coordinators' own operations are among them.
    if write.flags & !FLAG_EXPECT_VERSION != 0 {
        return Err(Route::Refused(ErrorCode::InvalidRequest, "unknown flags".into()));
    }
    match write.operation {
        OPERATION_INSERT | OPERATION_UPSERT => {
            if !named.takes_new_rows {
                let table = context.map.table_in(named.slot);
                let checked = table.check_version_of_new_row(named.version);
                checked.map_err(|(code, detail)| Route::Refused(code, detail))?;
            }
            layout.validate_value(value).map_err(|error| row_error(ErrorCode::InvalidRow, error))?;
        }
        OPERATION_UPDATE => {
            validate_update(layout, value).map_err(|error| row_error(ErrorCode::InvalidUpdate, error))?;
        }
        OPERATION_DELETE if value.is_empty() => {}
        _ => {
            return Err(Route::Refused(
                ErrorCode::InvalidRequest,
                "unknown operation or unexpected value".into(),
            ));
        }
    }
    Ok(named)
}

fn route_scan(context: &Context<'_>, body: &Scan) -> Route {
    let Named { slot, .. } = match table_of(context, body.table.get(), body.table_version.get()) {
        Ok(found) => found,
        Err(refused) => return refused,
    };
    let partition = body.partition.get();
    let Some(info) = context.map.partitions.get(usize::from(partition)) else {
        return Route::Refused(ErrorCode::InvalidRequest, format!("partition {partition} does not exist"));
    };
    match info.role {
        Role::Primary { .. } => Route::Here { partition, table: slot, hash: 0 },
        _ if body.flags.get() & FLAG_ANY_REPLICA != 0 => Route::Here { partition, table: slot, hash: 0 },
        Role::Backup { primary } | Role::Elsewhere { primary } => Route::Node { node: primary },
    }
}
