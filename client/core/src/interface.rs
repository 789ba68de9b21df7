//! What a driver and the client core say to each other.

/// Time since some fixed moment in nanoseconds; only differences matter. It should run on while the machine is suspended.
pub type Nanoseconds = u64;

/// One millisecond.
pub(crate) const MILLISECOND: Nanoseconds = 1_000_000;
/// One second.
pub(crate) const SECOND: Nanoseconds = 1_000 * MILLISECOND;

/// Name of a connection. The driver gives it out; a slot is used again under the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    /// Small number, used again after the link is closed.
    pub slot: u32,
    /// Raised each time the slot is used again.
    pub generation: u32,
}

/// Whom the client wants to be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// Address `index` of [`ClientConfiguration::seeds`]: a data node or a management node.
    Seed {
        /// Index in the list.
        index: u32,
    },
    /// Management node `index` of the cluster state.
    Management {
        /// Index in the list.
        index: u32,
    },
    /// A data node.
    Node {
        /// Node id.
        node: u32,
    },
}

/// What the core asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a connection; answer with [`crate::ClientCore::link_connected`] or [`crate::ClientCore::connect_failed`].
    Connect {
        /// For whom.
        target: Target,
        /// `host:port`.
        address: String,
    },
    /// Close the connection. The core has forgotten it already: no answer is needed.
    Close {
        /// The link.
        link: LinkId,
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

/// Bounds of what a client holds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operations submitted and not completed; beyond it they end in `Overloaded`.
    pub operations: usize,
    /// Batches submitted and not completed; beyond it they end in `Overloaded`.
    pub batches: usize,
    /// Requests sent to one node and not answered; further ones wait here.
    pub requests_per_node: usize,
    /// Bytes of requests sent to one node and not answered; further requests wait here.
    pub request_bytes_per_node: usize,
    /// Writes with unknown outcome that are being resolved; beyond it the oldest is forgotten.
    pub unknown_outcomes: usize,
    /// Outcomes that were unknown and are known now, kept for [`crate::Batch::resolve`].
    pub known_outcomes: usize,
    /// Schema changes, status and map requests at once; beyond it they end in `Overloaded`.
    pub jobs: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            operations: 262_144,
            batches: 65_535,
            requests_per_node: 8_192,
            request_bytes_per_node: 4 << 20,
            unknown_outcomes: 16_384,
            known_outcomes: 16_384,
            jobs: 1_024,
        }
    }
}

/// What a client is told at start.
#[derive(Clone, Debug)]
pub struct ClientConfiguration {
    /// Addresses of data or management nodes, `host:port`; one that answers is enough.
    pub seeds: Vec<String>,
    /// Cluster secret, empty for none.
    pub secret: Vec<u8>,
    /// Random identity of this client.
    pub process: [u8; 16],
    /// Name of the program, for the logs of the nodes; at most 64 bytes are sent.
    pub program: String,
    /// Time after which an operation ends, if its batch does not say.
    pub timeout: Nanoseconds,
    /// Seed of whatever is random in the core (jitter, identities of schema changes).
    pub seed: u64,
    /// Bounds.
    pub limits: Limits,
}

impl ClientConfiguration {
    /// Five seconds for every operation, and the usual bounds.
    pub fn new(seeds: Vec<String>, process: [u8; 16], seed: u64) -> ClientConfiguration {
        ClientConfiguration {
            seeds,
            secret: Vec::new(),
            process,
            program: "duet-client".to_owned(),
            timeout: 5 * SECOND,
            seed,
            limits: Limits::default(),
        }
    }
}

/// Counters of a client, for tests and people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounters {
    /// Requests sent for operations, with repeats.
    pub requests_sent: u64,
    /// Operations completed.
    pub operations_completed: u64,
    /// Requests sent again after a retryable error or a lost link.
    pub retries: u64,
    /// Answers that came too late or twice.
    pub late_answers: u64,
    /// Observations that came from an older view than the map.
    pub stale_observations: u64,
    /// Writes that ended in `OutcomeUnknown`.
    pub unknown_outcomes: u64,
    /// Unknown outcomes that became known.
    pub resolved_outcomes: u64,
    /// Cluster states installed.
    pub states_installed: u64,
    /// Sessions opened.
    pub sessions_opened: u64,
    /// Links lost.
    pub links_lost: u64,
}
