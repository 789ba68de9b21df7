//! A batch of rows.
//!
//! Sender: LDM. Receiver: client or forwarding coordinator.
//!
//! ```text
//! byte  32  next_cursor          u64      cursor of the next request; 0 for a range
//! byte  40  row_count            u32      rows in the batch
//! byte  44  flags                u32      1: the scan is complete
//! byte  48  fragment_seq         u64      highest sequence number applied to the fragment
//!           section 0: rows, see [`ScanRow`]; what the key and value images of a program's rows are, says [`crate::scan_program`]
//!           section 1: of a range that is not complete: the index key up to which it has come
//! ```

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A batch of rows. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ScanReply {
    /// Cursor of the next request; 0 for a range.
    pub next_cursor: U64,
    /// Rows in the batch.
    pub row_count: U32,
    /// 1: the scan is complete.
    pub flags: U32,
    /// Highest sequence number applied to the fragment.
    pub fragment_seq: U64,
}

const _: () = assert!(size_of::<ScanReply>() == 24);

/// The scan is complete.
pub const FLAG_DONE: u32 = 1;

/// Head of a row in a batch, followed by key and value without padding.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ScanRowHeader {
    /// Commit epoch.
    pub epoch: U64,
    /// Position in the fragment.
    pub seq: U64,
    /// Table version of the value image.
    pub table_version: zerocopy::little_endian::U16,
    /// Bytes of the key.
    pub key_bytes: zerocopy::little_endian::U16,
    /// Bytes of the value image.
    pub value_bytes: U32,
}

/// One row of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanRow<'a> {
    /// Commit epoch and position.
    pub version: crate::ids::RowVersion,
    /// Table version of the value image.
    pub table_version: u16,
    /// Primary key.
    pub key: &'a [u8],
    /// Value image.
    pub value: &'a [u8],
}

/// Appends a row to a batch.
pub fn push_row(batch: &mut Vec<u8>, row: &ScanRow<'_>) {
    let header = ScanRowHeader {
        epoch: row.version.epoch.into(),
        seq: row.version.seq.into(),
        table_version: row.table_version.into(),
        key_bytes: (row.key.len() as u16).into(),
        value_bytes: (row.value.len() as u32).into(),
    };
    batch.extend_from_slice(header.as_bytes());
    batch.extend_from_slice(row.key);
    batch.extend_from_slice(row.value);
}

/// Splits the next row off a batch; `None` at its end or where it is damaged.
pub fn split_row<'a>(batch: &mut &'a [u8]) -> Option<ScanRow<'a>> {
    let (header, rest) = ScanRowHeader::ref_from_prefix(batch).ok()?;
    let (key, rest) = rest.split_at_checked(usize::from(header.key_bytes.get()))?;
    let (value, rest) = rest.split_at_checked(header.value_bytes.get() as usize)?;
    *batch = rest;
    let version = crate::ids::RowVersion { epoch: header.epoch.get(), seq: header.seq.get() };
    Some(ScanRow { version, table_version: header.table_version.get(), key, value })
}

