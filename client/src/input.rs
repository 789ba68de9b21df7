//! Bytes received from a socket, cut into frames.

use duet_client_core::{ClientCore, LinkId, Nanoseconds};
use duet_protocol::frame::announced_length;

/// Bytes that a buffer has room for at first; it grows for larger frames.
const FIRST_BYTES: usize = 64 << 10;
/// A buffer that has grown beyond this shrinks again when it is empty.
const KEEP_BYTES: usize = 1 << 20;

/// The bytes of one link that are not yet handed to the core.
#[derive(Debug)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(crate) fn new() -> Input {
        Input { buffer: vec![0; FIRST_BYTES], start: 0, end: 0 }
    }

    /// Room for what comes next; never empty.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.end..]
    }

    /// Hands all whole frames among the bytes received, `length` of which are new, to the core. False when they
    /// are not frames.
    pub(crate) fn received(
        &mut self,
        length: usize,
        now: Nanoseconds,
        link: LinkId,
        core: &mut ClientCore,
    ) -> bool {
        self.end += length;
        let mut wanted = 0;
        loop {
            let bytes = &self.buffer[self.start..self.end];
            match announced_length(bytes, core.frame_limit(link)) {
                Err(code) => {
                    core.damaged(now, link, code);
                    return false;
                }
                Ok(None) => break,
                Ok(Some(length)) if bytes.len() < length => {
                    wanted = length;
                    break;
                }
                Ok(Some(length)) => {
                    core.frame(now, link, &bytes[..length]);
                    self.start += length;
                }
            }
        }
        self.make_room(wanted);
        true
    }

    fn make_room(&mut self, wanted: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > KEEP_BYTES {
                self.buffer.truncate(FIRST_BYTES);
                self.buffer.shrink_to_fit();
            }
        } else if self.start > 0 && self.buffer.len() - self.end < FIRST_BYTES / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        // A burst that filled the buffer gets a larger one; a frame gets room as a whole.
        let full = self.end == self.buffer.len();
        let doubled = if full && self.buffer.len() < KEEP_BYTES { self.buffer.len() * 2 } else { 0 };
        let needed = (self.start + wanted).max(doubled).max(self.end + 1);
        if needed > self.buffer.len() {
            self.buffer.resize(needed, 0);
        }
    }
}
