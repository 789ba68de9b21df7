//! The whole Duet cluster in one thread, from one seed.
//!
//! Data nodes, management nodes and clients are the cores that also run in real processes. This crate replaces what is
//! around them: the network, the disks of the management nodes, and time. Everything random comes from the seed, so a
//! run can be repeated event by event; its trace hash says whether it was the same.
//!
//! [`run_seed`] plays one seed: a cluster forms, clients use it while a random subset of faults strikes, the faults stop,
//! and everything is judged by the checks of [`checker`] and by comparing the replicas.

mod burst;
pub mod checker;
mod choice;
pub mod clock;
mod cluster;
pub mod crash;
mod disk;
mod driver;
mod event;
mod faults;
pub mod history;
mod management_faults;
mod network;
pub mod plan;
pub mod planted;
mod process;
pub mod queue;
pub mod random;
mod run;
mod trace;
pub mod workload;
mod world;

pub use choice::FaultChoice;
pub use driver::{Arguments, run};
pub use run::{Report, run_plan, run_seed};
pub use world::FaultCounts;
