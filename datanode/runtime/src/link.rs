//! One link: its socket, its receive buffer, and what the system has not taken yet.

use crate::poll::Interest;
use duet_datanode_core::{LinkId, Nanoseconds, Target};
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Size of a fresh receive buffer, and to which an idle one shrinks.
const INPUT_BYTES: usize = 64 << 10;
/// Bytes that the system has not taken above which the link is given up.
pub const OUTPUT_LIMIT: usize = 32 << 20;
/// Empty backlogs larger than this give their memory back.
const SPARE_OUTPUT_BYTES: usize = 256 << 10;

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The connection is being opened for this target.
    Connecting {
        /// For whom.
        target: Target,
        /// When to give up.
        until: Nanoseconds,
    },
    /// Frames flow.
    Open,
    /// The kernel has closed it; what is left is sent, what comes is dropped.
    Closing {
        /// When to stop being polite.
        until: Nanoseconds,
    },
}

/// One link.
#[derive(Debug)]
pub struct LinkState {
    /// Its name.
    pub id: LinkId,
    /// Its socket.
    pub stream: TcpStream,
    /// How far it is.
    pub progress: Progress,
    /// What the poller waits for.
    pub interest: Interest,
    input: Vec<u8>,
    /// Received and not consumed: `input[start..end]`.
    start: usize,
    end: usize,
    output: Vec<u8>,
    written: usize,
}

impl LinkState {
    /// A new link.
    pub fn new(id: LinkId, stream: TcpStream, progress: Progress, interest: Interest) -> LinkState {
        LinkState {
            id,
            stream,
            progress,
            interest,
            input: Vec::new(),
            start: 0,
            end: 0,
            output: Vec::new(),
            written: 0,
        }
    }

    /// Bytes received and not consumed.
    pub fn received(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    /// Drops the first received bytes.
    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Drops everything received.
    pub fn discard_input(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Makes room so that `wanted` unconsumed bytes fit.
    pub fn reserve_input(&mut self, wanted: usize) {
        if self.start > 0 && self.start + wanted > self.input.len() {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.input.len() < wanted.max(INPUT_BYTES) {
            self.input.resize(wanted.max(INPUT_BYTES), 0);
        }
    }

    /// Gives a large, empty receive buffer back.
    pub fn shrink_input(&mut self) {
        if self.start == self.end && self.input.len() > INPUT_BYTES {
            self.input = Vec::new();
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads once. `None` when nothing is there now; `Some((0, _))` at the end of the stream. The flag tells whether the
    /// buffer was filled, so that more may be waiting.
    ///
    /// # Errors
    /// Of the socket.
    pub fn read(&mut self) -> io::Result<Option<(usize, bool)>> {
        self.reserve_input(self.end - self.start + 1);
        if self.end == self.input.len() {
            self.reserve_input((self.end - self.start) * 2);
        }
        let room = self.input.len() - self.end;
        match self.stream.read(&mut self.input[self.end..]) {
            Ok(count) => {
                self.end += count;
                Ok(Some((count, count == room)))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Bytes handed over that the system has not taken.
    pub fn backlog(&self) -> usize {
        self.output.len() - self.written
    }

    /// Sends bytes: directly as far as the system takes them, the rest into the backlog. Number of system calls.
    ///
    /// # Errors
    /// Of the socket, or when the backlog would exceed its limit.
    pub fn send(&mut self, mut bytes: &[u8]) -> io::Result<u32> {
        let mut calls = 0;
        if self.backlog() == 0 && !matches!(self.progress, Progress::Connecting { .. }) {
            calls = 1;
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        if !bytes.is_empty() {
            if self.backlog() + bytes.len() > OUTPUT_LIMIT {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "the other side does not read"));
            }
            self.output.extend_from_slice(bytes);
        }
        Ok(calls)
    }

    /// Sends from the backlog what the system takes now.
    ///
    /// # Errors
    /// Of the socket.
    pub fn send_backlog(&mut self) -> io::Result<()> {
        while self.backlog() > 0 {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Keep the unsent tail small enough to append to without growing for ever.
                    if self.written > self.output.len() / 2 {
                        self.output.drain(..self.written);
                        self.written = 0;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        if self.output.capacity() > SPARE_OUTPUT_BYTES {
            self.output = Vec::new();
        }
        Ok(())
    }
}
