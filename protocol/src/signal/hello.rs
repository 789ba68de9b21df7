//! First signal on every connection, from the side that connected.
//!
//! Sender: client, data node or management node. Receiver: data node or management node, which answers
//! [`super::welcome::Welcome`] or [`super::refuse_link::RefuseLink`].
//!
//! ```text
//! byte  32  role                 u16      one of the `ROLE_` constants
//! byte  34  lane                 u16      lane of a connection between data nodes, else 0xffff
//! byte  36  reserved             u32      0
//! byte  40  process              [u8;16]  random identity of the sending process
//! byte  56  lane_received        u64      highest number received in order in that lane; the other side resends what follows
//!           section 0: cluster secret, empty where none is configured
//!           section 1: name of the program, for logs, at most 64 bytes
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First signal on every connection, from the side that connected. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Hello {
    /// One of the `ROLE_` constants.
    pub role: U16,
    /// Lane of a connection between data nodes, else 0xffff.
    pub lane: U16,
    /// 0.
    pub reserved: U32,
    /// Random identity of the sending process.
    pub process: [u8; 16],
    /// Highest number received in order in that lane; the other side resends what follows.
    pub lane_received: U64,
}

const _: () = assert!(size_of::<Hello>() == 32);

/// The connecting side is a client.
pub const ROLE_CLIENT: u16 = 1;
/// The connecting side is a data node.
pub const ROLE_DATA_NODE: u16 = 2;
/// The connecting side is a management node.
pub const ROLE_MANAGEMENT: u16 = 3;

/// What a management node puts into the `process` field of [`Hello`] and [`super::welcome::Welcome`].
///
/// ```text
/// byte  0  raft_id   u64  random, belongs to the data directory
///       8  node      u32  management node id
///      12  reserved  u32  0
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ManagementIdentity {
    /// Raft id.
    pub raft_id: U64,
    /// Management node id.
    pub node: U32,
    /// 0.
    pub reserved: U32,
}

impl ManagementIdentity {
    /// As a `process` field.
    pub fn to_process(self) -> [u8; 16] {
        zerocopy::transmute!(self)
    }

    /// From a `process` field.
    pub fn from_process(process: [u8; 16]) -> ManagementIdentity {
        zerocopy::transmute!(process)
    }
}

/// Whether the secret in a `Hello` is the expected one, found out in a time that depends on the length of `given` only.
pub fn is_same_secret(expected: &[u8], given: &[u8]) -> bool {
    let mut difference = u8::from(expected.len() != given.len());
    for (position, byte) in given.iter().enumerate() {
        let other = expected.get(position).copied().unwrap_or(!*byte);
        difference = std::hint::black_box(difference | (byte ^ other));
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::is_same_secret;

    #[test]
    fn secrets_are_compared_whole() {
        assert!(is_same_secret(b"", b""));
        assert!(is_same_secret(b"abc", b"abc"));
        for given in [&b""[..], b"ab", b"abd", b"abcd", b"bbc"] {
            assert!(!is_same_secret(b"abc", given));
        }
        assert!(!is_same_secret(b"", b"x"));
    }
}
