//! Readiness of sockets by epoll, level-triggered, and an eventfd that wakes the loop from another thread.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// What a registered descriptor is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
}

/// One ready descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Token given at registration.
    pub token: u64,
    /// It can be read, or has ended.
    pub readable: bool,
    /// It can be written, or has failed.
    pub writable: bool,
}

/// An epoll instance.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// Most events taken in one call.
const EVENTS: usize = 256;

impl Poller {
    /// A new instance.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new() -> io::Result<Poller> {
        // SAFETY: the call takes no pointers.
        let epoll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Poller { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS] })
    }

    /// Registers a descriptor.
    ///
    /// # Errors
    /// Of `epoll_ctl`.
    pub fn add(&self, descriptor: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor, token, interest)
    }

    /// Changes what a descriptor is waited for.
    ///
    /// # Errors
    /// Of `epoll_ctl`.
    pub fn change(&self, descriptor: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, descriptor, token, interest)
    }

    fn control(&self, operation: i32, descriptor: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut flags = 0;
        if interest.read {
            flags |= libc::EPOLLIN | libc::EPOLLRDHUP;
        }
        if interest.write {
            flags |= libc::EPOLLOUT;
        }
        let mut event = libc::epoll_event { events: flags as u32, u64: token };
        // SAFETY: `event` lives across the call; a closed descriptor gives an error, not a fault.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, descriptor, &raw mut event) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits at most `milliseconds` and appends what is ready to `ready`.
    ///
    /// # Errors
    /// Of `epoll_wait`, except an interruption by a signal, which is like no event.
    pub fn wait(&mut self, milliseconds: i32, ready: &mut Vec<Event>) -> io::Result<()> {
        let (pointer, room) = (self.events.as_mut_ptr(), EVENTS as i32);
        // SAFETY: `pointer` has room for `EVENTS` events.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), pointer, room, milliseconds) };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        for event in &self.events[..count as usize] {
            let (flags, token) = (event.events as i32, event.u64);
            let failed = flags & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
            let readable = failed || flags & (libc::EPOLLIN | libc::EPOLLRDHUP) != 0;
            ready.push(Event { token, readable, writable: failed || flags & libc::EPOLLOUT != 0 });
        }
        Ok(())
    }
}

/// Wakes a [`Poller`] from any thread.
#[derive(Debug)]
pub struct Waker {
    descriptor: OwnedFd,
}

impl Waker {
    /// A new waker; register its descriptor for reading.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new() -> io::Result<Waker> {
        // SAFETY: the call takes no pointers.
        let descriptor = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        Ok(Waker { descriptor })
    }

    /// The descriptor to register.
    pub fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Wakes.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` has the eight bytes that an eventfd takes. A full counter wakes as well, so the result is of no interest.
        unsafe { libc::write(self.descriptor.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes the wake-ups that have come.
    pub fn drain(&self) {
        let mut count = [0u8; 8];
        // SAFETY: `count` has room for the eight bytes that an eventfd gives.
        unsafe { libc::read(self.descriptor.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

fn owned(descriptor: RawFd) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system has just given us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
