//! What became of a proposal.
//!
//! Sender: management node that leads. Receiver: data node. The answer is advice: only an installed view counts.
//!
//! ```text
//! byte  32  request              [u8;16]  random identity of the proposal
//! byte  48  view                 u64      view that the change made, or the current one where it was refused
//! byte  56  code                 u16      0 or an error code
//! byte  58  reserved             u16      0
//! byte  60  reserved_2           u32      0
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What became of a proposal. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ViewProposed {
    /// Random identity of the proposal.
    pub request: [u8; 16],
    /// View that the change made, or the current one where it was refused.
    pub view: U64,
    /// 0 or an error code.
    pub code: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
}

const _: () = assert!(size_of::<ViewProposed>() == 32);
