//! Management nodes with real sockets and real files, on loopback.

mod peer;
mod process;
