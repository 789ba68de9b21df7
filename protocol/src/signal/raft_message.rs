//! A message of the Raft group of the management nodes.
//!
//! Sender and receiver: management nodes.
//!
//! ```text
//! byte  32  from                 u64      raft id of the sender
//! byte  40  to                   u64      raft id of the receiver
//!           section 0: the message as protobuf
//! ```

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A message of the Raft group of the management nodes. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RaftMessage {
    /// Raft id of the sender.
    pub from: U64,
    /// Raft id of the receiver.
    pub to: U64,
}

const _: () = assert!(size_of::<RaftMessage>() == 16);
