//! The tests of `it`, with nodes of several parts.

#[path = "../it/chain.rs"]
mod chain;
#[path = "../it/epochs.rs"]
mod epochs;
#[path = "../it/handshake.rs"]
mod handshake;
#[path = "../it/network.rs"]
mod network;
#[path = "../it/ranges.rs"]
mod ranges;
#[path = "../it/requests.rs"]
mod requests;
#[path = "../it/scans.rs"]
mod scans;
#[path = "../it/transactions.rs"]
mod transactions;
#[path = "../it/versions.rs"]
mod versions;

/// Coordinator and data parts of each node.
const PARTS: Option<(usize, usize)> = Some((1, 1));
/// Secondary indexes of the test table.
const INDEXES: &[(&str, &[&str])] = &[("by_balance", &["balance"]), ("by_both", &["id", "balance"])];
