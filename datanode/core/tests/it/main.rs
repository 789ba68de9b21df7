//! Two data nodes, a scripted management node and scripted clients in memory.

mod chain;
mod epochs;
mod handshake;
mod network;
mod ranges;
mod requests;
mod scans;
mod transactions;
mod unique;
mod versions;

/// Coordinator and data parts of each node; none for one kernel that is everything.
const PARTS: Option<(usize, usize)> = None;
/// Secondary indexes of the test table.
const INDEXES: &[(&str, &[&str])] = &[("by_balance", &["balance"]), ("by_both", &["id", "balance"])];
