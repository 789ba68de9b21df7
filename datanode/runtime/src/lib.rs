//! Threads, links and clocks under the Duet data node.
//!
//! [`BatchThread`] runs the batch pipeline: one thread that owns every socket and drives one [`Driven`] (the kernel
//! of `duet-datanode-core`) from a loop over epoll or io_uring ([`LinkIo`]). Nothing here knows a signal; of the protocol it uses only the length
//! that a frame announces.
//!
//! Threads that share the work talk through [`mailbox`]es and wake each other by their [`Bell`]s.
//!
//! One turn of the loop: wait, read the clock, give every whole frame to the kernel in place, tick, flush, write what
//! the kernel hands out, obey its commands.

mod affinity;
mod arrive;
mod batch;
mod clock;
mod connect;
mod driven;
mod link;
mod links;
mod mailbox;
mod output;
mod pipeline;
mod poll;
mod process;
mod receive;
mod resolve;
mod responsiveness;
mod snapshot;
mod socket;
mod spin;
mod table;
mod thread;
mod uring;
mod warnings;

pub use affinity::{CpuListError, CpuPlan, UsableCpus, parse_cpu_list, plan_cpu};
pub use batch::Limits;
pub use clock::boot_nanoseconds;
pub use driven::Driven;
pub use links::{LinkIo, uring_refusal};
pub use mailbox::{Asleep, Bell, LoopBell, MailboxReceiver, MailboxSender, mailbox};
pub use pipeline::{Pipeline, PipelineOptions, ThreadRoles};
pub use poll::Waker;
pub use process::{ProcessUsage, memory_available_bytes, raise_file_limit};
pub use responsiveness::Responsiveness;
pub use snapshot::{LinkCounters, Snapshot, SnapshotReader};
pub use socket::{ListenError, Listener};
pub use thread::{BatchOptions, BatchThread, RuntimeError, Stopper};
