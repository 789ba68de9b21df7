//! The order of values.

use std::cmp::Ordering;

use super::slot::{Slot, unescaped};

/// How two values of one column compare; NULL, which no caller compares, is the smallest.
#[inline(always)]
pub(super) fn order(left: Slot<'_>, right: Slot<'_>) -> Ordering {
    match (left, right) {
        (Slot::Signed(left), Slot::Signed(right)) => left.cmp(&right),
        (Slot::Unsigned(left), Slot::Unsigned(right)) => left.cmp(&right),
        (Slot::Decimal(left), Slot::Decimal(right)) => left.cmp(&right),
        (Slot::Bytes(left), Slot::Bytes(right)) => left.cmp(right),
        (Slot::Double(left), Slot::Double(right)) => order_of_doubles(left, right),
        (Slot::Float(left), Slot::Double(right)) => order_of_doubles(f64::from(left), right),
        (Slot::Double(left), Slot::Float(right)) => order_of_doubles(left, f64::from(right)),
        (Slot::Float(left), Slot::Float(right)) => order_of_doubles(f64::from(left), f64::from(right)),
        (Slot::Escaped(left), Slot::Bytes(right)) => unescaped(left).cmp(right.iter().copied()),
        (Slot::Bytes(left), Slot::Escaped(right)) => left.iter().copied().cmp(unescaped(right)),
        (Slot::Escaped(left), Slot::Escaped(right)) => unescaped(left).cmp(unescaped(right)),
        (Slot::Null, Slot::Null) => Ordering::Equal,
        (Slot::Null, _) => Ordering::Less,
        (_, Slot::Null) => Ordering::Greater,
        // Both sides are of one column, so their kinds agree.
        _ => Ordering::Equal,
    }
}

/// NaN equals itself and is greater than all numbers.
#[inline(always)]
fn order_of_doubles(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

/// Whether text or bytes begin with a prefix.
#[inline]
pub(super) fn begins_with(slot: Slot<'_>, prefix: &[u8]) -> bool {
    match slot {
        Slot::Bytes(bytes) => bytes.starts_with(prefix),
        Slot::Escaped(bytes) => unescaped(bytes).take(prefix.len()).eq(prefix.iter().copied()),
        Slot::Null
        | Slot::Signed(_)
        | Slot::Unsigned(_)
        | Slot::Float(_)
        | Slot::Double(_)
        | Slot::Decimal(_) => false,
    }
}
