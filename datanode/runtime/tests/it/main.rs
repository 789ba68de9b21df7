//! The batch loop over real sockets, driving a kernel that only echoes, or a real one where strangers knock: once on epoll and
//! once on io_uring.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::duplicate_mod, reason = "the same tests run on both")]

#[path = "suite/mod.rs"]
mod epoll;
mod forbidden;
#[path = "suite/mod.rs"]
mod uring;
