//! A look at a Raft message before the protobuf library parses it.
//!
//! Version 2 of the library skips unknown groups by recursion, so a message of nested group starts would exhaust the
//! stack. Raft messages hold no groups and nest three levels deep; whatever else comes is refused here.

/// A message field that holds another message: its number, and the fields of that message which do so again.
struct Nested {
    field: u64,
    inner: &'static [Nested],
}

/// `Message`: 7 entries, 9 snapshot; `Snapshot`: 2 metadata; `SnapshotMetadata`: 1 conf_state.
const RAFT_MESSAGE: &[Nested] = &[
    Nested { field: 7, inner: &[] },
    Nested { field: 9, inner: &[Nested { field: 2, inner: &[Nested { field: 1, inner: &[] }] }] },
];

/// Whether `bytes` have the outline of a Raft message: known wire types, lengths in bounds, no groups.
pub(crate) fn is_plain_raft_message(bytes: &[u8]) -> bool {
    is_plain(bytes, RAFT_MESSAGE)
}

fn is_plain(mut rest: &[u8], nested: &[Nested]) -> bool {
    while !rest.is_empty() {
        let Some(tag) = varint(&mut rest) else { return false };
        let skipped = match tag & 7 {
            0 => varint(&mut rest).is_some(),
            1 => skip(&mut rest, 8).is_some(),
            5 => skip(&mut rest, 4).is_some(),
            2 => match varint(&mut rest).and_then(|length| skip(&mut rest, length)) {
                Some(payload) => nested
                    .iter()
                    .find(|candidate| candidate.field == tag >> 3)
                    .is_none_or(|candidate| is_plain(payload, candidate.inner)),
                None => false,
            },
            _ => false,
        };
        if !skipped {
            return false;
        }
    }
    true
}

fn skip<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (payload, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(payload)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for position in 0..10 {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f).checked_shl(7 * position).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_refused_at_every_level() {
        assert!(is_plain_raft_message(&[]));
        assert!(
            is_plain_raft_message(&[0x08, 0x03, 0x3a, 0x02, 0x10, 0x05]),
            "type 3 and an entry of term 5"
        );
        assert!(!is_plain_raft_message(&[0x0b; 100_000]), "group starts");
        assert!(!is_plain_raft_message(&[0x3a, 0x02, 0x0b, 0x0c]), "a group in an entry");
        assert!(!is_plain_raft_message(&[0x4a, 0x04, 0x12, 0x02, 0x0b, 0x0c]), "a group in the metadata");
    }

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        assert!(!is_plain_raft_message(&[0x3a, 0x05, 0x10]));
        assert!(!is_plain_raft_message(&[0x08]));
        assert!(!is_plain_raft_message(&[0xff; 11]));
        assert!(!is_plain_raft_message(&[0x09, 1, 2, 3]));
    }
}
