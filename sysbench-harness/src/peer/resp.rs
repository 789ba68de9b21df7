//! Redis and Valkey: pipelined GET and SET over the RESP protocol
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).

use crate::connection::{Connection, Endpoint};
use crate::target::{BatchResults, KeyWorker};
use crate::workload::{KEY_BYTES, Operation, OperationKind, printable_key, write_value};
use anyhow::{Context, Result, bail, ensure};

/// Longest line of a reply, without its payload.
const LONGEST_LINE: usize = 4096;

/// A reply, as far as the commands that are sent here need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    /// `+OK`
    Simple(&'a [u8]),
    /// `-ERR …`
    Error(&'a [u8]),
    /// `$3` and three bytes
    Bulk(&'a [u8]),
    /// `$-1`: no such key
    Nil,
}

/// Reads the reply at the start of `bytes`; with its length, or `None` if it is not complete.
///
/// # Errors
/// The bytes are no reply.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>> {
    let Some((line, after)) = line(bytes)? else { return Ok(None) };
    let Some((kind, text)) = line.split_first() else { bail!("an empty line instead of a reply") };
    match kind {
        b'+' => Ok(Some((Reply::Simple(text), after))),
        b'-' => Ok(Some((Reply::Error(text), after))),
        b'$' if text == b"-1" => Ok(Some((Reply::Nil, after))),
        b'$' => {
            let length = number(text).context("the length of a bulk reply")?;
            let Some(payload) = bytes.get(after..after + length + 2) else { return Ok(None) };
            ensure!(payload.ends_with(b"\r\n"), "a bulk reply does not end where it should");
            Ok(Some((Reply::Bulk(&payload[..length]), after + length + 2)))
        }
        other => bail!("a reply starts with the byte {other:#04x}"),
    }
}

/// The line at the start of `bytes` without its end, and where the next one starts.
pub(super) fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end > 0 && bytes[end - 1] == b'\r' => Ok(Some((&bytes[..end - 1], end + 1))),
        Some(_) => bail!("a line does not end with CR LF"),
        None if bytes.len() > LONGEST_LINE => bail!("a line is longer than {LONGEST_LINE} bytes"),
        None => Ok(None),
    }
}

/// A decimal number of at most nine digits.
pub(super) fn number(digits: &[u8]) -> Result<usize> {
    ensure!((1..=9).contains(&digits.len()), "`{}` is not a length", String::from_utf8_lossy(digits));
    digits.iter().try_fold(0, |number, digit| {
        ensure!(digit.is_ascii_digit(), "`{}` is not a length", String::from_utf8_lossy(digits));
        Ok(number * 10 + usize::from(digit - b'0'))
    })
}

/// A pipelined client on one connection.
pub(super) struct RespWorker {
    connection: Connection,
    output: Vec<u8>,
    value_bytes: usize,
    set_head: Vec<u8>,
    set_middle: Vec<u8>,
}

impl RespWorker {
    pub(super) fn open(endpoint: &Endpoint, value_bytes: usize) -> Result<Self> {
        Ok(Self {
            connection: Connection::open(endpoint)?,
            output: Vec::new(),
            value_bytes,
            set_head: format!("*3\r\n$3\r\nSET\r\n${KEY_BYTES}\r\n").into_bytes(),
            set_middle: format!("\r\n${value_bytes}\r\n").into_bytes(),
        })
    }

    fn append(&mut self, operation: &Operation) {
        let key = printable_key(operation.key);
        match operation.kind {
            OperationKind::Read => {
                const { assert!(KEY_BYTES == 8) };
                self.output.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$8\r\n");
                self.output.extend_from_slice(&key);
            }
            OperationKind::Update => {
                self.output.extend_from_slice(&self.set_head);
                self.output.extend_from_slice(&key);
                self.output.extend_from_slice(&self.set_middle);
                let start = self.output.len();
                self.output.resize(start + self.value_bytes, 0);
                write_value(operation.key, operation.generation, &mut self.output[start..]);
            }
        }
        self.output.extend_from_slice(b"\r\n");
    }
}

impl KeyWorker for RespWorker {
    fn execute(&mut self, batch: &[Operation], results: &mut BatchResults<'_>) -> Result<()> {
        self.output.clear();
        batch.iter().for_each(|operation| self.append(operation));
        self.connection.send(&self.output)?;
        let mut index = 0;
        while index < batch.len() {
            self.connection.receive()?;
            let mut consumed = 0;
            while let Some((reply, length)) = parse(&self.connection.received()[consumed..])? {
                ensure!(index < batch.len(), "a reply to nothing that was asked");
                match reply {
                    Reply::Bulk(value) => results.value(index, value),
                    Reply::Simple(_) => results.updated(index),
                    Reply::Nil => results.missing(index),
                    Reply::Error(text) => results.refused(index, &String::from_utf8_lossy(text)),
                }
                index += 1;
                consumed += length;
            }
            self.connection.consume(consumed);
        }
        Ok(())
    }
}

/// Process id and version that a server tells of itself.
///
/// # Errors
/// It cannot be reached, or does not tell.
pub(super) fn identity(endpoint: &Endpoint) -> Result<(u32, String)> {
    let mut connection = Connection::open(endpoint)?;
    connection.send(b"INFO server\r\n")?;
    loop {
        connection.receive()?;
        let Some((reply, _)) = parse(connection.received())? else { continue };
        let Reply::Bulk(text) = reply else { bail!("INFO was answered with {reply:?}") };
        let text = std::str::from_utf8(text).context("INFO")?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let process_id = field("process_id:").context("INFO does not tell process_id")?;
        let version = field("valkey_version:").or_else(|| field("redis_version:"));
        let version = version.context("INFO does not tell the version")?;
        return Ok((process_id.parse().context("process_id")?, version.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_only_when_complete() {
        let stream: &[u8] = b"$5\r\na\r\nbc\r\n+OK\r\n$-1\r\n-ERR no\r\n$0\r\n\r\n";
        let expected = [
            Reply::Bulk(b"a\r\nbc"),
            Reply::Simple(b"OK"),
            Reply::Nil,
            Reply::Error(b"ERR no"),
            Reply::Bulk(b""),
        ];
        let mut at = 0;
        for reply in expected {
            let (_, length) = parse(&stream[at..]).unwrap().unwrap();
            for cut in 0..length {
                assert_eq!(parse(&stream[at..at + cut]).unwrap(), None, "{reply:?} cut at {cut}");
            }
            assert_eq!(parse(&stream[at..at + length]).unwrap(), Some((reply, length)));
            at += length;
        }
        assert_eq!(at, stream.len());
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in
            [&b"hello\r\n"[..], b"\r\n", b"$x\r\n", b"$-2\r\n", b"$9999999999\r\n", b"$1\r\nabc", b"+OK\n"]
        {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(parse(&[b'+'; LONGEST_LINE + 1]).is_err());
    }
}
