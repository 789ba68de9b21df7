//! The client against a fake cluster over TCP.

mod blocking;
mod client;
#[path = "../../core/tests/fake/mod.rs"]
mod fake;
mod ranges;
mod scans;
mod server;
mod spawn;
mod typed;
