//! The log file of a management node: what Raft must not forget, in blocks that are each written and synced as one.
//!
//! ```text
//! byte  0  magic            8 bytes  "DUETMLOG"
//!       8  number           u64      number of the block, one more than that of the block before it
//!      16  offset           u64      place of this block in its file, a multiple of 8
//!      24  length           u32      bytes of the payload without padding
//!      28  payload checksum u32      CRC-32C of the payload
//!      32  header checksum  u32      CRC-32C of bytes 0..32
//!      36  reserved         u32      0
//!      40  payload          a [`LogBlock`] as rkyv, padded with zero bytes to a multiple of 8
//! ```
//! A file is replaced as a whole (written beside, synced, renamed), so its first block is never torn. Later blocks
//! are appended one at a time, each synced before the next is written: only the last one can be torn, and a bad block
//! with an intact one behind it is damage.

use rkyv::rancor::Error;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the header of a block.
pub const LOG_HEADER_BYTES: usize = 40;
const MAGIC: [u8; 8] = *b"DUETMLOG";
const BLOCK_ALIGNMENT: usize = 8;

/// Whose log this is.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// Management node id.
    pub node: u32,
    /// Random Raft id, drawn when the directory was created and never used by another.
    pub raft_id: u64,
}

/// An entry of the Raft log.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Position.
    pub index: u64,
    /// Term.
    pub term: u64,
    /// 0 command, 1 change of one member, 2 change of members.
    pub kind: u8,
    /// What is applied.
    pub data: Vec<u8>,
}

/// Term, vote and commit index of a Raft node.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogHardState {
    /// Term.
    pub term: u64,
    /// Raft id that got the vote of this term, 0 for none.
    pub vote: u64,
    /// Highest index known to be committed.
    pub commit: u64,
}

/// Who votes and who learns, by Raft id; outgoing and next are empty outside a joint change.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct LogMembers {
    /// Voters.
    pub voters: Vec<u64>,
    /// Learners.
    pub learners: Vec<u64>,
    /// Voters of the configuration that a joint change leaves.
    pub voters_outgoing: Vec<u64>,
    /// Learners after a joint change.
    pub learners_next: Vec<u64>,
    /// Whether the joint change ends by itself.
    pub auto_leave: bool,
}

/// The applied state as of an index.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSnapshot {
    /// Index of the last entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Members as of it.
    pub members: LogMembers,
    /// A record of kind `ManagementSnapshot`.
    pub data: Vec<u8>,
}

/// What is made durable in one step. Parts take effect in the order of the fields.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct LogBlock {
    /// Present in the first block of a file.
    pub identity: Option<LogIdentity>,
    /// Replaces everything before it.
    pub snapshot: Option<LogSnapshot>,
    /// Entries; they overwrite those of the same and later indexes.
    pub entries: Vec<LogEntry>,
    /// The new hard state.
    pub hard_state: Option<LogHardState>,
}

/// Why a log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A block that had been synced is damaged.
    #[error(
        "the log is damaged at byte {offset}; restore the directory from another copy or remove it and let the node join anew"
    )]
    Damaged {
        /// Start of the damaged block.
        offset: u64,
    },
    /// A block is too large to be written.
    #[error("a log block of {bytes} bytes is too large")]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
    },
    /// A block cannot be serialised.
    #[error("a log block cannot be serialised")]
    Unserialisable,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct BlockHeader {
    magic: [u8; 8],
    number: U64,
    offset: U64,
    length: U32,
    payload_checksum: U32,
    header_checksum: U32,
    reserved: U32,
}

const _: () = assert!(size_of::<BlockHeader>() == LOG_HEADER_BYTES);

/// Encodes block `number` for the place `offset` of a file.
///
/// # Errors
/// `TooLarge`, `Unserialisable`.
pub fn encode_log_block(number: u64, offset: u64, block: &LogBlock) -> Result<Vec<u8>, LogError> {
    let payload = rkyv::to_bytes::<Error>(block).map_err(|_| LogError::Unserialisable)?;
    let length = u32::try_from(payload.len()).map_err(|_| LogError::TooLarge { bytes: payload.len() })?;
    let mut header = BlockHeader {
        magic: MAGIC,
        number: U64::new(number),
        offset: U64::new(offset),
        length: U32::new(length),
        payload_checksum: U32::new(crc32c::crc32c(&payload)),
        header_checksum: U32::new(0),
        reserved: U32::new(0),
    };
    header.header_checksum = U32::new(crc32c::crc32c(&header.as_bytes()[..32]));
    let padded = (LOG_HEADER_BYTES + payload.len()).next_multiple_of(BLOCK_ALIGNMENT);
    let mut bytes = Vec::with_capacity(padded);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&payload);
    bytes.resize(padded, 0);
    Ok(bytes)
}

/// The intact blocks of a log file.
#[derive(Debug, Default)]
pub struct LogContents {
    /// Blocks in order.
    pub blocks: Vec<LogBlock>,
    /// Number for the next block.
    pub next_number: u64,
    /// Bytes of the intact blocks; whatever follows is a torn tail and must be cut off before anything is appended.
    pub intact_bytes: u64,
}

/// Reads a log file.
///
/// # Errors
/// `Damaged` when a block is bad that cannot be a torn tail.
pub fn read_log(bytes: &[u8]) -> Result<LogContents, LogError> {
    let mut contents = LogContents { next_number: 1, ..LogContents::default() };
    let mut offset = 0;
    while offset < bytes.len() {
        let Some((number, payload, end)) = intact_block(bytes, offset) else { break };
        let expected = offset == 0 || number == contents.next_number;
        let mut aligned = AlignedVec::<16>::with_capacity(payload.len());
        aligned.extend_from_slice(payload);
        match rkyv::from_bytes::<LogBlock, Error>(&aligned) {
            Ok(block) if expected => contents.blocks.push(block),
            Ok(_) | Err(_) => return Err(LogError::Damaged { offset: offset as u64 }),
        }
        contents.next_number = number + 1;
        offset = end;
    }
    contents.intact_bytes = offset as u64;
    let rest_is_torn_tail = offset > 0
        && (offset + BLOCK_ALIGNMENT..bytes.len())
            .step_by(BLOCK_ALIGNMENT)
            .all(|later| intact_block(bytes, later).is_none());
    if offset < bytes.len() && !rest_is_torn_tail {
        return Err(LogError::Damaged { offset: offset as u64 });
    }
    Ok(contents)
}

/// Number, payload and end of the block at `offset`, if it is intact.
fn intact_block(bytes: &[u8], offset: usize) -> Option<(u64, &[u8], usize)> {
    let (header, rest) = BlockHeader::ref_from_prefix(&bytes[offset..]).ok()?;
    let sound = header.magic == MAGIC
        && header.header_checksum.get() == crc32c::crc32c(&header.as_bytes()[..32])
        && header.offset.get() == offset as u64;
    if !sound {
        return None;
    }
    let payload = rest.get(..header.length.get() as usize)?;
    let end = (offset + LOG_HEADER_BYTES + payload.len()).next_multiple_of(BLOCK_ALIGNMENT);
    (end <= bytes.len() && crc32c::crc32c(payload) == header.payload_checksum.get()).then_some((
        header.number.get(),
        payload,
        end,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(index: u64) -> LogBlock {
        LogBlock {
            identity: (index == 1).then_some(LogIdentity { node: 1, raft_id: 77 }),
            entries: vec![LogEntry { index, term: 2, kind: 0, data: vec![index as u8; 13] }],
            hard_state: Some(LogHardState { term: 2, vote: 77, commit: index }),
            ..LogBlock::default()
        }
    }

    fn file(blocks: u64) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut starts = Vec::new();
        for number in 1..=blocks {
            starts.push(bytes.len());
            bytes.extend(encode_log_block(number, bytes.len() as u64, &block(number)).expect("encodes"));
        }
        (bytes, starts)
    }

    #[test]
    fn blocks_round_trip() {
        let (bytes, _) = file(3);
        let contents = read_log(&bytes).expect("intact");
        assert_eq!(contents.blocks, [block(1), block(2), block(3)]);
        assert_eq!((contents.next_number, contents.intact_bytes), (4, bytes.len() as u64));
        assert_eq!(read_log(&[]).expect("empty").intact_bytes, 0);
    }

    #[test]
    fn a_torn_last_block_is_cut() {
        let (bytes, starts) = file(3);
        for length in starts[2]..bytes.len() {
            let contents = read_log(&bytes[..length]).expect("torn");
            assert_eq!(contents.intact_bytes, starts[2] as u64, "length {length}");
            assert_eq!(contents.blocks.len(), 2);
        }
        let mut zeros = bytes.clone();
        zeros[starts[2]..].fill(0);
        assert_eq!(read_log(&zeros).expect("torn").blocks.len(), 2);
    }

    #[test]
    fn damage_before_an_intact_block_is_refused() {
        let (bytes, starts) = file(3);
        for position in 0..starts[2] {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x20;
            match read_log(&damaged) {
                Err(LogError::Damaged { offset }) => assert!(starts.contains(&(offset as usize))),
                // The padding and the reserved field belong to no checksum and to nobody.
                Ok(contents) => assert_eq!(contents.blocks.len(), 3, "byte {position}"),
                Err(other) => panic!("{other}"),
            }
        }
        assert!(read_log(&bytes[starts[1]..]).is_err(), "a file does not start in the middle");
        assert!(read_log(&bytes[..starts[1] - 8]).is_err(), "the first block is never torn");
    }
}
