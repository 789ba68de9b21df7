//! The yardstick: a bare server with fixed-layout requests, an epoll loop and the data node's own hash index and
//! arena, and nothing else. No replication, no transactions, no schema, no checksums: what it costs is what the machine asks
//! for moving a row over a socket, and Duet's cost is judged as a multiple of it.

mod client;
mod echo;
mod server;
mod store;
mod wire;

pub use client::FloorTarget;
pub use echo::{EchoClient, EchoResult, measure_echo};
pub use server::{FloorServerOptions, serve};
