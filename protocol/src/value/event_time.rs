//! Columns that say when a row's event happened.

use super::{MICROSECONDS_PER_DAY, ValueRef};

/// Event times that are numbers are seconds up to this one, and milliseconds beyond.
pub const LARGEST_SECONDS: i64 = 99_999_999_999;

/// The instant that a value of an event-time column means, in microseconds since 1970-01-01 UTC: a date is its first moment, a
/// number counts seconds (up to 99,999,999,999, to either side) or milliseconds. `None` for NULL and what is no instant.
#[must_use]
pub fn event_time(value: &ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Timestamp(time) | ValueRef::DateTime(time) => Some(*time),
        ValueRef::Date(days) => Some(i64::from(*days) * MICROSECONDS_PER_DAY),
        ValueRef::Int(number) => {
            let is_seconds = number.unsigned_abs() <= LARGEST_SECONDS.unsigned_abs();
            Some(number.saturating_mul(if is_seconds { 1_000_000 } else { 1_000 }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_milliseconds_are_told_apart() {
        let instant = Some(1_700_000_000_000_000);
        for value in [ValueRef::Int(1_700_000_000), ValueRef::Int(1_700_000_000_000)] {
            assert_eq!(event_time(&value), instant);
        }
        assert_eq!(event_time(&ValueRef::Timestamp(1_700_000_000_000_000)), instant);
        assert_eq!(event_time(&ValueRef::Date(1)), Some(MICROSECONDS_PER_DAY));
        assert_eq!(event_time(&ValueRef::Int(-LARGEST_SECONDS)), Some(-99_999_999_999_000_000));
        assert_eq!(event_time(&ValueRef::Int(i64::MIN)), Some(i64::MIN));
        assert_eq!(event_time(&ValueRef::Null), None);
        assert_eq!(event_time(&ValueRef::Double(1.0)), None);
    }
}
