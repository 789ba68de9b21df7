//! The client core against a scripted cluster in memory.

#[path = "../fake/mod.rs"]
mod fake;
mod harness;
mod operations;
mod random_order;
mod schema;
mod transactions;
mod unknown;
