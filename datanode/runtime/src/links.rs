//! The two ways to talk to links, behind one seam: readiness (epoll) and completions (io_uring).
//!
//! The loop tells either what a link wants ([`Links::update`]) and takes [`Event`]s. With epoll the loop itself reads and
//! writes; with io_uring what arrived comes with the event, and what is to be sent is submitted by the call that waits.

use crate::link::Link;
use crate::poll::{Interest, Poll, Ticker, Waker};
use crate::socket::Listener;
use crate::table::token;
use crate::thread::RuntimeError;
use crate::uring::{Arrival, Refused, Ring};
use duet_datanode_core::LinkId;
use std::io;
use std::str::FromStr;
use std::sync::Once;

pub(crate) const LISTENER_TOKEN: u64 = 0;
pub(crate) const WAKER_TOKEN: u64 = 1;
pub(crate) const TICKER_TOKEN: u64 = 2;

/// How the threads of a node talk to their links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkIo {
    /// What is best for most: epoll, by the measurements of ADR 7.
    #[default]
    Automatic,
    /// Readiness from epoll, then one system call for each read and write.
    Epoll,
    /// Completions from io_uring, one system call for all reads and writes of a turn. The start fails where the system
    /// refuses it.
    Uring,
    /// io_uring, or epoll in each thread in which the system refuses it.
    UringOrEpoll,
}

impl FromStr for LinkIo {
    type Err = String;

    fn from_str(text: &str) -> Result<LinkIo, String> {
        match text.trim() {
            "auto" => Ok(LinkIo::Automatic),
            "epoll" => Ok(LinkIo::Epoll),
            "uring" => Ok(LinkIo::Uring),
            "uring,epoll" => Ok(LinkIo::UringOrEpoll),
            _ => Err(format!("'{text}' is no way to talk to links; write auto, epoll, uring or uring,epoll")),
        }
    }
}

impl std::fmt::Display for LinkIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LinkIo::Automatic | LinkIo::Epoll => "epoll",
            LinkIo::Uring => "uring",
            LinkIo::UringOrEpoll => "uring,epoll",
        })
    }
}

/// Why the system refuses io_uring to this process, if it does.
pub fn uring_refusal() -> Option<String> {
    let open = || {
        let failed = |error| Refused { what: "a descriptor", error };
        let waker = Waker::new().map_err(failed)?;
        let ticker = Ticker::every(1_000_000).map_err(failed)?;
        Ring::open(1, &waker, &ticker)
    };
    // On a thread of its own: a ring that was closed may interrupt a later call of the thread that had opened it.
    let asked = std::thread::spawn(move || open().err().map(|refused| refused.to_string())).join();
    asked.unwrap_or_else(|_| Some("the attempt failed".to_owned()))
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A descriptor is ready.
    Ready(Readiness),
    /// A receive of io_uring brought something, or ended.
    Arrived(Arrival),
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    /// The number given when it was added.
    pub token: u64,
    /// It can be read, or its end was reached.
    pub readable: bool,
    /// It can be written.
    pub writable: bool,
    /// It failed, was reset, or is closed in both directions.
    pub broken: bool,
}

/// What a loop waits in.
pub(crate) enum Links {
    Epoll(Poll),
    Uring(Box<Ring>),
}

impl Links {
    /// Opens what a loop waits in; `max_links` is 0 for a loop without links.
    pub fn open(io: LinkIo, max_links: usize, waker: &Waker, ticker: &Ticker) -> Result<Links, RuntimeError> {
        let ring = match io {
            LinkIo::Automatic | LinkIo::Epoll => return Links::epoll(waker, ticker),
            LinkIo::Uring | LinkIo::UringOrEpoll => Ring::open(max_links, waker, ticker),
        };
        match ring {
            Ok(ring) => Ok(Links::Uring(Box::new(ring))),
            Err(refused) if io == LinkIo::UringOrEpoll => {
                // Once, not for each thread.
                static TOLD: Once = Once::new();
                TOLD.call_once(|| tracing::info!("this system refuses io_uring ({refused}); epoll is used"));
                Links::epoll(waker, ticker)
            }
            Err(refused) => Err(RuntimeError::Start(format!(
                "this system refuses io_uring ({refused}); --io uring,epoll uses epoll then"
            ))),
        }
    }

    fn epoll(waker: &Waker, ticker: &Ticker) -> Result<Links, RuntimeError> {
        let open = || {
            let poll = Poll::new()?;
            poll.add_waker(waker, WAKER_TOKEN)?;
            poll.add(ticker, TICKER_TOKEN, Interest::READ)?;
            Ok(Links::Epoll(poll))
        };
        open().map_err(|error| RuntimeError::system("epoll", error))
    }

    /// Waits for connections of a listener from now on.
    pub fn add_listener(&mut self, listener: &Listener) -> io::Result<()> {
        match self {
            Links::Epoll(poll) => poll.add(listener, LISTENER_TOKEN, Interest::READ),
            Links::Uring(_) => self.listen(listener, true),
        }
    }

    /// Waits for connections of a listener again, or no more.
    pub fn listen(&mut self, listener: &Listener, on: bool) -> io::Result<()> {
        match self {
            Links::Epoll(poll) => {
                let interest = if on { Interest::READ } else { Interest::NONE };
                poll.change(listener, LISTENER_TOKEN, interest)
            }
            Links::Uring(ring) => {
                ring.listen(listener, on);
                Ok(())
            }
        }
    }

    /// The listener was looked at. Epoll says again when there is more; io_uring must be asked again.
    #[inline]
    pub fn listener_seen(&mut self, listener: &Listener) {
        match self {
            Links::Epoll(_) => {}
            Links::Uring(ring) => ring.listen_again(listener),
        }
    }

    /// Starts to wait for what a new link wants.
    pub fn add(&mut self, link: &mut Link) -> io::Result<()> {
        match self {
            Links::Epoll(poll) => {
                link.interest = link.wanted_interest();
                poll.add(&*link.socket, token(link.id), link.interest)
            }
            Links::Uring(ring) => ring.add(link),
        }
    }

    /// Asks for what a link wants now, if that changed.
    #[inline]
    pub fn update(&mut self, link: &mut Link) {
        match self {
            Links::Epoll(poll) => {
                let wanted = link.wanted_interest();
                if wanted != link.interest {
                    poll.change(&*link.socket, token(link.id), wanted)
                        .expect("the socket is open and was added");
                    link.interest = wanted;
                }
            }
            Links::Uring(ring) => ring.update(link),
        }
    }

    /// Says nothing more about a link.
    pub fn remove(&mut self, link: &Link) {
        match self {
            Links::Epoll(poll) => poll.remove(&*link.socket),
            Links::Uring(ring) => ring.remove(link),
        }
    }

    /// Event number `index` of the last wait.
    #[inline]
    pub fn event(&self, index: usize) -> Event {
        match self {
            Links::Epoll(poll) => Event::Ready(poll.event(index)),
            Links::Uring(ring) => ring.event(index),
        }
    }

    /// Whether output waits for the next call that submits.
    pub fn defers_output(&self) -> bool {
        matches!(self, Links::Uring(_))
    }
}

/// That a descriptor is ready for what a link waits for.
pub(crate) fn ready(link: LinkId, writable: bool, broken: bool) -> Event {
    Event::Ready(Readiness { token: token(link), readable: false, writable, broken })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!("uring".parse(), Ok(LinkIo::Uring));
        assert_eq!("auto".parse(), Ok(LinkIo::Automatic));
        assert_eq!(" epoll".parse(), Ok(LinkIo::Epoll));
        assert_eq!("uring,epoll".parse(), Ok(LinkIo::UringOrEpoll));
        assert!("select".parse::<LinkIo>().unwrap_err().contains("auto, epoll, uring"));
    }
}
