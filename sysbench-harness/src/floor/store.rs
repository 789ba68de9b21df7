//! Rows of the yardstick server, and what a burst of requests does to them.

use super::index::{GROUP, Index};
use super::wire::{FULL, GET, MISSING, OK, PUT, REPLY_BYTES, REQUEST_BYTES, Reply, Request, padded};
use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;
/// Bytes of the key at the start of a row.
const KEY_BYTES: usize = 8;

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
struct Line([u64; LINE_BYTES / 8]);

/// Fixed-size rows by key.
#[derive(Debug)]
pub struct Store {
    index: Index,
    lines: Vec<Line>,
    lines_per_row: usize,
    value_bytes: usize,
    used_rows: usize,
    most_rows: usize,
}

/// Requests that do not follow the format.
#[derive(Debug, PartialEq, Eq)]
pub struct BadRequest;

impl Store {
    /// A store for `rows` rows of `value_bytes` bytes, all memory taken now.
    #[must_use]
    pub fn new(rows: usize, value_bytes: usize) -> Self {
        let rows = rows.min(u32::MAX as usize - 1);
        let lines_per_row = (KEY_BYTES + value_bytes).div_ceil(LINE_BYTES);
        Self {
            index: Index::new(rows),
            lines: vec![Line([0; LINE_BYTES / 8]); rows * lines_per_row],
            lines_per_row,
            value_bytes,
            used_rows: 0,
            most_rows: rows,
        }
    }

    /// Executes the complete requests at the start of `input` until they are used up or `output` holds
    /// `most_output` bytes or more. Replies are appended to `output`; returns the bytes of `input` that are done.
    pub fn execute(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        most_output: usize,
    ) -> Result<usize, BadRequest> {
        let mut done = 0;
        let mut requests = [(0_usize, 0_u32); GROUP];
        let mut keys = [0; GROUP];
        let mut found = [None; GROUP];
        loop {
            let mut count = 0;
            let mut at = done;
            while count < GROUP && output.len() + count * self.reply_bytes() < most_output {
                let Ok((request, rest)) = Request::ref_from_prefix(&input[at..]) else { break };
                let length = match request.kind.get() {
                    GET if request.value_bytes.get() == 0 => 0,
                    PUT if request.value_bytes.get() as usize == self.value_bytes => padded(self.value_bytes),
                    _ => return Err(BadRequest),
                };
                if rest.len() < length {
                    break;
                }
                requests[count] = (at, request.kind.get());
                keys[count] = request.key.get();
                count += 1;
                at += REQUEST_BYTES + length;
            }
            if count == 0 {
                return Ok(done);
            }
            self.index.find_group(&keys[..count], |row| self.touch(row), &mut found);
            for ((at, kind), row) in requests[..count].iter().zip(found) {
                let Ok((request, rest)) = Request::ref_from_prefix(&input[*at..]) else { break };
                if *kind == GET {
                    self.reply_to_get(request, row, output);
                } else {
                    let status = self.put(request.key.get(), row, &rest[..self.value_bytes]);
                    let head = Reply {
                        request_id: request.request_id,
                        status: U32::new(status),
                        value_bytes: U32::ZERO,
                    };
                    output.extend_from_slice(head.as_bytes());
                }
            }
            done = at;
        }
    }

    fn reply_bytes(&self) -> usize {
        REPLY_BYTES + padded(self.value_bytes)
    }

    fn first_line(&self, row: u32) -> usize {
        row as usize * self.lines_per_row
    }

    fn key_of(&self, row: u32) -> u64 {
        self.lines[self.first_line(row)].0[0]
    }

    /// The key of a row; reads the row's second line too, so that it is on its way.
    fn touch(&self, row: u32) -> u64 {
        if self.lines_per_row > 1 {
            std::hint::black_box(self.lines[self.first_line(row) + 1].0[0]);
        }
        self.key_of(row)
    }

    fn reply_to_get(&self, request: &Request, row: Option<u32>, output: &mut Vec<u8>) {
        let (status, value_bytes) = if row.is_some() { (OK, self.value_bytes) } else { (MISSING, 0) };
        let head = Reply {
            request_id: request.request_id,
            status: U32::new(status),
            value_bytes: U32::new(value_bytes as u32),
        };
        output.extend_from_slice(head.as_bytes());
        if let Some(row) = row {
            let start = self.first_line(row);
            let bytes = self.lines[start..start + self.lines_per_row].as_bytes();
            let end = KEY_BYTES + padded(self.value_bytes);
            match bytes.get(KEY_BYTES..end) {
                Some(value) => output.extend_from_slice(value),
                // The padding reaches beyond the row.
                None => {
                    output.extend_from_slice(&bytes[KEY_BYTES..KEY_BYTES + self.value_bytes]);
                    output.resize(output.len() + padded(self.value_bytes) - self.value_bytes, 0);
                }
            }
        }
    }

    fn put(&mut self, key: u64, row: Option<u32>, value: &[u8]) -> u32 {
        // Two puts of a new key in one group were both looked up before either was inserted.
        let row = row.or_else(|| self.index.find(key, |row| self.key_of(row)));
        let row = match row {
            Some(row) => row,
            None if self.used_rows == self.most_rows => return FULL,
            None => {
                let row = self.used_rows as u32;
                if !self.index.insert(key, row) {
                    return FULL;
                }
                self.used_rows += 1;
                let line = self.first_line(row);
                self.lines[line].0[0] = key;
                row
            }
        };
        let start = self.first_line(row);
        let bytes = self.lines[start..start + self.lines_per_row].as_mut_bytes();
        bytes[KEY_BYTES..KEY_BYTES + self.value_bytes].copy_from_slice(value);
        OK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::byteorder::little_endian::U64;

    fn request(kind: u32, key: u64, value: &[u8]) -> Vec<u8> {
        let head = Request {
            kind: U32::new(kind),
            value_bytes: U32::new(value.len() as u32),
            request_id: U64::new(key + 1000),
            key: U64::new(key),
            reserved: [U64::ZERO; 5],
        };
        let mut bytes = head.as_bytes().to_vec();
        bytes.extend_from_slice(value);
        bytes.resize(REQUEST_BYTES + padded(value.len()), 0);
        bytes
    }

    fn replies(mut output: &[u8]) -> Vec<(u64, u32, Vec<u8>)> {
        let mut replies = Vec::new();
        while let Ok((reply, rest)) = Reply::ref_from_prefix(output) {
            let length = reply.value_bytes.get() as usize;
            replies.push((reply.request_id.get(), reply.status.get(), rest[..length].to_vec()));
            output = &rest[padded(length)..];
        }
        replies
    }

    #[test]
    fn puts_and_gets_for_several_value_sizes() {
        for value_bytes in [16, 53, 56, 100, 120, 333] {
            let mut store = Store::new(100, value_bytes);
            let mut input = Vec::new();
            for key in 0..100 {
                input.extend(request(PUT, key, &vec![1; value_bytes]));
                input.extend(request(PUT, key, &vec![key as u8; value_bytes]));
            }
            input.extend(request(PUT, 100, &vec![0; value_bytes]));
            for key in 0..101 {
                input.extend(request(GET, key, &[]));
            }
            let mut output = Vec::new();
            assert_eq!(store.execute(&input, &mut output, usize::MAX), Ok(input.len()));
            let replies = replies(&output);
            assert_eq!(replies.len(), 302);
            assert!(replies[..200].iter().all(|(_, status, value)| *status == OK && value.is_empty()));
            assert_eq!(replies[200].1, FULL);
            for key in 0..100_u64 {
                assert_eq!(replies[201 + key as usize], (key + 1000, OK, vec![key as u8; value_bytes]));
            }
            assert_eq!(replies[301], (1100, MISSING, Vec::new()));
        }
    }

    #[test]
    fn stops_at_half_requests_and_at_the_output_limit_and_refuses_garbage() {
        let mut store = Store::new(10, 100);
        let put = request(PUT, 1, &[5; 100]);
        let mut output = Vec::new();
        for length in 0..put.len() {
            assert_eq!(store.execute(&put[..length], &mut output, usize::MAX), Ok(0));
        }
        assert_eq!(store.execute(&put, &mut output, usize::MAX), Ok(put.len()));
        let gets: Vec<u8> = (0..8).flat_map(|_| request(GET, 1, &[])).collect();
        output.clear();
        let done = store.execute(&gets, &mut output, 200).unwrap();
        assert_eq!((done, output.len()), (2 * REQUEST_BYTES, 240));
        assert_eq!(store.execute(&[7; 64], &mut output, usize::MAX), Err(BadRequest));
        assert_eq!(store.execute(&request(PUT, 1, &[5; 99]), &mut output, usize::MAX), Err(BadRequest));
    }
}
