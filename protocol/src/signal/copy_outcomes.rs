//! Outcome records of a session, as the primary has them when it sends this.
//!
//! Sender: LDM of the primary, in the lane of the fragment between its writes. Receiver: LDM of the joining replica, which keeps what
//! the chain has brought it and adds the rest.
//!
//! ```text
//! byte  32  partition            u16      partition
//! byte  34  reserved             u16      0
//! byte  36  reserved_2           u32      0
//! byte  40  cfg                  u64      fragment configuration
//! byte  48  session              u64      session
//! byte  56  resolved_below       u64      the client has the answers of all transactions below
//!           section 0: [`CopiedOutcome`]s in ascending order, one behind the other
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Outcome records of a session, for a joining replica. Layout in the module documentation.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CopyOutcomes {
    /// Partition.
    pub partition: U16,
    /// 0.
    pub reserved: U16,
    /// 0.
    pub reserved_2: U32,
    /// Fragment configuration.
    pub cfg: U64,
    /// Session.
    pub session: U64,
    /// The client has the answers of all transactions below.
    pub resolved_below: U64,
}

const _: () = assert!(size_of::<CopyOutcomes>() == 32);

/// One outcome record that is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CopiedOutcome {
    /// Number within the session.
    pub transaction_seq: U64,
    /// Epoch of the version that it wrote.
    pub epoch: U64,
    /// Position of the version that it wrote.
    pub seq: U64,
    /// Small result for the answer.
    pub result: [u8; 16],
    /// Used bytes of the result.
    pub result_bytes: u8,
    /// 1 when it has committed, 0 when it never will.
    pub committed: u8,
    /// 0.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<CopiedOutcome>() == 48);

/// Section 0 with these records.
pub fn section_of(outcomes: &[CopiedOutcome]) -> &[u8] {
    outcomes.as_bytes()
}

/// The records in section 0; none when its length is not that of whole records.
pub fn outcomes(section: &[u8]) -> &[CopiedOutcome] {
    <[CopiedOutcome]>::ref_from_bytes(section).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        let one = CopiedOutcome { transaction_seq: 3.into(), committed: 1, ..CopiedOutcome::default() };
        let list = [one, CopiedOutcome { transaction_seq: 9.into(), ..one }];
        assert_eq!(outcomes(section_of(&list)), list);
        assert!(outcomes(&section_of(&list)[1..]).is_empty());
    }
}
