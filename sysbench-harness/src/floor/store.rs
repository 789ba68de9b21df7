//! Rows of the yardstick server, and what a burst of requests does to them.

use super::wire::{FULL, GET, MISSING, OK, PUT, REPLY_BYTES, REQUEST_BYTES, Reply, Request, padded};
use crate::workload::mix64;
use duet_memory::{
    Arena, ArenaOptions, HashIndex, MemoryBudget, OutOfMemory, Priority, RowHandle, RowHeader,
};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

/// Requests whose rows are looked up together, so that their cache misses overlap.
const GROUP: usize = 64;
/// Bytes of a row beside its value, generously: header, key, padding, its share of the index.
const ROW_OVERHEAD_BYTES: u64 = 128;

/// Fixed-size rows by key, in the arena and the index of the data node.
#[derive(Debug)]
pub struct Store {
    arena: Arena,
    index: HashIndex,
    value_bytes: usize,
    most_rows: u64,
}

/// Requests that do not follow the format.
#[derive(Debug, PartialEq, Eq)]
pub struct BadRequest;

/// A request of a group.
#[derive(Clone, Copy, Default)]
struct Pending {
    /// Where it starts in the input.
    at: usize,
    kind: u32,
    key: U64,
    hash: u64,
}

fn hash_key(key: &[u8]) -> u64 {
    U64::read_from_bytes(key).map_or(0, |key| mix64(key.get()))
}

impl Store {
    /// A store for at most `rows` rows of `value_bytes` bytes.
    ///
    /// # Errors
    /// The address range cannot be reserved.
    pub fn new(rows: u64, value_bytes: usize) -> Result<Self, OutOfMemory> {
        let row_bytes = 2 * value_bytes as u64 + ROW_OVERHEAD_BYTES;
        let budget = MemoryBudget::new(rows.saturating_mul(row_bytes).saturating_add(64 << 20));
        let arena = Arena::new(budget, ArenaOptions::default())?;
        Ok(Self { arena, index: HashIndex::new(hash_key), value_bytes, most_rows: rows })
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
        let mut group = [Pending::default(); GROUP];
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
                let hash = mix64(request.key.get());
                self.index.prefetch_bucket(&self.arena, hash);
                group[count] = Pending { at, kind: request.kind.get(), key: request.key, hash };
                count += 1;
                at += REQUEST_BYTES + length;
            }
            if count == 0 {
                return Ok(done);
            }
            self.execute_group(&group[..count], input, output);
            done = at;
        }
    }

    fn execute_group(&mut self, group: &[Pending], input: &[u8], output: &mut Vec<u8>) {
        let none = self.index.prefetch_row(&self.arena, 0);
        let mut probes = [none; GROUP];
        for (probe, pending) in probes.iter_mut().zip(group) {
            *probe = self.index.prefetch_row(&self.arena, pending.hash);
        }
        for (probe, pending) in probes.iter_mut().zip(group) {
            self.index.prefetch_overflow(&self.arena, pending.hash, probe);
        }
        for (probe, pending) in probes.into_iter().zip(group) {
            let row = self.index.find_probed(&self.arena, pending.hash, pending.key.as_bytes(), probe);
            let Ok((request, rest)) = Request::ref_from_prefix(&input[pending.at..]) else { return };
            let head = |status: u32, value_bytes: usize| Reply {
                request_id: request.request_id,
                status: U32::new(status),
                value_bytes: U32::new(value_bytes as u32),
            };
            match (pending.kind, row) {
                (GET, Some(row)) => {
                    output.extend_from_slice(head(OK, self.value_bytes).as_bytes());
                    let value = self.arena.value(row);
                    output.extend_from_slice(value);
                    output.resize(output.len() + padded(value.len()) - value.len(), 0);
                }
                (GET, None) => output.extend_from_slice(head(MISSING, 0).as_bytes()),
                (_, row) => {
                    let status = self.put(pending, row, &rest[..self.value_bytes]);
                    output.extend_from_slice(head(status, 0).as_bytes());
                }
            }
        }
    }

    fn reply_bytes(&self) -> usize {
        REPLY_BYTES + padded(self.value_bytes)
    }

    fn put(&mut self, pending: &Pending, row: Option<RowHandle>, value: &[u8]) -> u32 {
        if let Some(row) = row {
            self.arena.value_mut(row).copy_from_slice(value);
            return OK;
        }
        if self.index.len() >= self.most_rows {
            return FULL;
        }
        let header = RowHeader { epoch: 0, sequence: 0, table_version: 0, state: 0, older: RowHandle::NULL };
        let key = pending.key.as_bytes();
        let Ok(row) = self.arena.allocate_row(&header, key, value, Priority::Normal) else { return FULL };
        if self.index.insert(&mut self.arena, pending.hash, row, Priority::Normal).is_err() {
            self.arena.free(row);
            return FULL;
        }
        OK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let mut store = Store::new(100, value_bytes).unwrap();
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
        let mut store = Store::new(10, 100).unwrap();
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
