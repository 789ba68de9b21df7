//! Dates and times as text and as numbers.

use duet_protocol::value::{MICROSECONDS_PER_DAY, civil_from_days, days_from_civil};

/// Greatest size of a time, in microseconds: 838:59:59.
pub const MAX_TIME: i64 = (838 * 3_600 + 59 * 60 + 59) * 1_000_000;

/// Microseconds since 1970 of a date and a time of day; `None` when there is no such moment. Year 0 is none.
pub fn moment(
    (year, month, day): (i32, u32, u32),
    (hour, minute, second): (u32, u32, u32),
    microsecond: u32,
) -> Option<i64> {
    if !(1..=9_999).contains(&year) || hour > 23 || minute > 59 || second > 59 || microsecond > 999_999 {
        return None;
    }
    let days = i64::from(days_from_civil(year, month, day)?);
    let seconds = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
    Some(days * MICROSECONDS_PER_DAY + seconds * 1_000_000 + i64::from(microsecond))
}

/// Microseconds of a duration; `None` beyond 838:59:59.
pub fn time_of(negative: bool, hours: u32, minutes: u32, seconds: u32, microseconds: u32) -> Option<i64> {
    if minutes > 59 || seconds > 59 || microseconds > 999_999 || hours > 838 {
        return None;
    }
    let size = (i64::from(hours) * 3_600 + i64::from(minutes) * 60 + i64::from(seconds)) * 1_000_000
        + i64::from(microseconds);
    (size <= MAX_TIME).then_some(if negative { -size } else { size })
}

/// A number of one to `most` digits at the beginning of the text, which is cut behind it.
pub fn digits(text: &mut &str, most: usize) -> Option<u32> {
    let end = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(end);
    *text = rest;
    number.parse().ok()
}

fn separator(text: &mut &str, characters: &[char]) -> Option<()> {
    *text = text.strip_prefix(characters)?;
    Some(())
}

/// Up to six digits of a fraction; further ones round.
fn fraction(text: &mut &str) -> Option<u32> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(end);
    *text = rest;
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + number.as_bytes().get(place).map_or(0, |digit| u32::from(digit - b'0'));
    }
    Some(micros + u32::from(number.as_bytes().get(6).is_some_and(|digit| *digit >= b'5')))
}

/// Years of two digits are those from 1970 to 2069.
pub fn four_digits(year: i64) -> i64 {
    match year {
        0..=69 => year + 2_000,
        70..=99 => year + 1_900,
        year => year,
    }
}

/// A date with or without time of day: `2024-01-31`, `2024-01-31 10:20:30.5`, `20240131`, `20240131102030`, each also with two digits of
/// its year. Microseconds since 1970, and whether there was a time of day.
pub fn parse_moment(text: &str) -> Option<(i64, bool)> {
    let mut rest = text.trim();
    let run = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (date, time, has_time);
    let year = |rest: &mut &str, length: usize| {
        let year = digits(rest, length)?;
        i32::try_from(if length == 2 { four_digits(i64::from(year)) } else { i64::from(year) }).ok()
    };
    if let 6 | 8 | 12 | 14 = run {
        has_time = run > 8;
        // What is behind the year has four digits, with a time of day ten.
        let length = if has_time { run - 10 } else { run - 4 };
        date = (year(&mut rest, length)?, digits(&mut rest, 2)?, digits(&mut rest, 2)?);
        time = match has_time {
            true => (digits(&mut rest, 2)?, digits(&mut rest, 2)?, digits(&mut rest, 2)?),
            false => (0, 0, 0),
        };
    } else {
        if !(1..=4).contains(&run) {
            return None;
        }
        let marks = &['-', '/', '.', ':'];
        let year = year(&mut rest, run)?;
        separator(&mut rest, marks)?;
        let month = digits(&mut rest, 2)?;
        separator(&mut rest, marks)?;
        date = (year, month, digits(&mut rest, 2)?);
        has_time = separator(&mut rest, &[' ', 'T']).is_some();
        let mut parts = (0, 0, 0);
        if has_time {
            rest = rest.trim_start();
            parts.0 = digits(&mut rest, 2)?;
            if separator(&mut rest, &[':']).is_some() {
                parts.1 = digits(&mut rest, 2)?;
                if separator(&mut rest, &[':']).is_some() {
                    parts.2 = digits(&mut rest, 2)?;
                }
            }
        }
        time = parts;
    }
    let mut micros = 0;
    if has_time && separator(&mut rest, &['.']).is_some() {
        micros = fraction(&mut rest)?;
    }
    if !rest.is_empty() {
        return None;
    }
    let moment = moment(date, time, 0)? + i64::from(micros);
    // A fraction may have been rounded up to a second of the year 10000.
    let (year, ..) = civil_from_days(moment.div_euclid(MICROSECONDS_PER_DAY));
    (year <= 9_999).then_some((moment, has_time))
}

/// A duration: `10:20:30.5`, `10:20`, `1 10:20:30`, `102030`. Microseconds; `None` beyond 838:59:59.
pub fn parse_time(text: &str) -> Option<i64> {
    parse_long_time(text).filter(|time| time.abs() / 1_000_000 * 1_000_000 <= MAX_TIME)
}

/// The same, of any length.
pub fn parse_long_time(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let negative = separator(&mut rest, &['-']).is_some();
    let mut days = 0_u32;
    if let Some((before, after)) = rest.split_once(' ') {
        days = before.parse().ok().filter(|days| *days < 1_000)?;
        rest = after.trim_start();
    }
    let run = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (hours, minutes, seconds);
    if rest[run..].starts_with(':') {
        hours = digits(&mut rest, 7)?;
        separator(&mut rest, &[':'])?;
        minutes = digits(&mut rest, 2)?;
        seconds = if separator(&mut rest, &[':']).is_some() { digits(&mut rest, 2)? } else { 0 };
    } else {
        let number = digits(&mut rest, 7)?;
        if days > 0 {
            (hours, minutes, seconds) = (number, 0, 0);
        } else {
            (hours, minutes, seconds) = (number / 10_000, number / 100 % 100, number % 100);
        }
    }
    let micros = if separator(&mut rest, &['.']).is_some() { fraction(&mut rest)? } else { 0 };
    if !rest.is_empty() {
        return None;
    }
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let hours = i64::from(days) * 24 + i64::from(hours);
    // A fraction may have been rounded up to a second.
    let size = (hours * 3_600 + i64::from(minutes * 60 + seconds)) * 1_000_000 + i64::from(micros);
    Some(if negative { -size } else { size })
}

/// A moment as the number `YYYYMMDDhhmmss`, without its fraction.
pub fn moment_number(microseconds: i64) -> i64 {
    let (year, month, day) = civil_from_days(microseconds.div_euclid(MICROSECONDS_PER_DAY));
    let seconds = microseconds.rem_euclid(MICROSECONDS_PER_DAY) / 1_000_000;
    let date = (year * 100 + i64::from(month)) * 100 + i64::from(day);
    ((date * 100 + seconds / 3_600) * 100 + seconds / 60 % 60) * 100 + seconds % 60
}

/// A date as the number `YYYYMMDD`.
pub fn date_number(days: i32) -> i64 {
    moment_number(i64::from(days) * MICROSECONDS_PER_DAY) / 1_000_000
}

/// A duration as the number `hhmmss`, without its fraction.
pub fn time_number(microseconds: i64) -> i64 {
    let seconds = microseconds / 1_000_000;
    seconds / 3_600 * 10_000 + seconds / 60 % 60 * 100 + seconds % 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!(parse_moment("1970-01-01"), Some((0, false)));
        assert_eq!(parse_moment("1970-01-02 00:00:01.5"), Some((MICROSECONDS_PER_DAY + 1_500_000, true)));
        assert_eq!(parse_moment("19700101000001"), Some((1_000_000, true)));
        assert_eq!(parse_moment("1970-1-1T01:00"), Some((3_600_000_000, true)));
        assert_eq!(parse_moment("70-01-02"), Some((MICROSECONDS_PER_DAY, false)));
        assert_eq!(parse_moment("700102"), Some((MICROSECONDS_PER_DAY, false)));
        assert_eq!(parse_moment("700101000001"), Some((1_000_000, true)));
        assert_eq!(parse_moment("69-01-01"), parse_moment("2069-01-01"));
        assert_eq!(parse_moment("1-1-1"), parse_moment("0001-01-01"));
        for bad in
            ["", "1970", "1970-13-01", "1970-02-30", "1970-01-01x", "0000-00-00", "x", "1970-01-01 24:00:00"]
        {
            assert_eq!(parse_moment(bad), None, "{bad}");
        }
        // There is no year 10000.
        assert!(parse_moment("9999-12-31 23:59:59.999999").is_some());
        assert_eq!(parse_moment("9999-12-31 23:59:59.9999999"), None);
    }

    #[test]
    fn times_are_read() {
        assert_eq!(parse_time("00:00:01"), Some(1_000_000));
        assert_eq!(parse_time("-838:59:59"), Some(-MAX_TIME));
        assert_eq!(parse_time("1 01:00:00"), Some(90_000_000_000));
        assert_eq!(parse_time("10203"), Some((3_600 + 2 * 60 + 3) * 1_000_000));
        for bad in ["", "x", "839:00:00", "00:60:00", "1:2:3x", "é"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
        assert_eq!(parse_long_time("-900:00:01"), Some(-(900 * 3_600 + 1) * 1_000_000));
        assert_eq!(parse_long_time("9000000"), Some(900 * 3_600 * 1_000_000));
        assert_eq!(parse_long_time("900:60:00"), None);
        assert_eq!(parse_time("838:59:59.9999999"), None);
    }
}
