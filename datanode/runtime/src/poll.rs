//! Readiness of many sockets (epoll, level-triggered), a way to wake the thread that waits for it (eventfd), and a
//! clock that does so at a fixed interval (timerfd).

use crate::links::Readiness;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

/// Events taken in one wait.
pub(crate) const EVENTS_PER_WAIT: usize = 256;

/// What to be told about a socket; errors and resets are always told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
}

impl Interest {
    pub const NONE: Interest = Interest { read: false, write: false };
    pub const READ: Interest = Interest { read: true, write: false };
    pub const WRITE: Interest = Interest { read: false, write: true };

    fn bits(self) -> u32 {
        let read = if self.read { libc::EPOLLIN } else { 0 };
        let write = if self.write { libc::EPOLLOUT } else { 0 };
        (read | write) as u32
    }
}

/// An epoll instance and room for what it reports.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Box<[libc::epoll_event]>,
    ready: usize,
}

impl AsRawFd for Poll {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

impl Poll {
    pub fn new() -> io::Result<Poll> {
        // SAFETY: no pointers are passed; the result is checked before it is used as a descriptor.
        let fd = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_WAIT].into_boxed_slice();
        Ok(Poll { epoll: fd, events, ready: 0 })
    }

    pub fn add(&self, socket: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket.as_raw_fd(), token, interest)
    }

    /// Adds a waker, each of whose wake-ups is reported once: nobody needs to take it.
    pub fn add_waker(&self, waker: &Waker, token: u64) -> io::Result<()> {
        self.register(libc::EPOLL_CTL_ADD, waker.as_raw_fd(), token, (libc::EPOLLIN | libc::EPOLLET) as u32)
    }

    pub fn change(&self, socket: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket.as_raw_fd(), token, interest)
    }

    /// Says nothing more about a socket; another thread may keep it open for a while.
    pub fn remove(&self, socket: &impl AsRawFd) {
        // It was added, and nobody else removes it; a failure would only mean that it is gone already.
        let _ = self.control(libc::EPOLL_CTL_DEL, socket.as_raw_fd(), 0, Interest::NONE);
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.register(operation, fd, token, interest.bits())
    }

    fn register(&self, operation: libc::c_int, fd: RawFd, token: u64, events: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: both descriptors are open for the duration of the call (one is owned by `self`, the other borrowed
        // by the caller), and `event` is a valid epoll_event that the kernel only reads.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits at most `timeout_ms` (0: does not wait; negative: without limit) and returns the number of events.
    pub fn wait(&mut self, timeout_ms: i32) -> io::Result<usize> {
        self.ready = 0;
        let room = self.events.len() as libc::c_int;
        // SAFETY: `events` points to `room` epoll_events owned by `self`, which the kernel may overwrite; nothing else
        // refers to them during the call.
        let result =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), room, timeout_ms) };
        if result < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) };
        }
        self.ready = result as usize;
        Ok(self.ready)
    }

    /// Event number `index` of the last wait.
    pub fn event(&self, index: usize) -> Readiness {
        let event = self.events[..self.ready][index];
        let has = |bits: libc::c_int| event.events & bits as u32 != 0;
        Readiness {
            token: event.u64,
            readable: has(libc::EPOLLIN),
            writable: has(libc::EPOLLOUT),
            broken: has(libc::EPOLLERR | libc::EPOLLHUP),
        }
    }
}

/// Wakes the loop from another thread; clones wake the same loop.
#[derive(Clone, Debug)]
pub struct Waker {
    eventfd: Arc<OwnedFd>,
}

impl Waker {
    /// A waker that nobody listens to yet.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn new() -> io::Result<Waker> {
        // SAFETY: no pointers are passed; the result is checked before it is used as a descriptor.
        let fd = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        Ok(Waker { eventfd: Arc::new(fd) })
    }

    /// Makes the current or next wait of the loop return.
    pub fn wake(&self) {
        let one = 1u64;
        // SAFETY: the descriptor is owned by `self`, and the pointer and length describe the eight bytes of `one`.
        // A full counter (the only expected failure) means that a wake-up is pending already.
        let _ = unsafe { libc::write(self.eventfd.as_raw_fd(), (&raw const one).cast(), 8) };
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }
}

/// Makes waits return at a fixed interval. A time limit of every single wait would arm and cancel a kernel timer each
/// time, which on a virtual machine costs more than the wait itself.
pub(crate) struct Ticker {
    timerfd: OwnedFd,
}

impl Ticker {
    /// A clock with this interval.
    pub fn every(nanoseconds: u64) -> io::Result<Ticker> {
        // SAFETY: no pointers are passed; the result is checked before it is used as a descriptor.
        let timerfd = owned(unsafe {
            libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK)
        })?;
        let ticker = Ticker { timerfd };
        ticker.set(nanoseconds)?;
        Ok(ticker)
    }

    /// Changes the interval; the next tick comes after a whole one.
    pub fn set(&self, nanoseconds: u64) -> io::Result<()> {
        const SECOND: u64 = 1_000_000_000;
        let interval = libc::timespec {
            tv_sec: (nanoseconds / SECOND) as libc::time_t,
            tv_nsec: (nanoseconds % SECOND) as libc::c_long,
        };
        let value = libc::itimerspec { it_interval: interval, it_value: interval };
        // SAFETY: the descriptor is owned, `value` is only read during the call, and no old value is asked for.
        let result = unsafe {
            libc::timerfd_settime(self.timerfd.as_raw_fd(), 0, &raw const value, std::ptr::null_mut())
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes all ticks that happened so far.
    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: the descriptor is owned by `self`, and the pointer and length describe the eight bytes of `count`.
        // Without a tick the call fails with EAGAIN, which changes nothing.
        let _ = unsafe { libc::read(self.timerfd.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsRawFd for Ticker {
    fn as_raw_fd(&self) -> RawFd {
        self.timerfd.as_raw_fd()
    }
}

fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system call that returned `result` opened it for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_is_seen_once() {
        let mut poll = Poll::new().unwrap();
        let waker = Waker::new().unwrap();
        poll.add_waker(&waker, 7).unwrap();
        assert_eq!(poll.wait(0).unwrap(), 0);
        waker.wake();
        waker.clone().wake();
        assert_eq!(poll.wait(1_000).unwrap(), 1);
        let event = poll.event(0);
        assert_eq!((event.token, event.readable, event.broken), (7, true, false));
        assert_eq!(poll.wait(0).unwrap(), 0);
        waker.wake();
        assert_eq!(poll.wait(1_000).unwrap(), 1, "the next one is seen again");
    }
}
