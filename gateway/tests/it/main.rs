//! Tests of the gateway with real processes.

mod clients;
mod cluster;
mod protocol;
mod statements;
