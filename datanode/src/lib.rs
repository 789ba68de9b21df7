//! Composition root of the Duet data node: command line, process life, metrics, and the join of blocks and threads.

mod arguments;
mod metrics;
mod process;
mod thread_usage;
mod threads;
mod topology;

pub use arguments::{Arguments, CpuList, parse_bytes};
pub use process::{end_with_parent, run};
