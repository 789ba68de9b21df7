//! The blocks of a node on several threads: what travels between them, and what they share.
//!
//! A *coordinator part* runs the transaction coordinator for some of the links; the first one also runs membership.
//! A *data part* runs one local data manager with the lanes that belong to it, including their handshakes. Both are
//! [`crate::Kernel`]s; on a single thread one kernel is both parts at once and none of this is used.
//!
//! ```text
//! receive ── frames ──> coordinator part ── Requests, PeerFrame, Install, Mark ──> data part ── bytes ──> send
//!                              ^                                                      │
//!                              └────────── Installed, Drained, Lane, PeerFrame ───────┘
//! ```
//!
//! Each arrow is one first-in-first-out mailbox for each pair of parts; nothing else orders them, which is why a new
//! cluster state is installed in steps: data parts first (they can execute whatever the old or the new state routes to
//! them), then the coordinators, each of which marks the change in its mailboxes; a table that is being dropped is
//! drained when every mark has arrived and none of its writes is under way. Coordinator 0 is the last, for it reports
//! the version: whoever hears of it can count on all parts.

mod board;
mod data;
mod either;
mod message;
mod node;
mod ports;

use crate::membership::Drained;
pub use board::{LinkBoard, SharedEpoch};
pub use either::NodeKernel;
pub use message::{Destination, Installation, RequestPlace, RequestPlaces, ToCoordinator, ToData};
pub use node::SplitKernel;
pub(crate) use ports::{Outgoing, Remote};

use crate::interface::NodeCounters;
use crate::lease::LeaseBoard;
use duet_memory::{MemoryBudget, SectionPool};
use std::collections::VecDeque;
use std::sync::Arc;

/// What the parts of a node share: gauges and limits that need no order.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Backlog and frame limit of every link.
    pub board: Arc<LinkBoard>,
    /// The node's epoch.
    pub epoch: SharedEpoch,
    /// The node's memory limit.
    pub budget: MemoryBudget,
    /// Leases of the node.
    pub leases: Arc<LeaseBoard>,
    /// Buffers of messages between the parts.
    pub pool: SectionPool,
    /// Number of coordinator parts.
    pub coordinators: usize,
    /// Number of data parts.
    pub managers: usize,
}

/// Blocks of the pool for messages between the parts of a node, and their size in bytes.
const POOL_BLOCKS: u32 = 512;
const POOL_BLOCK_BYTES: usize = 4_096;

impl Shared {
    /// Shared state of a node with these parts.
    ///
    /// # Errors
    /// A sentence when a number of parts is impossible.
    pub fn new(
        memory_bytes: u64,
        max_links: u32,
        coordinators: usize,
        managers: usize,
    ) -> Result<Shared, String> {
        if !(1..=MOST_PARTS).contains(&coordinators) || !(1..=MOST_PARTS).contains(&managers) {
            return Err(format!("a node has 1 to {MOST_PARTS} parts of each kind"));
        }
        Ok(Shared {
            board: Arc::new(LinkBoard::new(max_links)),
            epoch: SharedEpoch::default(),
            leases: Arc::default(),
            budget: MemoryBudget::new(memory_bytes),
            pool: SectionPool::new(POOL_BLOCKS, POOL_BLOCK_BYTES),
            coordinators,
            managers,
        })
    }
}

/// Most parts of one kind; a byte of a request id names the coordinator.
const MOST_PARTS: usize = 128;

/// Which part of a node a kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The coordinator for some of the links; number 0 also keeps membership.
    Coordinator(usize),
    /// The local data manager with this number.
    Data(usize),
}

/// State of a kernel that is only a part.
#[derive(Debug)]
pub(crate) struct Split {
    pub shared: Shared,
    pub out: Outgoing,
    /// Coordinator 0: the state that the other parts install now.
    pub installing: Option<data::Installing>,
    /// Coordinator 0: the newest state that came meanwhile.
    pub next_install: Option<Arc<Installation>>,
    /// Coordinator 0: versions that each data part has drained and built.
    pub drained: Vec<Drained>,
    /// Coordinator 0: last counters of the other parts, coordinators first.
    pub counters: Vec<NodeCounters>,
    /// Data: version that each coordinator has marked.
    pub marks: Vec<u64>,
    /// Data: requests of each coordinator that are not executed yet.
    pub requests: Vec<data::Requests>,
    pub measure_at: u64,
}

impl Split {
    pub fn new(shared: Shared) -> Split {
        let (coordinators, managers) = (shared.coordinators, shared.managers);
        Split {
            out: Outgoing::new(coordinators, managers),
            installing: None,
            next_install: None,
            drained: vec![Drained::default(); managers],
            counters: vec![NodeCounters::default(); coordinators + managers],
            marks: vec![0; coordinators],
            requests: (0..coordinators).map(|_| data::Requests::default()).collect(),
            measure_at: 0,
            shared,
        }
    }
}

/// The data part that owns a lane, and the partitions whose chains run through it.
#[inline]
pub(crate) fn manager_of_lane(lane: u16, managers: usize) -> usize {
    let lane = usize::from(lane);
    // There are mostly as many lanes as data parts, and a division costs as much as the rest of a hop.
    if lane < managers { lane } else { lane % managers }
}

/// Messages for one part, oldest first.
pub(crate) type Queue<M> = VecDeque<M>;
