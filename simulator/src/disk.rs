//! The disk of a management node: bytes become durable some time after they are written, in their order.

use std::collections::VecDeque;

struct Writing {
    number: u64,
    replace: bool,
    bytes: Vec<u8>,
}

/// A log file that survives its process.
#[derive(Default)]
pub struct Disk {
    durable: Vec<u8>,
    writing: VecDeque<Writing>,
}

impl Disk {
    /// Begins to write `bytes` at the end of the log, or with `replace` in place of the whole log.
    pub fn write(&mut self, number: u64, replace: bool, bytes: Vec<u8>) {
        self.writing.push_back(Writing { number, replace, bytes });
    }

    /// The oldest write that is under way is durable; returns its number.
    pub fn finish(&mut self) -> Option<u64> {
        let Writing { number, replace, bytes } = self.writing.pop_front()?;
        if replace {
            self.durable = bytes;
        } else {
            self.durable.extend_from_slice(&bytes);
        }
        Some(number)
    }

    /// The process is killed: some of what was under way is there, the last of it perhaps in part.
    ///
    /// `below` draws a number below its argument.
    pub fn crash(&mut self, mut below: impl FnMut(u64) -> u64) {
        let whole = below(self.writing.len() as u64 + 1);
        for _ in 0..whole {
            self.finish();
        }
        if let Some(torn) = self.writing.front().filter(|torn| !torn.replace) {
            let kept = below(torn.bytes.len() as u64 + 1) as usize;
            self.durable.extend_from_slice(&torn.bytes[..kept]);
        }
        self.writing.clear();
    }

    /// Cuts everything behind the first `bytes` bytes off.
    pub fn cut(&mut self, bytes: u64) {
        self.durable.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// Whether the oldest write that is under way replaces the whole log.
    pub fn replaces_next(&self) -> bool {
        self.writing.front().is_some_and(|writing| writing.replace)
    }

    /// Whether nothing is being written.
    pub fn is_idle(&self) -> bool {
        self.writing.is_empty()
    }

    /// The directory is put back from a copy, or with no bytes is empty.
    pub fn restore(&mut self, bytes: Vec<u8>) {
        *self = Disk { durable: bytes, writing: VecDeque::new() };
    }

    /// What a starting process finds.
    pub fn contents(&self) -> &[u8] {
        &self.durable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_durable_and_a_prefix_of_the_rest() {
        let mut disk = Disk::default();
        disk.write(1, false, b"abc".to_vec());
        disk.write(2, false, b"def".to_vec());
        assert_eq!(disk.finish(), Some(1));
        let mut draws = [0, 2].into_iter();
        disk.crash(|_| draws.next().expect("two draws"));
        assert_eq!(disk.contents(), b"abcde");
        disk.write(3, true, b"x".to_vec());
        disk.crash(|_| 0);
        assert_eq!(disk.contents(), b"abcde");
        disk.write(4, true, b"y".to_vec());
        assert_eq!(disk.finish(), Some(4));
        assert_eq!(disk.contents(), b"y");
    }
}
