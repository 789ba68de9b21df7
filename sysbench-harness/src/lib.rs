//! Benchmarks, peers and reports of Duet.
//!
//! `duet bench keys` asks Duet, a bare yardstick server and other stores the same questions from the same generator,
//! in alternating rounds on the same CPUs, so that every figure has a ratio beside it. [`workload`] makes the
//! questions, [`target`] is the seam to whoever answers, [`driver`] measures, [`report`] keeps and renders the
//! results. `duet bench pipeline` measures the stages of a data node in the same way. [`local_cluster`] starts whole
//! clusters of child processes and is used far beyond benchmarks.

pub mod cases;
mod command;
mod connection;
pub mod cpu;
pub mod driver;
pub mod duet;
pub mod features;
pub mod floor;
pub mod hot;
pub mod keys;
pub mod latency;
pub mod local_cluster;
pub mod memory;
pub mod options;
pub mod outage;
pub mod pace;
pub mod peer;
pub mod pipeline;
pub mod process;
pub mod rejoin;
pub mod report;
pub mod scan;
pub mod sysbench;
pub mod target;
pub mod transactions;
pub mod workload;

pub use command::{BenchCommand, ReportArguments, run};
