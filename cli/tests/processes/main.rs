//! Clusters of real processes on loopback: what the simulator cannot see.

mod bad_input;
mod client;
mod cluster;
mod crowd;
mod failover;
mod features;
mod graceful;
mod groups;
mod http;
mod life;
mod management;
mod network;
mod scans;
mod schema;
mod serving;
mod stages;
mod tasks;
mod threads;
mod transactions;
mod unique;
mod wire;
