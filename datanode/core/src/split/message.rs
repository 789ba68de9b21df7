//! Messages between the parts of a node: fixed size, at most one cache line.

use crate::interface::{LinkId, NodeCounters, Target};
use crate::ldm::IndexRefusal;
use crate::membership::Drained;
use duet_memory::Section;
use duet_protocol::ids::Instance;
use duet_protocol::record::ClusterState;
use std::sync::Arc;

/// Which part a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The coordinator part with this number.
    Coordinator(usize),
    /// The data part with this number.
    Data(usize),
}

/// A cluster state on its way into the parts of a node.
#[derive(Debug)]
pub struct Installation {
    /// The state.
    pub state: ClusterState,
    /// The state as a record.
    pub record: Vec<u8>,
    /// This process.
    pub instance: Instance,
    /// The cluster.
    pub cluster_id: u64,
}

/// A request within a frame, checked and routed by the coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestPlace {
    /// Where its signal begins in the frame.
    pub offset: u32,
    /// Partition.
    pub partition: u16,
    /// Slot of the table.
    pub table: u16,
    /// Hash of the primary key.
    pub hash: u64,
}

/// Requests that fit one message.
pub const REQUESTS_PER_MESSAGE: usize = 3;

/// Up to three requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestPlaces {
    places: [RequestPlace; REQUESTS_PER_MESSAGE],
    used: u8,
}

impl RequestPlaces {
    /// One request.
    #[inline]
    pub fn one(place: RequestPlace) -> RequestPlaces {
        let none = RequestPlace::default();
        RequestPlaces { places: [place, none, none], used: 1 }
    }

    /// Adds a request. False when there is no room.
    #[inline]
    #[must_use]
    pub fn add(&mut self, place: RequestPlace) -> bool {
        let Some(free) = self.places.get_mut(usize::from(self.used)) else { return false };
        *free = place;
        self.used += 1;
        true
    }

    /// The requests in order.
    #[inline]
    pub fn used(&self) -> &[RequestPlace] {
        self.places.get(..usize::from(self.used)).unwrap_or(&self.places)
    }
}

/// What a coordinator part tells a data part.
#[derive(Debug)]
pub enum ToData {
    /// The requests that follow are in this frame and are answered on this link.
    Frame {
        /// Link of the asker.
        link: LinkId,
        /// The frame.
        frame: Section,
    },
    /// Requests of the frame named last.
    Requests(RequestPlaces),
    /// A frame on a link to another data node, whose handshakes and lanes belong to the data part.
    PeerFrame {
        /// The link.
        link: LinkId,
        /// The frame, not checked yet.
        frame: Section,
    },
    /// This node opened a connection to another data node.
    PeerConnected {
        /// The link.
        link: LinkId,
        /// For which lane.
        target: Target,
    },
    /// A link is gone.
    LinkClosed {
        /// The link.
        link: LinkId,
        /// Whether the other side closed it.
        by_peer: bool,
    },
    /// Every instance of the view has installed it.
    Barrier {
        /// Number of the view.
        view: u64,
    },
    /// Signals of transactions, back to back, for a node in a lane that belongs to the data part; this node for itself.
    Transactions {
        /// Node id.
        node: u32,
        /// Lane.
        lane: u16,
        /// The signals.
        signals: Section,
    },
    /// Drain an epoch; answered with [`ToCoordinator::EpochDrained`].
    Drain {
        /// The epoch.
        epoch: u64,
    },
    /// A newer cluster state; answered with [`ToCoordinator::Installed`].
    Install(Arc<Installation>),
    /// The coordinator has installed this version: what follows is routed by it or a newer one.
    Mark {
        /// Version of the cluster state.
        version: u64,
    },
}

const _: () = assert!(size_of::<ToData>() <= 64);

/// What a data part tells a coordinator part, and coordinator 0 the other coordinators.
#[derive(Debug)]
pub enum ToCoordinator {
    /// The data part, or the coordinator part, has installed a version.
    Installed {
        /// Version of the cluster state.
        version: u64,
    },
    /// Install this state (from coordinator 0).
    Install(Arc<Installation>),
    /// Up to which version a data part is drained and built.
    Drained {
        /// The data part.
        manager: usize,
        /// The versions.
        drained: Drained,
    },
    /// A unique index cannot be built.
    IndexRefused(Box<IndexRefusal>),
    /// A connection that this node opened passed its handshake.
    Established {
        /// The link.
        link: LinkId,
        /// For whom it was opened.
        target: Target,
    },
    /// The link over which requests for another node are forwarded: that of lane 0.
    ForwardLink {
        /// Node id.
        node: u32,
        /// None while there is no connection.
        link: Option<LinkId>,
    },
    /// A checked frame of another data node outside the lanes: requests that it forwards, answers to ours.
    PeerFrame {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Section,
    },
    /// Signals of transactions, back to back.
    Transactions {
        /// The signals.
        signals: Section,
    },
    /// Drain an epoch (from coordinator 0); answered with [`ToCoordinator::EpochDrained`].
    Drain {
        /// The epoch.
        epoch: u64,
    },
    /// A part has drained an epoch and all before it.
    EpochDrained {
        /// Number of the part, coordinators first.
        part: usize,
        /// The epoch.
        epoch: u64,
        /// It has committed something since the one before.
        busy: bool,
    },
    /// Counters of a part, coordinators first.
    Measured {
        /// Number of the part.
        part: usize,
        /// Its counters.
        counters: Box<NodeCounters>,
    },
}

const _: () = assert!(size_of::<ToCoordinator>() <= 64);
