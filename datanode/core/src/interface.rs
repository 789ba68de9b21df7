//! What a driver and the kernel say to each other.

use duet_memory::MemoryPreparer;
use duet_protocol::error::ErrorCode;

/// Time since boot in nanoseconds, including suspension (`CLOCK_BOOTTIME`); only differences matter.
pub type Nanoseconds = u64;

/// Name of a connection. The driver gives it out; a slot is used again under the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    /// Small number, used again after the link is closed.
    pub slot: u32,
    /// Raised each time the slot is used again; never 0.
    pub generation: u32,
}

impl LinkId {
    /// Whether the slot had this generation before: generations are compared modulo 2^32.
    pub(crate) fn is_after(self, generation: u32) -> bool {
        (self.generation.wrapping_sub(generation) as i32) > 0
    }
}

/// Whom the kernel wants to be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A management node: number `index` of [`NodeConfiguration::management`], or behind those one of the cluster state.
    Management {
        /// Index in the list.
        index: u32,
    },
    /// Another data node, for one lane.
    Peer {
        /// Node id.
        node: u32,
        /// Lane.
        lane: u16,
    },
}

/// What the kernel asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a connection; answer with [`crate::Kernel::link_connected`] or [`crate::Kernel::connect_failed`].
    Connect {
        /// For whom.
        target: Target,
        /// `host:port`.
        address: String,
    },
    /// Send what has been handed out, then close; answer with [`crate::Kernel::link_closed`].
    Close {
        /// The link.
        link: LinkId,
        /// Why, if the other side was refused.
        refused: Option<ErrorCode>,
    },
    /// Tell people.
    Warn {
        /// A sentence that says what is wrong and what to do.
        text: String,
    },
    /// The process must end with an error; the sentence says why and what to do.
    Stop {
        /// For people.
        reason: String,
    },
    /// The process was told to leave: send what has been handed out, and end without an error.
    End {
        /// Whether it is to start again.
        restarts: bool,
        /// For people.
        reason: String,
    },
}

/// Why a link is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side closed or reset it.
    ByPeer,
    /// We closed it, or our system gave up on it.
    Local,
}

/// What a data node is told at start.
#[derive(Clone, Debug)]
pub struct NodeConfiguration {
    /// Node id, 1..=255.
    pub node: u32,
    /// Random identity of this process.
    pub process: [u8; 16],
    /// Address that clients and nodes reach this node at.
    pub address: String,
    /// Address of the metrics, may be empty.
    pub metrics_address: String,
    /// Addresses of the management nodes.
    pub management: Vec<String>,
    /// Cluster secret, empty for none.
    pub secret: Vec<u8>,
    /// Memory for rows and indexes, in bytes.
    pub memory_bytes: u64,
    /// Address space to reserve for the arena, in bytes; more than `memory_bytes` is of no use.
    pub arena_bytes: u64,
    /// Finds memory for rows and indexes before they need it; none in tests and the simulator.
    pub memory_preparer: Option<MemoryPreparer>,
    /// Most links at once.
    pub max_links: u32,
    /// Seed of whatever is random in the kernel (reconnect jitter).
    pub seed: u64,
    /// Whether a link that another data node closes proves that it has given its leases up or died; not in networks whose
    /// machines close connections of others.
    pub link_close_is_proof: bool,
    /// Time without an answer after which this node asks for the removal of another member of its group.
    pub suspect_after: Nanoseconds,
    /// Most signals of a frame in a lane; as many as fit in every real node.
    pub lane_frame_signals: u16,
    /// Planted bug of the simulator's own tests; 0 in every real node.
    pub planted_bug: u32,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counters and gauges of a node, for metrics and tests.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct NodeCounters { $($(#[doc = $doc])+ pub $name: u64,)+ }

        impl NodeCounters {
            /// Names, meanings and values, in a fixed order.
            pub fn list(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+), self.$name),)+]
            }

            /// Adds what another part of the same node has counted.
            pub fn add(&mut self, other: &NodeCounters) {
                $(self.$name = self.$name.saturating_add(other.$name);)+
            }
        }
    };
}

counters! {
    #[doc = "Frames received."]
    frames_received,
    #[doc = "Signals received."]
    signals_received,
    #[doc = "Committed reads answered."]
    reads,
    #[doc = "Reads that found no row."]
    reads_not_found,
    #[doc = "Writes committed as primary."]
    writes_committed,
    #[doc = "Writes applied as backup."]
    writes_applied,
    #[doc = "Writes refused by the row (missing, duplicate, version)."]
    writes_refused,
    #[doc = "Deletes begun of rows past their time to live."]
    rows_purged,
    #[doc = "Requests answered with an error."]
    errors,
    #[doc = "Requests forwarded to another node."]
    forwarded,
    #[doc = "Writes answered from an outcome record."]
    replayed,
    #[doc = "Writes waiting for the backup now."]
    pending_writes,
    #[doc = "Writes waiting for a row now."]
    queued_writes,
    #[doc = "Sessions opened."]
    sessions_opened,
    #[doc = "Transactions open now at their coordinators."]
    transactions,
    #[doc = "Transactions committed by their coordinators, with writes or without."]
    transactions_committed,
    #[doc = "Transactions rolled back, whoever wanted it."]
    transactions_aborted,
    #[doc = "Transactions taken over from coordinators that were removed."]
    taken_over,
    #[doc = "Transactions rolled back because of a circle of waiting transactions."]
    deadlocks,
    #[doc = "Row locks of transactions held now."]
    row_locks,
    #[doc = "Transactions that hold or prepared something in a fragment led here, counted per fragment, now."]
    participants,
    #[doc = "Transactions that prepared something in a fragment backed up here, counted per fragment, now."]
    prepared,
    #[doc = "Outcome records kept now."]
    outcomes,
    #[doc = "Ordered indexes of fragments that were given up because there was no memory to build them, now."]
    failed_indexes,
    #[doc = "Indexes of fragments led or backed up here that are built while their tables are in use, now."]
    building_indexes,
    #[doc = "How much of those is done, the thousandths of all of them added up."]
    building_done,
    #[doc = "Rows of all replicas now."]
    rows,
    #[doc = "Bytes taken from the memory budget now."]
    memory_used_bytes,
    #[doc = "Bytes of the memory budget."]
    memory_limit_bytes,
    #[doc = "Links open now."]
    links,
    #[doc = "Links closed because of damaged, foreign or forbidden frames."]
    links_refused,
    #[doc = "Frames sent again after a lane was resumed."]
    lane_frames_resent,
    #[doc = "Bytes kept for resending in all lanes now."]
    lane_retained_bytes,
    #[doc = "Version of the installed cluster state."]
    state_version,
    #[doc = "Number of the installed view."]
    view,
    #[doc = "Current epoch."]
    epoch,
    #[doc = "Newest closed epoch: what was committed in it and before is final."]
    closed_epoch,
    #[doc = "1 while the node serves."]
    serving,
}
