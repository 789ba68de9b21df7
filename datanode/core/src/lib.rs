//! The blocks of a Duet data node as plain state machines: no threads, clocks, sockets, files or unsafe code.
//!
//! [`Kernel`] joins the blocks of one thread; a node on several threads has several of them. Whoever drives it (the threads of `duet-runtime`, or the
//! simulator) hands in events with the current time and takes out bytes and [`Command`]s.

mod abandoned;
mod coordinator;
mod deadlock;
mod entries;
mod epochs;
mod handshake;
mod inspect;
mod install;
mod interface;
mod joining;
mod kernel;
mod lane;
mod ldm;
mod lease;
mod leaving;
mod links;
mod mail;
mod map;
mod membership;
mod operation_check;
mod outbox;
mod peers;
mod planted;
mod postponed;
mod rest;
mod split;
mod takeover;
mod transaction;
mod views;
mod withhold;

pub use duet_memory::MemoryPreparer;
pub use interface::{CloseReason, Command, LinkId, Nanoseconds, NodeConfiguration, NodeCounters, Target};
pub use kernel::{Kernel, Message};
pub use ldm::ReplicaDigest;
pub use ldm::journal::CommittedChange;
pub use ldm::unique::UniqueEntry;
pub use lease::{HEARTBEAT_FRAME_BYTES, LeaseBoard, SUSPECT_AFTER};
pub use split::{
    Destination, Installation, LinkBoard, NodeKernel, RequestPlace, RequestPlaces, Shared, SharedEpoch,
    SplitKernel, ToCoordinator, ToData,
};
