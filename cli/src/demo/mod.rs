//! `duet demo`: a cluster of processes on this machine that serves real rows.

pub mod data;
