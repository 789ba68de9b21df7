//! Packets: three bytes of length, a sequence number, a payload; longer payloads in parts of 2^24 - 1 bytes.
//!
//! Source of the format: "MySQL Packets" in the MySQL source documentation.

use crate::error::{Result, SqlError};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a part that is followed by another.
const WHOLE_PART: usize = (1 << 24) - 1;
/// Longest payload that is accepted: `max_allowed_packet`.
pub const MAX_PACKET_BYTES: usize = 16 << 20;
/// Bytes that are collected before they are written.
const FLUSH_BYTES: usize = 64 << 10;
/// Room that a buffer keeps for the next command.
const KEEP_BYTES: usize = 256 << 10;

/// Why there is no next packet.
#[derive(Debug)]
pub enum ReadError {
    /// The connection ended, or failed.
    Closed,
    /// The client broke the rules; it hears this, then the connection is closed.
    Broken(SqlError),
}

impl From<io::Error> for ReadError {
    fn from(_: io::Error) -> ReadError {
        ReadError::Closed
    }
}

/// Both directions of a connection.
#[derive(Debug)]
pub struct Packets<R, W> {
    reader: R,
    writer: W,
    sequence: u8,
    output: Vec<u8>,
    input: Vec<u8>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Packets<R, W> {
    /// Packets over a reader, which should be buffered, and a writer.
    pub fn new(reader: R, writer: W) -> Packets<R, W> {
        Packets::from_parts(reader, writer, 0)
    }

    /// Packets that go on with this number.
    pub fn from_parts(reader: R, writer: W, sequence: u8) -> Packets<R, W> {
        Packets { reader, writer, sequence, output: Vec::new(), input: Vec::new() }
    }

    /// Reader, writer and the number of the next packet; what was added and not flushed is lost.
    pub fn into_parts(self) -> (R, W, u8) {
        (self.reader, self.writer, self.sequence)
    }

    /// A new command begins: the next packet that is read has number 0.
    pub fn begin_command(&mut self) {
        self.sequence = 0;
        if self.input.capacity() > KEEP_BYTES {
            self.input = Vec::new();
        }
        if self.output.capacity() > KEEP_BYTES {
            self.output = Vec::new();
        }
    }

    /// The next payload, of at most `limit` bytes.
    ///
    /// # Errors
    /// The end of the connection, a payload that is too long, numbers out of order.
    pub async fn read(&mut self, limit: usize) -> std::result::Result<Vec<u8>, ReadError> {
        let mut payload = std::mem::take(&mut self.input);
        payload.clear();
        loop {
            let mut header = [0; 4];
            self.reader.read_exact(&mut header).await?;
            let [low, middle, high, number] = header;
            let bytes = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
            if number != self.sequence {
                return Err(ReadError::Broken(SqlError::packets_out_of_order("Got packets out of order")));
            }
            self.sequence = number.wrapping_add(1);
            if payload.len() + bytes > limit {
                let text = "Got a packet bigger than 'max_allowed_packet' bytes";
                return Err(ReadError::Broken(SqlError::packet_too_large(text)));
            }
            let start = payload.len();
            payload.resize(start + bytes, 0);
            self.reader.read_exact(&mut payload[start..]).await?;
            if bytes < WHOLE_PART {
                return Ok(payload);
            }
        }
    }

    /// Gives the buffer of a payload back for the next one.
    pub fn give_back(&mut self, payload: Vec<u8>) {
        self.input = payload;
    }

    /// Appends a packet whose payload `fill` writes.
    pub fn add(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.output.len();
        self.output.extend_from_slice(&[0; 4]);
        fill(&mut self.output);
        let bytes = self.output.len() - start - 4;
        if bytes < WHOLE_PART {
            self.header(start, bytes);
        } else {
            self.split(start);
        }
    }

    fn header(&mut self, start: usize, bytes: usize) {
        let length = u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        self.output[start..start + 3].copy_from_slice(&length[..3]);
        self.output[start + 3] = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Cuts the long payload behind `start` into parts; the last one is shorter than a whole one, maybe empty.
    fn split(&mut self, start: usize) {
        let payload = self.output.split_off(start + 4);
        self.output.truncate(start);
        let mut rest = payload.as_slice();
        loop {
            let part = &rest[..rest.len().min(WHOLE_PART)];
            let start = self.output.len();
            self.output.extend_from_slice(&[0; 4]);
            self.output.extend_from_slice(part);
            self.header(start, part.len());
            rest = &rest[part.len()..];
            if part.len() < WHOLE_PART {
                return;
            }
        }
    }

    /// Whether much has been collected, and it is time to write it.
    pub fn is_full(&self) -> bool {
        self.output.len() >= FLUSH_BYTES
    }

    /// Writes what has been collected.
    ///
    /// # Errors
    /// When the connection has failed.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.writer.write_all(&self.output).await?;
        self.output.clear();
        self.writer.flush().await
    }
}

/// Reads fields of a payload; nothing can go beyond its end.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((bytes, rest)) = self.0.split_at_checked(count) else { return Err(malformed()) };
        self.0 = rest;
        Ok(bytes)
    }

    /// The bytes before the next zero, which is passed over.
    ///
    /// # Errors
    /// When there is none.
    pub fn until_zero(&mut self) -> Result<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
        let bytes = self.bytes(end)?;
        self.bytes(1)?;
        Ok(bytes)
    }

    /// A little-endian number of up to eight bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn number(&mut self, bytes: usize) -> Result<u64> {
        Ok(self.bytes(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// One byte.
    ///
    /// # Errors
    /// At the end.
    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    /// A length-encoded number.
    ///
    /// # Errors
    /// When it is cut off, or is none.
    pub fn length(&mut self) -> Result<u64> {
        match self.byte()? {
            0xFC => self.number(2),
            0xFD => self.number(3),
            0xFE => self.number(8),
            0xFB | 0xFF => Err(malformed()),
            small => Ok(u64::from(small)),
        }
    }

    /// Length-encoded bytes.
    ///
    /// # Errors
    /// When they are cut off.
    pub fn string(&mut self) -> Result<&'a [u8]> {
        let length = self.length()?;
        self.bytes(usize::try_from(length).map_err(|_| malformed())?)
    }
}

/// The packet cannot be read.
pub fn malformed() -> SqlError {
    SqlError::malformed_packet("Malformed communication packet.")
}

/// Appends a length-encoded number.
pub fn put_length(number: u64, bytes: &mut Vec<u8>) {
    let encoded = number.to_le_bytes();
    match number {
        0..=0xFA => bytes.push(encoded[0]),
        0xFB..=0xFFFF => {
            bytes.push(0xFC);
            bytes.extend_from_slice(&encoded[..2]);
        }
        0x1_0000..=0xFF_FFFF => {
            bytes.push(0xFD);
            bytes.extend_from_slice(&encoded[..3]);
        }
        _ => {
            bytes.push(0xFE);
            bytes.extend_from_slice(&encoded);
        }
    }
}

/// Appends length-encoded bytes.
pub fn put_string(text: &[u8], bytes: &mut Vec<u8>) {
    put_length(text.len() as u64, bytes);
    bytes.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_payloads_are_cut_and_joined() {
        for bytes in [0, 1, 70_000, WHOLE_PART - 1, WHOLE_PART] {
            let mut written = Vec::new();
            let mut packets = Packets::new(&[][..], &mut written);
            packets.add(|output| output.resize(output.len() + bytes, 7));
            packets.flush().await.expect("memory");
            let mut packets = Packets::new(written.as_slice(), Vec::new());
            let payload = packets.read(MAX_PACKET_BYTES).await.expect("whole");
            assert_eq!(payload.len(), bytes);
            assert!(payload.iter().all(|byte| *byte == 7));
        }
    }

    #[tokio::test]
    async fn broken_packets_are_refused() {
        let mut packets = Packets::new(&[1, 0, 0, 5, 9][..], Vec::new());
        assert!(matches!(packets.read(10).await, Err(ReadError::Broken(error)) if error.code == 1156));
        let mut packets = Packets::new(&[11, 0, 0, 0, 9][..], Vec::new());
        assert!(matches!(packets.read(10).await, Err(ReadError::Broken(error)) if error.code == 1153));
        let mut packets = Packets::new(&[3, 0, 0, 0, 9][..], Vec::new());
        assert!(matches!(packets.read(10).await, Err(ReadError::Closed)));
    }

    #[test]
    fn lengths_come_back() {
        for number in [0, 250, 251, 0xFFFF, 0x1_0000, 0xFF_FFFF, 0x100_0000, u64::MAX] {
            let mut bytes = Vec::new();
            put_length(number, &mut bytes);
            assert_eq!(Fields(&bytes).length().expect("whole"), number);
            for cut in 0..bytes.len() {
                assert!(Fields(&bytes[..cut]).length().is_err());
            }
        }
    }
}
