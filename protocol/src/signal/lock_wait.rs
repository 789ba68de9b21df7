//! An operation still waits for a lock, and for whom.
//!
//! Sender: LDM of the primary, again and again while the operation waits. Receiver: coordinator of the waiting transaction, named by the
//! header's request id and block.
//!
//! ```text
//! byte  32  number               u32      number of the operation
//! byte  36  reserved             u32      0
//!           section 0: [`Blocker`]s, one behind the other
//! ```

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An operation still waits for a lock, and for whom. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LockWait {
    /// Number of the operation.
    pub number: U32,
    /// 0.
    pub reserved: U32,
}

const _: () = assert!(size_of::<LockWait>() == 8);

/// A transaction for which another one waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Blocker {
    /// Session of the transaction id.
    pub session: U64,
    /// Number of the transaction id.
    pub seq: U64,
    /// Node of its coordinator.
    pub node: U32,
    /// Number of the coordinator in its node.
    pub coordinator: U32,
}

/// Section 0 with these blockers.
pub fn section_of(blockers: &[Blocker]) -> &[u8] {
    blockers.as_bytes()
}

/// The blockers in section 0; none when its length is not that of whole blockers.
pub fn blockers(section: &[u8]) -> &[Blocker] {
    <[Blocker]>::ref_from_bytes(section).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blockers_round_trip() {
        let one = Blocker { session: 3.into(), seq: 4.into(), node: 2.into(), coordinator: 1.into() };
        let list = [one, Blocker { seq: 9.into(), ..one }];
        assert_eq!(blockers(section_of(&list)), list);
        assert!(blockers(&section_of(&list)[1..]).is_empty());
    }
}
