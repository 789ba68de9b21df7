//! All tests, on the way to talk to links that the module is named after.

mod bursts;
mod connecting;
pub mod echo;
mod flow;
mod framing;
mod limits;
pub mod strangers;

use duet_runtime::{LinkIo, uring_refusal};

/// How the nodes of these tests talk to their links.
fn io() -> LinkIo {
    if !module_path!().contains("uring") {
        return LinkIo::Epoll;
    }
    match uring_refusal() {
        None => LinkIo::Uring,
        Some(why) => {
            eprintln!("this system refuses io_uring ({why}): the test uses epoll");
            LinkIo::Epoll
        }
    }
}
