//! Times as text, and the clock.

use duet_protocol::value::{MICROSECONDS_PER_DAY, civil_from_days, days_from_civil};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970-01-01 UTC.
pub fn now_microseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Days since 1970-01-01 of `YYYY-MM-DD`.
pub fn parse_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = digits(&bytes[..4])?;
    if year == 0 {
        return None;
    }
    days_from_civil(year as i32, digits(&bytes[5..7])?, digits(&bytes[8..])?)
}

/// Microseconds of `YYYY-MM-DD`, `YYYY-MM-DD HH:MM[:SS[.ffffff]]`, with `T` or a space, and an offset from UTC or none.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let date = i64::from(parse_date(text.get(..10)?)?) * MICROSECONDS_PER_DAY;
    let rest = &text[10..];
    if rest.is_empty() {
        return Some(date);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (&rest[..at], parse_offset(&rest[at..])?),
        None => (rest, 0),
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, parse_fraction(fraction)?),
        None => (clock, 0),
    };
    let clock = clock.as_bytes();
    let seconds = match clock.len() {
        5 => 0,
        8 if clock[5] == b':' => digits(&clock[6..])?,
        _ => return None,
    };
    let (hours, minutes) = (digits(&clock[..2])?, digits(&clock[3..5])?);
    if clock[2] != b':' || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let seconds = i64::from(hours * 3_600 + minutes * 60 + seconds);
    Some(date + seconds * 1_000_000 + fraction - offset)
}

/// Microseconds east of UTC of `Z` or `+HH[:]MM`.
fn parse_offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let minutes = match rest.len() {
        2 => 0,
        4 => digits(&rest[2..])?,
        5 if rest[2] == b':' => digits(&rest[3..])?,
        _ => return None,
    };
    let hours = digits(&rest[..2])?;
    (hours <= 15 && minutes <= 59).then(|| sign * i64::from(hours * 3_600 + minutes * 60) * 1_000_000)
}

/// Microseconds of up to nine digits behind the point; what is finer is cut off.
fn parse_fraction(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    let value = digits(text.as_bytes())?;
    let scale = 10_i64.pow(text.len().abs_diff(6) as u32);
    Some(if text.len() <= 6 { i64::from(value) * scale } else { i64::from(value) / scale })
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes
        .iter()
        .try_fold(0_u32, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

/// Appends `YYYY-MM-DD`.
pub fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    match u64::try_from(year).ok().filter(|year| *year <= 9_999) {
        Some(year) => append_digits::<4>(out, year),
        None => {
            // Writing to memory cannot fail.
            let _ = write!(out, "{year:04}");
        }
    }
    out.push(b'-');
    append_digits::<2>(out, u64::from(month));
    out.push(b'-');
    append_digits::<2>(out, u64::from(day));
}

/// Appends the last `WIDTH` decimal digits of a number: answers hold one time for each of their values, and the formatting of
/// the standard library would take most of the time of making them.
fn append_digits<const WIDTH: usize>(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; WIDTH];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Appends `YYYY-MM-DD HH:MM:SS`, with three or six digits behind the point when they are not zero; `separator` is between
/// date and time.
pub fn write_timestamp(out: &mut Vec<u8>, microseconds: i64, separator: char) {
    write_date(out, microseconds.div_euclid(MICROSECONDS_PER_DAY));
    let clock = microseconds.rem_euclid(MICROSECONDS_PER_DAY);
    let clock = clock.unsigned_abs();
    let seconds = clock / 1_000_000;
    let mut encoded = [0; 4];
    out.extend_from_slice(separator.encode_utf8(&mut encoded).as_bytes());
    append_digits::<2>(out, seconds / 3_600);
    out.push(b':');
    append_digits::<2>(out, seconds / 60 % 60);
    out.push(b':');
    append_digits::<2>(out, seconds % 60);
    match clock % 1_000_000 {
        0 => {}
        fraction if fraction % 1_000 == 0 => {
            out.push(b'.');
            append_digits::<3>(out, fraction / 1_000);
        }
        fraction => {
            out.push(b'.');
            append_digits::<6>(out, fraction);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        let text = |microseconds, separator| {
            let mut out = Vec::new();
            write_timestamp(&mut out, microseconds, separator);
            String::from_utf8(out).expect("text")
        };
        for (given, read) in [
            ("2024-01-02", "2024-01-02 00:00:00"),
            ("2024-01-02 03:04:05", "2024-01-02 03:04:05"),
            ("2024-01-02T03:04:05.25Z", "2024-01-02 03:04:05.250"),
            ("2024-01-02T03:04:05.123456789+01:30", "2024-01-02 01:34:05.123456"),
            ("1969-12-31 23:59-0100", "1970-01-01 00:59:00"),
        ] {
            assert_eq!(parse_timestamp(given).map(|time| text(time, ' ')).as_deref(), Some(read), "{given}");
        }
        assert_eq!(text(0, 'T'), "1970-01-01T00:00:00");
        assert_eq!(text(-1, ' '), "1969-12-31 23:59:59.999999");
        assert_eq!(text(1, ' '), "1970-01-01 00:00:00.000001");
        let date = |days| {
            let mut out = Vec::new();
            write_date(&mut out, days);
            String::from_utf8(out).expect("text")
        };
        assert_eq!((date(-719_528), date(-719_162)), ("0000-01-01".to_owned(), "0001-01-01".to_owned()));
        assert_eq!((date(2_932_896), date(2_932_897)), ("9999-12-31".to_owned(), "10000-01-01".to_owned()));
        assert_eq!(date(-719_529), "-001-12-31");
        for wrong in
            ["", "2024-02-30", "2024-1-2", "0000-01-01", "2024-01-02 25:00:00", "2024-01-02 03:04:05.", "x"]
        {
            assert_eq!(parse_timestamp(wrong), None, "{wrong}");
        }
    }
}
