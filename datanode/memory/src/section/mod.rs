//! Sections: byte buffers that are filled once by one thread and then read by any.
//!
//! A large payload travels from thread to thread by its handle, never by its bytes. The buffers are blocks of a
//! [`SectionPool`]; whichever thread drops the last handle gives the block back.
//!
//! ```
//! let pool = duet_memory::SectionPool::new(16, 4096);
//! let mut section = pool.take(11);
//! assert_eq!(section.extend_from_slice(b"hello world"), 11);
//! let whole = section.freeze();
//! let world = whole.slice(6..11);
//! drop(whole);
//! assert_eq!(&world[..], b"world");
//! ```
//!
//! Built with `--cfg loom`, the atomics are those of loom and the module `loom_models` tries every order of events
//! that two threads allow.

mod block;
mod free_list;
mod handle;
#[cfg(all(test, loom))]
mod loom_models;
mod pool;
mod sync;

pub use handle::{Section, SectionMut};
pub use pool::SectionPool;
