//! The batch loop over real sockets, driving a kernel that only echoes, or a real one where strangers knock.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod connecting;
mod echo;
mod flow;
mod framing;
mod limits;
mod strangers;
