//! Reading a link and cutting what arrives into frames.
//!
//! With epoll all links read into one scratch buffer, whose whole frames are given to the kernel in place. Only the beginning of
//! a frame that has not arrived completely is kept with the link; the rest of it is then read right behind it and
//! what follows into the scratch buffer by the same system call. With io_uring the system
//! has put what arrived into a buffer, which is cut in the same way. An idle link therefore holds no receive memory.

use crate::driven::Driven;
use crate::link::{Link, Partial};
use duet_datanode_core::{LinkId, Nanoseconds};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::announced_length;
use std::io::{self, IoSliceMut, Read};

/// Bytes of a large frame that are asked for at least.
const CHUNK_BYTES: usize = 16 << 10;

/// Bytes of a frame that tell its length.
const PREFIX_BYTES: usize = 8;

/// What one read of a link brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The end of the stream.
    End,
    /// Bytes; what became of them.
    Bytes(usize, Outcome),
}

/// What became of received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All whole frames were given to the kernel; the beginning of another one may be kept.
    Drained,
    /// The kernel wants no more input now; the rest is kept.
    Held,
    /// The bytes are not a frame; the kernel was told and the rest is dropped.
    Damaged,
}

/// Reads a link once, at most about one scratch buffer, and gives the kernel every whole frame.
pub(crate) fn receive<K: Driven>(
    kernel: &mut K,
    link: &mut Link,
    scratch: &mut [u8],
    now: Nanoseconds,
    frames: &mut u64,
) -> io::Result<Received> {
    let Link { id, socket, partial, spoke, .. } = link;
    let before = *frames;
    let mut socket = &**socket;
    let filled = partial.filled;
    let received = if partial.announced == 0 {
        scratch[..filled].copy_from_slice(&partial.bytes[..filled]);
        let count = socket.read(&mut scratch[filled..])?;
        if count == 0 {
            return Ok(Received::End);
        }
        partial.clear();
        Received::Bytes(
            count,
            deliver_and_keep(kernel, *id, &scratch[..filled + count], partial, now, frames),
        )
    } else {
        let missing = partial.announced - filled;
        let chunk = missing.min(filled.max(CHUNK_BYTES)).min(scratch.len());
        partial.make_room(chunk);
        let rest = &mut partial.bytes[filled..filled + chunk];
        let count = if chunk == missing {
            socket.read_vectored(&mut [IoSliceMut::new(rest), IoSliceMut::new(scratch)])?
        } else {
            socket.read(rest)?
        };
        if count == 0 {
            return Ok(Received::End);
        }
        partial.filled += count.min(chunk);
        if partial.filled < partial.announced {
            return Ok(Received::Bytes(count, Outcome::Drained));
        }
        *frames += 1;
        kernel.frame(now, *id, &partial.bytes[..partial.announced]);
        partial.clear();
        let behind = &scratch[..count - chunk];
        Received::Bytes(count, deliver_and_keep(kernel, *id, behind, partial, now, frames))
    };
    *spoke |= *frames > before;
    Ok(received)
}

/// Takes bytes that io_uring has put into one of its buffers, and gives the kernel every whole frame.
pub(crate) fn take<K: Driven>(
    kernel: &mut K,
    link: &mut Link,
    mut bytes: &[u8],
    now: Nanoseconds,
    frames: &mut u64,
) -> Outcome {
    let Link { id, partial, spoke, .. } = link;
    let before = *frames;
    if partial.filled > 0 {
        if partial.announced == 0 {
            let missing = PREFIX_BYTES.saturating_sub(partial.filled).min(bytes.len());
            partial.append(&bytes[..missing]);
            bytes = &bytes[missing..];
            match announced_length(&partial.bytes[..partial.filled], kernel.frame_limit(*id)) {
                Ok(announced) => partial.announced = announced.unwrap_or(0),
                Err(code) => {
                    damaged(kernel, *id, now, code);
                    return Outcome::Damaged;
                }
            }
            if partial.announced == 0 {
                return Outcome::Drained;
            }
        }
        let chunk = (partial.announced - partial.filled).min(bytes.len());
        partial.append(&bytes[..chunk]);
        bytes = &bytes[chunk..];
        if partial.filled < partial.announced {
            return Outcome::Drained;
        }
        *frames += 1;
        kernel.frame(now, *id, &partial.bytes[..partial.announced]);
        partial.clear();
    }
    let outcome = deliver_and_keep(kernel, *id, bytes, partial, now, frames);
    *spoke |= *frames > before;
    outcome
}

/// Goes on with frames that were held back.
pub(crate) fn resume<K: Driven>(
    kernel: &mut K,
    link: &mut Link,
    now: Nanoseconds,
    frames: &mut u64,
) -> Outcome {
    let partial = &mut link.partial;
    let mut bytes = std::mem::take(&mut partial.bytes);
    let filled = std::mem::take(&mut partial.filled);
    let (used, ending) = deliver(kernel, link.id, &bytes[..filled], now, frames);
    let outcome = match ending {
        Ending::Partial { announced } => {
            partial.announced = announced;
            partial.filled = filled - used;
            Outcome::Drained
        }
        Ending::Held => {
            partial.announced = 0;
            partial.filled = filled - used;
            Outcome::Held
        }
        Ending::Damaged => Outcome::Damaged,
    };
    bytes.copy_within(used..filled, 0);
    partial.bytes = bytes;
    outcome
}

/// How a run of bytes ended.
enum Ending {
    /// With the beginning of a frame (or nothing) of this announced length, 0 when not known.
    Partial { announced: usize },
    /// With bytes that the kernel does not want now.
    Held,
    /// With something that is not a frame.
    Damaged,
}

fn deliver_and_keep<K: Driven>(
    kernel: &mut K,
    id: LinkId,
    bytes: &[u8],
    partial: &mut Partial,
    now: Nanoseconds,
    frames: &mut u64,
) -> Outcome {
    let (used, ending) = deliver(kernel, id, bytes, now, frames);
    match ending {
        Ending::Partial { announced } => {
            partial.keep(&bytes[used..], announced);
            Outcome::Drained
        }
        Ending::Held => {
            partial.keep(&bytes[used..], 0);
            Outcome::Held
        }
        Ending::Damaged => Outcome::Damaged,
    }
}

/// Gives the kernel the whole frames at the beginning of `bytes`; returns how many bytes they were.
fn deliver<K: Driven>(
    kernel: &mut K,
    id: LinkId,
    bytes: &[u8],
    now: Nanoseconds,
    frames: &mut u64,
) -> (usize, Ending) {
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        if rest.is_empty() {
            return (used, Ending::Partial { announced: 0 });
        }
        if !kernel.wants_input(id) {
            return (used, Ending::Held);
        }
        match announced_length(rest, kernel.frame_limit(id)) {
            Ok(Some(length)) if length <= rest.len() => {
                *frames += 1;
                kernel.frame(now, id, &rest[..length]);
                used += length;
            }
            Ok(announced) => return (used, Ending::Partial { announced: announced.unwrap_or(0) }),
            Err(code) => {
                damaged(kernel, id, now, code);
                return (used, Ending::Damaged);
            }
        }
    }
}

#[cold]
fn damaged<K: Driven>(kernel: &mut K, id: LinkId, now: Nanoseconds, code: ErrorCode) {
    kernel.damaged(now, id, code);
}
