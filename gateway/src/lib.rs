//! SQL for the Duet row store, over the MySQL protocol.
//!
//! Statements on one table that find their rows by a primary key, a unique key or a range of an ordered index go straight to the native
//! client, with plans that statements of the same shape share. All other SELECTs are computed by DataFusion over tables that leave to the data
//! nodes what these can do. `docs/sql.md` lists what is supported; everything else ends in MySQL's error 1235 and a sentence.
//!
//! ```text
//! socket ─ wire ─ connection ─ session ─┬─ parse ─ plan ─ execute ─ duet-client
//!                                       ├─ query (DataFusion) ──────────┤
//!                                       └─ statements, show ─ catalog ──┘
//! ```
//! A connection stays on one thread, with a client of the cluster of that thread's own; queries are computed on threads of their own (`threads`).
//! `wire`, `parse`, `value` and `error` are those of the crate `duet-gateway-wire`, which is fuzzed.

mod accounts;
mod arguments;
mod assign;
mod attention;
mod catalog;
mod cluster_tables;
mod connection;
mod execute;
mod expression;
mod information;
mod login;
mod memory;
mod nested;
mod node_threads;
mod plan;
mod plans;
mod processes;
mod query;
mod server;
mod session;
mod show;
mod statements;
mod threads;
mod tls;
mod users;
mod variables;

// As if they were modules of this crate.
use duet_gateway_wire::{error, parse, value, wire};

pub use arguments::Arguments;
pub use error::SqlError;
pub use query::run::MemoryBounds;
pub use server::Server;
pub use users::Users;

/// Runs a gateway until it is told to end.
///
/// # Errors
/// When it cannot start.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    threads::run(arguments)
}
