//! Counters of the loop, and the copy of all counters that other threads may read.

use duet_datanode_core::NodeCounters;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

macro_rules! link_counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counters and gauges of the batch loop.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct LinkCounters { $($(#[doc = $doc])+ pub $name: u64,)+ }

        impl LinkCounters {
            /// Names, meanings and values, in a fixed order.
            pub fn list(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+), self.$name),)+]
            }

            /// Adds those of another loop of the same node.
            pub fn add(&mut self, other: &LinkCounters) {
                $(self.$name = self.$name.saturating_add(other.$name);)+
            }
        }
    };
}

link_counters! {
    #[doc = "Bytes received on all links."]
    bytes_received,
    #[doc = "Bytes sent on all links."]
    bytes_sent,
    #[doc = "Whole frames given to the kernel."]
    frames_delivered,
    #[doc = "Reads from links: system calls, or completions of io_uring."]
    read_calls,
    #[doc = "Writes to links: system calls, or submissions to io_uring."]
    write_calls,
    #[doc = "Returns from waiting for events."]
    wakeups,
    #[doc = "Connections accepted."]
    links_accepted,
    #[doc = "Connections closed at once because the node has as many as it may."]
    accepts_refused,
    #[doc = "Connections opened."]
    links_connected,
    #[doc = "Connections that could not be opened."]
    connects_failed,
    #[doc = "Links closed because the other side did not read."]
    backlog_overflows,
    #[doc = "Links closed because no whole frame came in time."]
    links_silent,
    #[doc = "Bytes handed out and not accepted by the system now."]
    backlog_bytes,
    #[doc = "Bytes of memory held for frames that have not arrived completely now."]
    partial_bytes,
    #[doc = "Sockets open now, those being opened or closed included."]
    sockets,
    #[doc = "Links not read from now because their replies pile up."]
    links_paused,
}

/// All counters of a node at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Of the kernel.
    pub node: NodeCounters,
    /// Of the loop.
    pub links: LinkCounters,
}

/// Reads the newest snapshot; the loop renews it every 100 ms.
#[derive(Clone, Debug, Default)]
pub struct SnapshotReader {
    shared: Arc<Mutex<Snapshot>>,
}

impl SnapshotReader {
    /// The newest snapshot.
    pub fn read(&self) -> Snapshot {
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the snapshot, unless a reader that was interrupted holds it: the loop never waits.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        match self.shared.try_lock() {
            Ok(mut shared) => *shared = snapshot,
            Err(TryLockError::Poisoned(shared)) => *shared.into_inner() = snapshot,
            Err(TryLockError::WouldBlock) => {}
        }
    }
}
