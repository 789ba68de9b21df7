//! Whether the system lets go of a socket when its link is removed.
//!
//! Up to Linux 6.12 a direct descriptor that is taken out of the ring stays open until every operation that was submitted
//! earlier has ended, those on other descriptors too. A receive on a quiet link never ends, so the sockets of all links
//! removed later would stay open, and the other sides would not hear that they are closed.

use super::Refused;
use io_uring::types::Fixed;
use io_uring::{EnterFlags, IoUring, opcode};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// Removes a descriptor while an operation on another one is under way; its other end must hear of it at once. The first
/// two direct descriptors must be free, and are afterwards.
pub(super) fn check_release(uring: &mut IoUring) -> Result<(), Refused> {
    match is_released(uring) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let error = io::Error::from(io::ErrorKind::Unsupported);
            Err(Refused { what: "letting go of descriptors one by one (Linux 6.13)", error })
        }
        Err(error) => Err(Refused { what: "trying to let go of a descriptor", error }),
    }
}

fn is_released(uring: &mut IoUring) -> io::Result<bool> {
    let (quiet, other_end) = UnixStream::pair()?;
    let (removed, mut hears) = UnixStream::pair()?;
    uring.submitter().register_files_update(0, &[quiet.as_raw_fd(), removed.as_raw_fd()])?;
    let poll = opcode::PollAdd::new(Fixed(0), libc::POLLIN as u32).build();
    // SAFETY: a poll refers to no memory, and its descriptor is a direct one.
    unsafe { uring.submission().push(&poll) }.map_err(|_| io::ErrorKind::WouldBlock)?;
    enter(uring, 1, 0)?;
    uring.submitter().register_files_update(1, &[-1])?;
    drop(removed);
    hears.set_nonblocking(true)?;
    let released = match hears.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        Err(error) => return Err(error),
    };
    // Ends the poll.
    drop(other_end);
    while uring.completion().next().is_none() {
        enter(uring, 0, 1)?;
    }
    uring.submitter().register_files_update(0, &[-1])?;
    Ok(released)
}

/// Submits so many operations and waits for so many completions, unless it is interrupted.
fn enter(uring: &IoUring, submit: u32, least: u32) -> io::Result<()> {
    // SAFETY: no argument is passed, and nothing that is submitted here refers to memory.
    let entered = unsafe {
        uring.submitter().enter::<libc::sigset_t>(submit, least, EnterFlags::GETEVENTS.bits(), None)
    };
    match entered {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}
