//! Whether the system ends sends as the links rely on.

use super::{Refused, send};
use io_uring::types::Fd;
use io_uring::{EnterFlags, IoUring, opcode, squeue};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// More than a socket takes at once.
const MUCH: usize = 4 << 20;

/// Tries a send of which the system takes a part, one of which it takes nothing and one that it takes. Each must be over when
/// the call that submits it returns; the first two with a completion, the last without.
pub(super) fn check_sends(uring: &mut IoUring) -> Result<(), Refused> {
    let refused = |error| Refused { what: "trying to send", error };
    let (near, mut far) = UnixStream::pair().map_err(refused)?;
    let bytes = vec![0; MUCH];
    let mut attempt = |count: usize| -> io::Result<Option<i32>> {
        let entry = send!(Fd(near.as_raw_fd()), bytes[..count]);
        // SAFETY: `bytes` is not freed before this function ends. A system that still used it then would be one that this
        // check is there to refuse; it only reads, and from memory of this process.
        unsafe {
            uring.submission().push(&entry).map_err(|_| io::ErrorKind::WouldBlock)?;
            uring.submitter().enter::<libc::sigset_t>(1, 0, EnterFlags::GETEVENTS.bits(), None)?;
        }
        Ok(uring.completion().next().map(|completion| completion.result()))
    };
    let part = attempt(MUCH).map_err(refused)?;
    let nothing = attempt(MUCH).map_err(refused)?;
    let Some(taken) = part.filter(|taken| (1..MUCH as i32).contains(taken)) else {
        return Err(refused(io::Error::other(format!("{part:?} for a part"))));
    };
    if nothing != Some(-libc::EAGAIN) {
        return Err(refused(io::Error::other(format!("{nothing:?} for nothing"))));
    }
    far.read_exact(&mut vec![0; taken as usize]).map_err(refused)?;
    match attempt(1).map_err(refused)? {
        None => Ok(()),
        Some(result) => Err(refused(io::Error::other(format!("{result} for all")))),
    }
}
