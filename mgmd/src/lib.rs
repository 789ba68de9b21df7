//! The Duet management node: sockets, log file and metrics around [`duet_mgmd_core`].
//!
//! ```text
//!                    ┌────────────── one thread ──────────────┐
//!  sockets ◄──tokio──┤ shell.rs ── ManagementNode (no IO)     ├── directory.rs ──► management.log (fsync)
//!                    └────────────────────┬───────────────────┘
//!                                         └── gauges ──► metrics.rs (thread) ◄── HTTP
//! ```

mod arguments;
mod connection;
mod directory;
mod metrics;
mod server;
mod shell;

pub use arguments::Arguments;
pub use server::{Server, run};
