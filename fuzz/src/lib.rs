//! What the fuzz targets do with the bytes that the engine invents, and the seeds that it starts from.
//!
//! Each target is a function from bytes to nothing that panics when a promise is broken. `docs/fuzzing.md` says how to run
//! them and how to repeat a crash.
#![forbid(unsafe_code)]

pub mod frame;
pub mod input;
pub mod kernel;
#[allow(missing_docs, reason = "a file of those tests")]
/// The network of kernels in memory that the tests of the data node's core use.
#[path = "../../datanode/core/tests/it/network.rs"]
pub mod network;
pub mod records;
pub mod rows;
pub mod scan_program;
pub mod seeds;
pub mod signals;
mod sql_seeds;
pub mod sql_text;
pub mod sql_wire;
pub mod tables;

/// Coordinator and data parts of nodes that say nothing else.
const PARTS: Option<(usize, usize)> = None;
/// Secondary indexes of the table of the kernel target.
const INDEXES: &[(&str, &[&str])] = &[("by_balance", &["balance"]), ("by_both", &["id", "balance"])];
