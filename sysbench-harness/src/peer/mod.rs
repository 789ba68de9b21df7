//! Other stores on the same machine: started by us as child processes without persistence, on a free loopback port,
//! and asked by hand-written pipelined clients that live in the generator's process like Duet's.

mod memcached;
mod resp;
mod server;

pub use server::{PeerKind, PeerTarget};
