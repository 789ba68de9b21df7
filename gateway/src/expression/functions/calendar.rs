//! Functions of dates and times.

use super::interval::{Unit, add, difference};
use super::{Function, civil, clock, moment};
use crate::error::{Result, not_supported};
use crate::value::calendar::{parse_moment, parse_time, time_of};
use crate::value::compare::exact;
use crate::value::format::text;
use crate::value::number::{rescale, to_double};
use duet_client::Value;
use duet_protocol::value::{MICROSECONDS_PER_DAY, civil_from_days, days_from_civil};

/// Days from the year 0 to 1970, as `TO_DAYS` counts them.
const DAYS_BEFORE_1970: i64 = 719_528;
/// Greatest size of a time, in microseconds: 838:59:59.
const MAX_TIME: i128 = (838 * 3_600 + 59 * 60 + 59) * 1_000_000;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From Monday on.
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A time of this many microseconds, or the greatest or least there is.
pub(super) fn time_value(microseconds: i128) -> Value {
    Value::Time(microseconds.clamp(-MAX_TIME, MAX_TIME) as i64)
}

/// A time as functions of times take it: also of a moment its time of day.
fn time(value: &Value) -> Option<i64> {
    match value {
        Value::Time(time) => Some(*time),
        Value::Text(text) => match parse_moment(text) {
            Some((moment, true)) if text.contains(['-', '/']) => {
                Some(moment.rem_euclid(MICROSECONDS_PER_DAY))
            }
            _ => parse_time(text),
        },
        Value::Int(_) | Value::UInt(_) | Value::Decimal { .. } | Value::Double(_) | Value::Float(_) => {
            parse_time(&text(value))
        }
        other => moment(other).map(|moment| moment.rem_euclid(MICROSECONDS_PER_DAY)),
    }
}

/// The day of the week, from 0 for Monday.
fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

fn days_of_year(year: i64) -> i64 {
    if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 366 } else { 365 }
}

fn first_day(year: i64) -> i64 {
    i32::try_from(year).ok().and_then(|year| days_from_civil(year, 1, 1)).map_or(0, i64::from)
}

/// The number of the week of a day, and the year that it belongs to, in one of the modes of `WEEK()`.
fn week(days: i64, mode: u32) -> (i64, i64) {
    let monday_first = mode & 1 != 0;
    let mut in_year = mode & 2 != 0;
    // Whether the first week is the one with the year's first such day, and not the one with four days of it.
    let by_first_day = (mode & 4 != 0) == monday_first;
    let (mut year, month, day) = civil_from_days(days);
    let mut first = first_day(year);
    let mut start = if monday_first { weekday(first) } else { (weekday(first) + 1) % 7 };
    let begins_before = |start: i64| if by_first_day { start != 0 } else { start >= 4 };
    if month == 1 && i64::from(day) <= 7 - start {
        if !in_year && begins_before(start) {
            return (0, year);
        }
        in_year = true;
        if begins_before(start) {
            year -= 1;
            let length = days_of_year(year);
            first -= length;
            start = (start + 53 * 7 - length) % 7;
        }
    }
    let since = match begins_before(start) {
        true => days - (first + 7 - start),
        false => days - (first - start),
    };
    if in_year && since >= 52 * 7 {
        let next = (start + days_of_year(year)) % 7;
        if !begins_before(next) {
            return (1, year + 1);
        }
    }
    (since / 7 + 1, year)
}

/// The mode of `WEEK()`, of which the third bit means something else where weeks begin on Sunday.
fn mode(value: Option<&Value>) -> u32 {
    let number = value.map_or(0, |value| to_double(value).unwrap_or(0.0) as i64);
    number.rem_euclid(8) as u32
}

fn whole(value: &Value) -> i64 {
    let whole = match exact(value) {
        Some((unscaled, scale)) => rescale(unscaled, scale, 0),
        None => to_double(value).map(|number| number.round_ties_even() as i128),
    };
    whole.map_or(0, |whole| whole.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
}

fn number(of: Option<i64>) -> Value {
    of.map_or(Value::Null, Value::Int)
}

fn days(value: &Value) -> Option<i64> {
    moment(value).map(|moment| moment.div_euclid(MICROSECONDS_PER_DAY))
}

fn date(days: i64) -> Value {
    let (year, ..) = civil_from_days(days);
    match i32::try_from(days) {
        Ok(days) if (1..=9_999).contains(&year) => Value::Date(days),
        _ => Value::Null,
    }
}

fn unit(value: &Value) -> Result<Unit> {
    match Unit::named(&text(value)) {
        Some(unit) => Ok(unit),
        None => not_supported(&format!("the unit of time {}", text(value))),
    }
}

/// Calls a function of times whose arguments are not NULL; `None` where it is none of them.
pub(super) fn call(function: Function, values: &[Value]) -> Result<Option<Value>> {
    Ok(Some(match function {
        Function::AddInterval => add(&values[0], &values[1], unit(&values[2])?, false),
        Function::SubtractInterval => add(&values[0], &values[1], unit(&values[2])?, true),
        Function::DifferenceInUnits => difference(unit(&values[0])?, &values[1], &values[2])?,
        Function::Extract => extract(&text(&values[0]), &values[1])?,
        Function::LastDay => days(&values[0]).map_or(Value::Null, |days| {
            let (year, month, _) = civil_from_days(days);
            let last = (28..=31).rev().find_map(|day| days_from_civil(year as i32, month, day));
            last.map_or(Value::Null, Value::Date)
        }),
        Function::DayOfWeek => number(days(&values[0]).map(|days| (weekday(days) + 1) % 7 + 1)),
        Function::WeekDay => number(days(&values[0]).map(weekday)),
        Function::DayOfYear => {
            number(days(&values[0]).map(|days| days - first_day(civil_from_days(days).0) + 1))
        }
        Function::Week => number(days(&values[0]).map(|days| week(days, mode(values.get(1))).0)),
        Function::WeekOfYear => number(days(&values[0]).map(|days| week(days, 3).0)),
        Function::YearWeek => number(days(&values[0]).map(|days| {
            let (week, year) = week(days, mode(values.get(1)) | 2);
            year * 100 + week
        })),
        Function::Quarter => number(moment(&values[0]).map(|at| (i64::from(civil(at).1) + 2) / 3)),
        Function::DayName => days(&values[0])
            .map_or(Value::Null, |days| Value::Text(WEEKDAYS[weekday(days) as usize].to_owned())),
        Function::MonthName => moment(&values[0])
            .map_or(Value::Null, |at| Value::Text(MONTHS[civil(at).1 as usize - 1].to_owned())),
        Function::Microsecond => number(clock(&values[0]).map(|clock| clock % 1_000_000)),
        Function::DateFormat => {
            let format = text(&values[1]);
            moment(&values[0]).map_or(Value::Null, |moment| formatted(moment, None, &format))
        }
        Function::TimeFormat => {
            let format = text(&values[1]);
            time(&values[0]).map_or(Value::Null, |time| formatted(0, Some(time), &format))
        }
        Function::TextToDate => read(&text(&values[0]), &text(&values[1])),
        Function::Time => time(&values[0]).map_or(Value::Null, Value::Time),
        Function::Moment => match (moment(&values[0]), values.get(1)) {
            (Some(moment), None) => Value::DateTime(moment),
            (Some(moment), Some(more)) => {
                time(more).map_or(Value::Null, |more| Value::DateTime(moment.saturating_add(more)))
            }
            (None, _) => Value::Null,
        },
        Function::MakeDate => {
            let (year, day) = (whole(&values[0]), whole(&values[1]));
            match (0..=9_999).contains(&year) && (1..=10_000_000).contains(&day) {
                true => date(first_day(four_digits(year)) + day - 1),
                false => Value::Null,
            }
        }
        Function::MakeTime => make_time(&values[0], &values[1], &values[2]),
        Function::SecondsToTime => match exact(&values[0]) {
            Some((unscaled, scale)) => {
                let micros = unscaled.checked_mul(1_000_000).and_then(|micros| rescale(micros, scale, 0));
                micros.map_or(Value::Null, time_value)
            }
            None => time_value((to_double(&values[0]).unwrap_or(0.0) * 1e6).round_ties_even() as i128),
        },
        Function::TimeToSeconds => number(time(&values[0]).map(|time| time / 1_000_000)),
        Function::TimeDifference => match (&values[0], &values[1]) {
            (Value::Time(_), _) | (_, Value::Time(_)) => match (time(&values[0]), time(&values[1])) {
                (Some(a), Some(b)) => time_value(i128::from(a) - i128::from(b)),
                _ => Value::Null,
            },
            (a, b) => match (moment(a), moment(b)) {
                (Some(a), Some(b)) => time_value(i128::from(a) - i128::from(b)),
                _ => match (time(a), time(b)) {
                    (Some(a), Some(b)) => time_value(i128::from(a) - i128::from(b)),
                    _ => Value::Null,
                },
            },
        },
        Function::AddTime | Function::SubtractTime => match time(&values[1]) {
            None => Value::Null,
            Some(more) => {
                let more = Value::Int(more);
                add(&values[0], &more, Unit::Fixed(1), function == Function::SubtractTime)
            }
        },
        Function::FromUnixTime => {
            let micros = match exact(&values[0]) {
                Some((unscaled, scale)) => {
                    unscaled.checked_mul(1_000_000).and_then(|micros| rescale(micros, scale, 0))
                }
                None => to_double(&values[0]).map(|seconds| (seconds * 1e6).round_ties_even() as i128),
            };
            // Up to the end of the year 3000, as in MySQL 8.
            let micros = micros.filter(|micros| (0..32_536_771_200_000_000).contains(micros));
            match (micros, values.get(1)) {
                (None, _) => Value::Null,
                (Some(micros), None) => Value::DateTime(micros as i64),
                (Some(micros), Some(format)) => formatted(micros as i64, None, &text(format)),
            }
        }
        Function::FromDays => date(whole(&values[0]).saturating_sub(DAYS_BEFORE_1970)),
        Function::ToDays => number(days(&values[0]).map(|days| days + DAYS_BEFORE_1970)),
        Function::ToSeconds => {
            number(moment(&values[0]).map(|at| at.div_euclid(1_000_000) + DAYS_BEFORE_1970 * 24 * 60 * 60))
        }
        Function::PeriodAdd | Function::PeriodDifference => {
            let months = |period: i64| {
                let (year, month) = (period / 100, period % 100);
                (period >= 0 && (1..=12).contains(&month)).then(|| four_digits(year) * 12 + month - 1)
            };
            match (months(whole(&values[0])), function) {
                (Some(first), Function::PeriodAdd) => {
                    let sum = first.saturating_add(whole(&values[1])).max(0);
                    Value::Int(sum / 12 * 100 + sum % 12 + 1)
                }
                (Some(first), _) => number(months(whole(&values[1])).map(|second| first - second)),
                (None, _) => Value::Null,
            }
        }
        Function::ConvertZone => {
            let (Some(at), Some(from), Some(to)) =
                (moment(&values[0]), zone(&text(&values[1])), zone(&text(&values[2])))
            else {
                return Ok(Some(Value::Null));
            };
            Value::DateTime(at - from + to)
        }
        _ => return Ok(None),
    }))
}

/// Microseconds by which a zone is ahead: `+02:00`, `UTC`, `SYSTEM`. Zones of names have no tables here, as in a MySQL without them.
fn zone(name: &str) -> Option<i64> {
    if name.eq_ignore_ascii_case("UTC") || name.eq_ignore_ascii_case("SYSTEM") {
        return Some(0);
    }
    let (hours, minutes) = name.strip_prefix(['+', '-'])?.split_once(':')?;
    let (hours, minutes) = (hours.parse::<i64>().ok()?, minutes.parse::<i64>().ok()?);
    let ahead = (hours * 60 + minutes) * 60_000_000;
    let fits = (0..=14).contains(&hours) && (0..60).contains(&minutes);
    fits.then_some(if name.starts_with('-') { -ahead } else { ahead })
}

/// Years of two digits are those from 1970 to 2069.
fn four_digits(year: i64) -> i64 {
    match year {
        0..=69 => year + 2_000,
        70..=99 => year + 1_900,
        year => year,
    }
}

fn make_time(hours: &Value, minutes: &Value, seconds: &Value) -> Value {
    let (hours, minutes) = (whole(hours), whole(minutes));
    let micros = match exact(seconds) {
        Some((unscaled, scale)) => unscaled.checked_mul(1_000_000).and_then(|all| rescale(all, scale, 0)),
        None => to_double(seconds).map(|seconds| (seconds * 1e6).round_ties_even() as i128),
    };
    let Some(micros) = micros.filter(|micros| (0..60_000_000).contains(micros)) else { return Value::Null };
    if !(0..60).contains(&minutes) {
        return Value::Null;
    }
    let size = (i128::from(hours.unsigned_abs()) * 60 + i128::from(minutes)) * 60_000_000 + micros;
    time_value(if hours < 0 { -size } else { size })
}

/// `EXTRACT(unit FROM value)`.
fn extract(unit: &str, value: &Value) -> Result<Value> {
    let unit = unit.to_ascii_uppercase();
    let of_date = matches!(unit.as_str(), "YEAR" | "QUARTER" | "MONTH" | "WEEK" | "DAY" | "YEAR_MONTH")
        || unit.starts_with("DAY_");
    let is_time = match value {
        Value::Time(_) => true,
        Value::Text(text) => parse_moment(text).is_none(),
        _ => false,
    };
    let (at, clock) = match (is_time, of_date && !unit.starts_with("DAY")) {
        (true, false) => match time(value) {
            // The days of a time are its hours beyond 24.
            Some(time) => (None, time),
            None => return Ok(Value::Null),
        },
        _ => match moment(value) {
            Some(moment) => (Some(moment), moment.rem_euclid(MICROSECONDS_PER_DAY)),
            None => return Ok(Value::Null),
        },
    };
    let (year, month, day) = at.map_or((0, 0, 0), civil);
    let (month, day) = (i64::from(month), i64::from(day));
    let sign = if clock < 0 { -1 } else { 1 };
    let clock = clock.abs();
    let micros = clock % 1_000_000;
    let (second, minute, hour) = (clock / 1_000_000 % 60, clock / 60_000_000 % 60, clock / 3_600_000_000);
    // Of a time `DAY_HOUR` and the like are its hours.
    let with_day = |rest: i64, power: i64| day * power + rest;
    Ok(Value::Int(
        sign * match unit.as_str() {
            "YEAR" => year,
            "QUARTER" => (month + 2) / 3,
            "MONTH" => month,
            "WEEK" => at.map_or(0, |at| week(at.div_euclid(MICROSECONDS_PER_DAY), 0).0),
            "DAY" => day,
            "HOUR" => hour,
            "MINUTE" => minute,
            "SECOND" => second,
            "MICROSECOND" => micros,
            "YEAR_MONTH" => year * 100 + month,
            "DAY_HOUR" => with_day(hour, 100),
            "DAY_MINUTE" => with_day(hour * 100 + minute, 10_000),
            "DAY_SECOND" => with_day((hour * 100 + minute) * 100 + second, 1_000_000),
            "DAY_MICROSECOND" => {
                with_day((hour * 100 + minute) * 100 + second, 1_000_000) * 1_000_000 + micros
            }
            "HOUR_MINUTE" => hour * 100 + minute,
            "HOUR_SECOND" => (hour * 100 + minute) * 100 + second,
            "HOUR_MICROSECOND" => ((hour * 100 + minute) * 100 + second) * 1_000_000 + micros,
            "MINUTE_SECOND" => minute * 100 + second,
            "MINUTE_MICROSECOND" => (minute * 100 + second) * 1_000_000 + micros,
            "SECOND_MICROSECOND" => second * 1_000_000 + micros,
            _ => return not_supported(&format!("EXTRACT({unit} …)")),
        },
    ))
}

fn ending(day: u32) -> &'static str {
    match (day % 10, day / 10) {
        (_, 1) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}

/// A moment, or with `time` a time, as a format of `DATE_FORMAT` says.
fn formatted(moment: i64, time: Option<i64>, format: &str) -> Value {
    use std::fmt::Write;
    let days = moment.div_euclid(MICROSECONDS_PER_DAY);
    let (year, month, day) = civil_from_days(days);
    let clock = time.map_or(moment.rem_euclid(MICROSECONDS_PER_DAY), i64::abs);
    let (micros, second, minute) = (clock % 1_000_000, clock / 1_000_000 % 60, clock / 60_000_000 % 60);
    let hour = clock / 3_600_000_000;
    let (hour_of_12, half) = (if hour % 12 == 0 { 12 } else { hour % 12 }, hour / 12 % 2);
    let half = ["AM", "PM"][half as usize];
    let mut output = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            output.push(character);
            continue;
        }
        let Some(sign) = characters.next() else {
            output.push('%');
            break;
        };
        let of_date = matches!(
            sign,
            'a' | 'b'
                | 'c'
                | 'D'
                | 'd'
                | 'e'
                | 'j'
                | 'M'
                | 'm'
                | 'U'
                | 'u'
                | 'V'
                | 'v'
                | 'W'
                | 'w'
                | 'X'
                | 'x'
                | 'Y'
                | 'y'
        );
        if of_date && time.is_some() {
            return Value::Null;
        }
        // Writing into memory cannot fail.
        let _ = match sign {
            'a' => write!(output, "{}", &WEEKDAYS[weekday(days) as usize][..3]),
            'b' => write!(output, "{}", &MONTHS[month as usize - 1][..3]),
            'c' => write!(output, "{month}"),
            'D' => write!(output, "{day}{}", ending(day)),
            'd' => write!(output, "{day:02}"),
            'e' => write!(output, "{day}"),
            'f' => write!(output, "{micros:06}"),
            'H' => write!(output, "{hour:02}"),
            'h' | 'I' => write!(output, "{hour_of_12:02}"),
            'i' => write!(output, "{minute:02}"),
            'j' => write!(output, "{:03}", days - first_day(year) + 1),
            'k' => write!(output, "{hour}"),
            'l' => write!(output, "{hour_of_12}"),
            'M' => write!(output, "{}", MONTHS[month as usize - 1]),
            'm' => write!(output, "{month:02}"),
            'p' => write!(output, "{half}"),
            'r' => write!(output, "{hour_of_12:02}:{minute:02}:{second:02} {half}"),
            'S' | 's' => write!(output, "{second:02}"),
            'T' => write!(output, "{hour:02}:{minute:02}:{second:02}"),
            'U' => write!(output, "{:02}", week(days, 0).0),
            'u' => write!(output, "{:02}", week(days, 1).0),
            'V' => write!(output, "{:02}", week(days, 2).0),
            'v' => write!(output, "{:02}", week(days, 3).0),
            'W' => write!(output, "{}", WEEKDAYS[weekday(days) as usize]),
            'w' => write!(output, "{}", (weekday(days) + 1) % 7),
            'X' => write!(output, "{:04}", week(days, 2).1),
            'x' => write!(output, "{:04}", week(days, 3).1),
            'Y' => write!(output, "{year:04}"),
            'y' => write!(output, "{:02}", year % 100),
            other => write!(output, "{other}"),
        };
    }
    Value::Text(output)
}

/// What a format of `STR_TO_DATE` reads: a date, a time of day, or both.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Parts of a date.
    pub date: bool,
    /// Parts of a time of day.
    pub clock: bool,
}

/// See [`Content`].
pub fn content(format: &str) -> Content {
    let mut content = Content { date: false, clock: false };
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character == '%' {
            match characters.next() {
                Some('f' | 'H' | 'h' | 'I' | 'i' | 'k' | 'l' | 'p' | 'r' | 'S' | 's' | 'T') => {
                    content.clock = true;
                }
                Some('%') | None => {}
                Some(_) => content.date = true,
            }
        }
    }
    content
}

/// A number of at most `most` digits at the beginning of a text.
fn digits(rest: &mut &str, most: usize) -> Option<u32> {
    let end = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, behind) = rest.split_at(end);
    *rest = behind;
    number.parse().ok()
}

/// The name, or with `short` its first three letters, that a text begins with.
fn name(rest: &mut &str, names: &[&str], short: bool) -> Option<u32> {
    for (index, name) in names.iter().enumerate() {
        let name = if short { &name[..3] } else { name };
        if rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            *rest = &rest[name.len()..];
            return Some(index as u32);
        }
    }
    None
}

/// `STR_TO_DATE`: NULL where the text is not as the format says.
fn read(source: &str, format: &str) -> Value {
    read_parts(source, format).unwrap_or(Value::Null)
}

fn read_parts(source: &str, format: &str) -> Option<Value> {
    let (mut year, mut month, mut day, mut of_year) = (0_u32, 0_u32, 0_u32, None);
    let (mut hour, mut minute, mut second, mut micros) = (0_u32, 0_u32, 0_u32, 0_u32);
    let mut half = None;
    let mut rest = source;
    let mut marks = Vec::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        match (character, character == '%') {
            (_, true) => match characters.next()? {
                // These stand for others.
                'T' => marks.extend(['\0', 'H', ':', '\0', 'i', ':', '\0', 's']),
                'r' => marks.extend(['\0', 'h', ':', '\0', 'i', ':', '\0', 's', ' ', '\0', 'p']),
                sign => marks.extend(['\0', sign]),
            },
            (other, false) => marks.push(other),
        }
    }
    let mut marks = marks.into_iter();
    while let Some(mark) = marks.next() {
        if mark != '\0' {
            if mark.is_whitespace() {
                rest = rest.trim_start();
            } else {
                rest = rest.trim_start().strip_prefix(mark)?;
            }
            continue;
        }
        let sign = marks.next()?;
        rest = rest.trim_start();
        match sign {
            'Y' => year = digits(&mut rest, 4)?,
            'y' => year = four_digits(i64::from(digits(&mut rest, 2)?)) as u32,
            'm' | 'c' => month = digits(&mut rest, 2)?,
            'M' => month = name(&mut rest, &MONTHS, false)? + 1,
            'b' => month = name(&mut rest, &MONTHS, true)? + 1,
            'd' | 'e' => day = digits(&mut rest, 2)?,
            'D' => {
                day = digits(&mut rest, 2)?;
                rest = rest.get(2..)?;
            }
            'j' => of_year = Some(digits(&mut rest, 3)?),
            'H' | 'k' => hour = digits(&mut rest, 2)?,
            'h' | 'I' | 'l' => {
                hour = digits(&mut rest, 2).filter(|hour| (1..=12).contains(hour))?;
                half = half.or(Some(0));
            }
            'i' => minute = digits(&mut rest, 2)?,
            'S' | 's' => second = digits(&mut rest, 2)?,
            'f' => {
                let end = rest.bytes().take(6).take_while(u8::is_ascii_digit).count();
                micros = format!("{:0<6}", &rest[..end]).parse().ok()?;
                rest = &rest[end..];
            }
            'p' => {
                half = Some(match rest.get(..2)?.to_ascii_uppercase().as_str() {
                    "AM" => 0,
                    "PM" => 12,
                    _ => return None,
                });
                rest = &rest[2..];
            }
            'W' => {
                name(&mut rest, &WEEKDAYS, false)?;
            }
            'a' => {
                name(&mut rest, &WEEKDAYS, true)?;
            }
            'w' => {
                digits(&mut rest, 1)?;
            }
            other => rest = rest.strip_prefix(other)?,
        }
    }
    if let Some(half) = half {
        hour = hour % 12 + half;
    }
    let content = content(format);
    if content.clock && !content.date {
        let whole = time_of(false, hour, minute, second, 0)?;
        return Some(Value::Time(whole + i64::from(micros)));
    }
    let date = match of_year {
        Some(day) => {
            let length = days_of_year(i64::from(year));
            (1..=length).contains(&i64::from(day)).then(|| first_day(i64::from(year)) + i64::from(day) - 1)?
        }
        None => i64::from(days_from_civil(i32::try_from(year).ok()?, month, day)?),
    };
    if year == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if !content.clock {
        return Some(Value::Date(date as i32));
    }
    let clock = i64::from((hour * 60 + minute) * 60 + second) * 1_000_000 + i64::from(micros);
    Some(Value::DateTime(date * MICROSECONDS_PER_DAY + clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_are_counted_in_all_modes() {
        let days = |year, month, day| i64::from(days_from_civil(year, month, day).expect("a day"));
        // 2008-02-20 in the modes 0 to 7, as MySQL's manual and its server count.
        let all: Vec<i64> = (0..8).map(|mode| week(days(2008, 2, 20), mode).0).collect();
        assert_eq!(all, [7, 8, 7, 8, 8, 7, 8, 7]);
        assert_eq!(week(days(2000, 1, 1), 0).0, 0);
        assert_eq!(week(days(2000, 1, 1), 2), (52, 1999));
        assert_eq!(week(days(1998, 12, 31), 3), (53, 1998));
    }
}
