//! The blocks of a Duet data node as plain state machines: no threads, clocks, sockets, files or unsafe code.
//!
//! [`Kernel`] joins the blocks of one thread. Whoever drives it (the threads of `duet-runtime`, or the
//! simulator) hands in events with the current time and takes out bytes and [`Command`]s.

mod coordinator;
mod handshake;
mod interface;
mod kernel;
mod lane;
mod ldm;
mod links;
mod map;
mod membership;
mod outbox;

pub use interface::{CloseReason, Command, LinkId, Nanoseconds, NodeConfiguration, NodeCounters, Target};
pub use kernel::Kernel;
pub use ldm::ReplicaDigest;
