//! What a driver and the management node say to each other.

use duet_protocol::record::{ClusterConfiguration, LogError};

/// Time since some fixed moment in nanoseconds; only differences matter.
pub type Nanoseconds = u64;

/// Name of a connection. The driver gives it out; a slot is used again under the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    /// Small number, used again after the link is closed.
    pub slot: u32,
    /// Raised each time the slot is used again.
    pub generation: u32,
}

/// What the management node asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a connection; answer with [`crate::ManagementNode::link_connected`] or
    /// [`crate::ManagementNode::connect_failed`].
    Connect {
        /// Management node id.
        node: u32,
        /// `host:port`.
        address: String,
    },
    /// Send what has been handed out, then close; answer with [`crate::ManagementNode::link_closed`].
    Close {
        /// The link.
        link: LinkId,
    },
    /// Tell people.
    Log {
        /// How important it is.
        level: LogLevel,
        /// A sentence.
        text: String,
    },
    /// The process must end with an error; the sentence says why and what to do.
    Stop {
        /// For people.
        reason: String,
    },
    /// The process was told to end: send what has been handed out first.
    End {
        /// Whether it is to start again.
        restarts: bool,
    },
}

/// How important a message for people is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// The course of things.
    Info,
    /// Something is not as it should be.
    Warning,
}

/// Why a link is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side closed or reset it.
    ByPeer,
    /// We closed it, or our system gave up on it.
    Local,
}

/// Bytes that must be durable before the node goes on; answer with [`crate::ManagementNode::persisted`].
///
/// A crash may lose these bytes, or leave any prefix of them, until they are answered; nothing answered may be lost.
/// A driver that cannot make them durable must end the process: it never tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// To repeat in the answer.
    pub number: u64,
    /// Whether the bytes replace the whole log atomically; else they are appended to it.
    pub replace: bool,
    /// What to write.
    pub bytes: Vec<u8>,
}

/// A management node as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementPeer {
    /// Node id, 1..=3.
    pub node: u32,
    /// `host:port`.
    pub address: String,
}

/// What a management node is told at start.
#[derive(Clone, Debug)]
pub struct ManagementConfiguration {
    /// Node id of this one.
    pub node: u32,
    /// All management nodes with which the cluster is created, including this one: 1 or 3. A node that joins names itself only.
    /// Which of them belong to a cluster that exists is kept there.
    pub management: Vec<ManagementPeer>,
    /// Whether `management` says for certain where this node can be reached.
    pub address_is_given: bool,
    /// Addresses of management nodes of a cluster that exists and is to be joined; empty to create one, or to go on.
    pub join: Vec<String>,
    /// The cluster to create; an existing one must have been created with the same. Of no account for a node that joins.
    pub cluster: ClusterConfiguration,
    /// Cluster secret, empty for none.
    pub secret: Vec<u8>,
    /// Most links at once.
    pub max_links: u32,
    /// Random number from which election time-outs and reconnect jitter are derived.
    pub seed: u64,
    /// Random number that becomes the Raft id when the log is empty.
    pub raft_id: u64,
    /// Random number that becomes the cluster id when this node creates the cluster.
    pub cluster_id: u64,
}

/// Why a management node cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense.
    #[error("{0}")]
    Configuration(String),
    /// The log cannot be read.
    #[error("{0}")]
    Log(#[from] LogError),
    /// The log was written by another node.
    #[error("the directory belongs to management node {found}, not to {wanted}")]
    ForeignDirectory {
        /// Node id in the log.
        found: u32,
        /// Node id configured.
        wanted: u32,
    },
    /// The blocks of the log are intact and yet make no sense together.
    #[error("the log is inconsistent: {0}")]
    InconsistentLog(String),
}

macro_rules! gauges {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Gauges and counters of a management node, for metrics and tests.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct ManagementGauges { $($(#[doc = $doc])+ pub $name: u64,)+ }

        impl ManagementGauges {
            /// Names, meanings and values, in a fixed order.
            pub fn list(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name),)+]
            }
        }
    };
}

gauges! {
    #[doc = "Raft term."]
    term,
    #[doc = "Node id of the leader, 0 when none is known."]
    leader,
    #[doc = "1 while this node leads and has applied everything that was committed before."]
    leading,
    #[doc = "Highest applied index of the Raft log."]
    applied,
    #[doc = "Entries of the Raft log kept in memory."]
    log_entries,
    #[doc = "Links open now."]
    links,
    #[doc = "Links refused because of damaged, foreign or forbidden frames."]
    links_refused,
    #[doc = "Version of the cluster state."]
    state_version,
    #[doc = "Number of the view."]
    view,
    #[doc = "Tables in the dictionary."]
    tables,
    #[doc = "Schema changes under way."]
    jobs,
    #[doc = "Data nodes whose reports arrive."]
    nodes_connected,
    #[doc = "Management nodes connected to this one."]
    management_connected,
    #[doc = "1 when a newer view was seen than this node's state holds: its disk was rolled back."]
    rolled_back,
}
