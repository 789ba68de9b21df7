//! The Duet management node as a plain state machine: no threads, clocks, sockets, files or randomness.
//!
//! [`ManagementNode`] holds the Raft-replicated cluster state and speaks with data nodes, clients and the other
//! management nodes. Whoever drives it (the shell in `duet-mgmd`, or the simulator) hands in events with the current
//! time, takes out bytes and [`Command`]s, and makes the [`Persist`] requests durable.

mod consensus;
mod handshake;
mod interface;
mod leader;
mod leaving;
mod link;
mod lost;
mod machine;
mod membership;
mod node;
mod peers;
mod placement;
mod protobuf_guard;
mod random;
mod requests;
mod status;
mod tables;
mod users;
mod views;

pub use interface::{
    CloseReason, Command, LinkId, LogLevel, ManagementConfiguration, ManagementGauges, ManagementPeer,
    Nanoseconds, Persist, StartError,
};
pub use node::ManagementNode;
