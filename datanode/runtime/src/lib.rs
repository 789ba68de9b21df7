//! Threads, links and clocks under the Duet data node.
//!
//! [`start`] runs a [`duet_datanode_core::Kernel`] on one thread: an epoll loop over non-blocking sockets that hands
//! whole frames to the kernel in place and writes what the kernel hands out (the batch pipeline).

mod clock;
mod event_loop;
mod link;
mod poll;
mod socket;

pub use clock::boot_nanoseconds;
pub use event_loop::{LinkCounters, Node, NodeHandle, Snapshot, start};
