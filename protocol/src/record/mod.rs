//! Rich, rare things: cluster state, dictionary and status, as validated `rkyv` records in an envelope.
//!
//! ```text
//! byte  0  magic    8 bytes  "DUETREC\0"
//!       8  kind     u16      see [`RecordKind`]
//!      10  version  u16      version of the kind; the type of a version is frozen
//!      12  length   u32      bytes of the payload
//!      16  checksum u32      CRC-32C of bytes 0..16 and of the payload
//!      20  reserved u32      0
//!      24  payload  rkyv 0.8, little-endian, 32-bit offsets, unaligned access after a copy
//! ```
//! Validation by `rkyv` proves structure, the checksum proves integrity; both are always checked.

mod cluster;
mod log;
mod management;
mod membership;
mod table;
mod user;

pub use cluster::{
    ClusterConfiguration, ClusterState, ClusterStatus, GroupView, Leaving, ManagementRecord, ManagementRole,
    ManagementStatus, Member, MemberState, NodeRecord, NodeStatus, PartitionView, View,
};

pub use log::{
    LOG_HEADER_BYTES, LogBlock, LogContents, LogEntry, LogError, LogHardState, LogIdentity, LogMembers,
    LogSnapshot, encode_log_block, read_log,
};
pub use management::{
    FinishedRequest, JobKind, JobStage, LeaveRequest, ManagementCommand, ManagementSnapshot, SchemaJob,
    TableChange, ViewChange, ViewRecord,
};
pub use membership::ManagementChange;
pub use user::{MAX_USER_CHARACTERS, UserChange, UserList, UserRecord};

use crate::error::ErrorCode;
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the envelope in front of the payload.
pub const RECORD_HEADER_BYTES: usize = 24;
/// Largest payload of a record, in bytes.
pub const MAX_RECORD_BYTES: usize = 15 << 20;

/// Kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RecordKind {
    /// A [`ClusterState`].
    ClusterState = 1,
    /// A [`ClusterStatus`].
    ClusterStatus = 2,
    /// A [`crate::schema::TableDefinition`].
    TableDefinition = 3,
    /// A command of the management nodes' Raft log.
    ManagementCommand = 4,
    /// A snapshot of the management nodes' state machine.
    ManagementSnapshot = 5,
    /// A [`TableChange`].
    TableChange = 6,
    /// A [`UserChange`].
    UserChange = 7,
    /// A [`UserList`].
    UserList = 8,
    /// A [`LeaveRequest`].
    LeaveRequest = 9,
    /// A [`ManagementChange`].
    ManagementChange = 10,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RecordHeader {
    magic: [u8; 8],
    kind: U16,
    version: U16,
    length: U32,
    checksum: U32,
    reserved: U32,
}

const _: () = assert!(size_of::<RecordHeader>() == RECORD_HEADER_BYTES);
const MAGIC: [u8; 8] = *b"DUETREC\0";

fn checksum(header: &RecordHeader, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header.as_bytes()[..16]), payload)
}

/// Encodes a record of `kind` in `version`.
///
/// # Errors
/// `FrameTooLarge` above [`MAX_RECORD_BYTES`]; `Internal` when the value cannot be serialised.
pub fn encode<T>(kind: RecordKind, version: u16, value: &T) -> Result<Vec<u8>, ErrorCode>
where
    T: for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Error>>,
{
    let payload = rkyv::to_bytes::<Error>(value).map_err(|_| ErrorCode::Internal)?;
    if payload.len() > MAX_RECORD_BYTES {
        return Err(ErrorCode::FrameTooLarge);
    }
    let mut header = RecordHeader {
        magic: MAGIC,
        kind: U16::new(kind as u16),
        version: U16::new(version),
        length: U32::new(payload.len() as u32),
        checksum: U32::new(0),
        reserved: U32::new(0),
    };
    header.checksum = U32::new(checksum(&header, &payload));
    let mut bytes = Vec::with_capacity(RECORD_HEADER_BYTES + payload.len());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// Decodes a record of `kind` in `version`.
///
/// # Errors
/// `ProtocolVersion` for another version; `DamagedFrame` when kind, length, checksum or structure are wrong.
pub fn decode<T>(kind: RecordKind, version: u16, bytes: &[u8]) -> Result<T, ErrorCode>
where
    T: Archive,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, Error>> + Deserialize<T, HighDeserializer<Error>>,
{
    let (header, payload) = RecordHeader::ref_from_prefix(bytes).map_err(|_| ErrorCode::DamagedFrame)?;
    let intact = header.magic == MAGIC
        && header.kind.get() == kind as u16
        && header.length.get() as usize == payload.len()
        && header.checksum.get() == checksum(header, payload);
    if !intact {
        return Err(ErrorCode::DamagedFrame);
    }
    if header.version.get() != version {
        return Err(ErrorCode::ProtocolVersion);
    }
    let mut aligned = AlignedVec::<16>::with_capacity(payload.len());
    aligned.extend_from_slice(payload);
    rkyv::from_bytes::<T, Error>(&aligned).map_err(|_| ErrorCode::DamagedFrame)
}
