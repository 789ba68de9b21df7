//! Two data nodes, a scripted management node and scripted clients in memory.

mod chain;
mod handshake;
mod network;
mod requests;
