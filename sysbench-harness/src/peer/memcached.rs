//! memcached: a multi-key `get` and pipelined `set` commands of its text protocol
//! (<https://github.com/memcached/memcached/blob/master/doc/protocol.txt>).
//!
//! The reads of a batch travel as one `get` with all keys, which is what its users do, and its updates as `set`
//! commands behind it, all in one write.

use super::resp::{line, number};
use crate::connection::{Connection, Endpoint};
use crate::target::{BatchResults, KeyWorker};
use crate::workload::{Operation, OperationKind, printable_key, write_value};
use anyhow::{Context, Result, bail, ensure};

/// A part of the reply to a `get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    /// `VALUE key flags bytes` and the bytes.
    Value { key: &'a [u8], value: &'a [u8] },
    /// `END`
    End,
}

/// Reads the part at the start of `bytes`; with its length, or `None` if it is not complete.
fn parse_part(bytes: &[u8]) -> Result<Option<(Part<'_>, usize)>> {
    let Some((line, after)) = line(bytes)? else { return Ok(None) };
    if line == b"END" {
        return Ok(Some((Part::End, after)));
    }
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(b"VALUE"), Some(key), Some(_flags), Some(length)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        bail!("`{}` instead of a value", String::from_utf8_lossy(line));
    };
    let length = number(length).context("the length of a value")?;
    let Some(payload) = bytes.get(after..after + length + 2) else { return Ok(None) };
    ensure!(payload.ends_with(b"\r\n"), "a value does not end where it should");
    Ok(Some((Part::Value { key, value: &payload[..length] }, after + length + 2)))
}

/// A pipelined client on one connection.
pub(super) struct MemcachedWorker {
    connection: Connection,
    output: Vec<u8>,
    value_bytes: usize,
    set_tail: Vec<u8>,
}

impl MemcachedWorker {
    pub(super) fn open(endpoint: &Endpoint, value_bytes: usize) -> Result<Self> {
        let set_tail = format!(" 0 0 {value_bytes}\r\n").into_bytes();
        Ok(Self { connection: Connection::open(endpoint)?, output: Vec::new(), value_bytes, set_tail })
    }

    fn append_get(&mut self, batch: &[Operation]) {
        self.output.extend_from_slice(b"get");
        for operation in batch.iter().filter(|operation| operation.kind == OperationKind::Read) {
            self.output.push(b' ');
            self.output.extend_from_slice(&printable_key(operation.key));
        }
        self.output.extend_from_slice(b"\r\n");
    }

    fn append_set(&mut self, operation: &Operation) {
        self.output.extend_from_slice(b"set ");
        self.output.extend_from_slice(&printable_key(operation.key));
        self.output.extend_from_slice(&self.set_tail);
        let start = self.output.len();
        self.output.resize(start + self.value_bytes, 0);
        write_value(operation.key, operation.generation, &mut self.output[start..]);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Values come in the order of the keys, without those that do not exist.
    fn receive_values(&mut self, batch: &[Operation], results: &mut BatchResults<'_>) -> Result<()> {
        let mut reads = batch
            .iter()
            .enumerate()
            .filter(|(_, operation)| operation.kind == OperationKind::Read)
            .map(|(index, operation)| (index, printable_key(operation.key)));
        loop {
            let mut consumed = 0;
            let mut ended = false;
            while let Some((part, length)) = parse_part(&self.connection.received()[consumed..])? {
                consumed += length;
                match part {
                    Part::End => {
                        ended = true;
                        break;
                    }
                    Part::Value { key, value } => loop {
                        let (index, wanted) =
                            reads.next().context("a value of a key that was not asked for")?;
                        if wanted == key {
                            results.value(index, value);
                            break;
                        }
                        results.missing(index);
                    },
                }
            }
            self.connection.consume(consumed);
            if ended {
                reads.for_each(|(index, _)| results.missing(index));
                return Ok(());
            }
            self.connection.receive()?;
        }
    }

    fn receive_stored(&mut self, batch: &[Operation], results: &mut BatchResults<'_>) -> Result<()> {
        let updates =
            batch.iter().enumerate().filter(|(_, operation)| operation.kind == OperationKind::Update);
        for (index, _) in updates {
            loop {
                if let Some((line, after)) = line(self.connection.received())? {
                    match line {
                        b"STORED" => results.updated(index),
                        other => results.refused(index, &String::from_utf8_lossy(other)),
                    }
                    self.connection.consume(after);
                    break;
                }
                self.connection.receive()?;
            }
        }
        Ok(())
    }
}

impl KeyWorker for MemcachedWorker {
    fn execute(&mut self, batch: &[Operation], results: &mut BatchResults<'_>) -> Result<()> {
        self.output.clear();
        let reads = batch.iter().any(|operation| operation.kind == OperationKind::Read);
        if reads {
            self.append_get(batch);
        }
        for operation in batch.iter().filter(|operation| operation.kind == OperationKind::Update) {
            self.append_set(operation);
        }
        self.connection.send(&self.output)?;
        if reads {
            self.receive_values(batch, results)?;
        }
        self.receive_stored(batch, results)
    }
}

/// Process id and version that a server tells of itself.
///
/// # Errors
/// It cannot be reached, or does not tell.
pub(super) fn identity(endpoint: &Endpoint) -> Result<(u32, String)> {
    let mut connection = Connection::open(endpoint)?;
    connection.send(b"stats\r\n")?;
    while !connection.received().ends_with(b"END\r\n") {
        connection.receive()?;
    }
    let text = std::str::from_utf8(connection.received()).context("stats")?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let process_id = field("STAT pid ").context("stats does not tell the pid")?;
    let version = field("STAT version ").context("stats does not tell the version")?;
    Ok((process_id.parse().context("pid")?, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_only_when_complete() {
        let stream: &[u8] = b"VALUE 00000001 0 5\r\na\r\nbc\r\nVALUE k 7 0\r\n\r\nEND\r\n";
        let expected = [
            Part::Value { key: b"00000001", value: b"a\r\nbc" },
            Part::Value { key: b"k", value: b"" },
            Part::End,
        ];
        let mut at = 0;
        for part in expected {
            let (_, length) = parse_part(&stream[at..]).unwrap().unwrap();
            for cut in 0..length {
                assert_eq!(parse_part(&stream[at..at + cut]).unwrap(), None, "{part:?} cut at {cut}");
            }
            assert_eq!(parse_part(&stream[at..at + length]).unwrap(), Some((part, length)));
            at += length;
        }
        assert_eq!(at, stream.len());
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [&b"ERROR\r\n"[..], b"VALUE k 0\r\n", b"VALUE k 0 x\r\n", b"VALUE k 0 1\r\nabc"] {
            assert!(parse_part(bytes).is_err(), "{bytes:?}");
        }
    }
}
