//! Functions of dates and times.

use super::interval::{Unit, add, difference, in_years, microseconds, whole};
use super::{Function, MAX_TEXT_BYTES, civil, clock, moment, too_long};
use crate::error::{Result, SqlError, not_supported};
use crate::value::calendar::{MAX_TIME, digits, four_digits, parse_moment, parse_time, time_of};
use crate::value::compare::moment_of;
use crate::value::format::text;
use duet_client::Value;
use duet_protocol::value::{MICROSECONDS_PER_DAY, civil_from_days, days_from_civil};

/// Days from the year 0 to 1970, as `TO_DAYS` counts them.
const DAYS_BEFORE_1970: i64 = 719_528;

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
    Value::Time(microseconds.clamp(i128::from(-MAX_TIME), i128::from(MAX_TIME)) as i64)
}

/// What a value says where it may be a time as well as a moment.
#[derive(Clone, Copy)]
enum Said {
    Time(i64),
    Moment(i64),
    /// A date without time of day in a text.
    Day(i64),
}

/// A text is a moment where it has the marks of a date, or at least as many digits as one.
fn said(value: &Value) -> Option<Said> {
    if let Value::Time(time) = value {
        return Some(Said::Time(*time));
    }
    if let Some(moment) = moment_of(value) {
        return Some(Said::Moment(moment));
    }
    let shown = text(value);
    let shown = shown.trim();
    let is_date = shown.get(1..).is_some_and(|rest| rest.contains(['-', '/']))
        || shown.bytes().take_while(u8::is_ascii_digit).count() >= 8;
    match parse_moment(shown).filter(|_| is_date) {
        Some((moment, true)) => Some(Said::Moment(moment)),
        Some((moment, false)) => Some(Said::Day(moment)),
        None => parse_time(shown).map(Said::Time),
    }
}

/// A time as functions of times take it: also of a moment its time of day.
fn time(value: &Value) -> Option<i64> {
    match said(value)? {
        Said::Time(time) => Some(time),
        Said::Moment(moment) => Some(moment.rem_euclid(MICROSECONDS_PER_DAY)),
        Said::Day(_) => None,
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
    let number = value.map_or(0, whole);
    number.rem_euclid(8) as u32
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
            moment(&values[0]).map_or(Ok(Value::Null), |moment| formatted(moment, None, &format))?
        }
        Function::TimeFormat => {
            let format = text(&values[1]);
            time(&values[0]).map_or(Ok(Value::Null), |time| formatted(0, Some(time), &format))?
        }
        Function::TextToDate => read(&text(&values[0]), &text(&values[1]))?,
        Function::Time => time(&values[0]).map_or(Value::Null, Value::Time),
        Function::Moment => match (moment(&values[0]), values.get(1)) {
            (Some(moment), None) => Value::DateTime(moment),
            (Some(moment), Some(more)) => moment_value(time(more).map(|more| moment.saturating_add(more))),
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
        Function::SecondsToTime => microseconds(&values[0]).map_or(Value::Null, time_value),
        Function::TimeToSeconds => number(time(&values[0]).map(|time| time / 1_000_000)),
        Function::TimeDifference => match (said(&values[0]), said(&values[1])) {
            (Some(Said::Time(a)), Some(Said::Time(b)))
            | (Some(Said::Moment(a) | Said::Day(a)), Some(Said::Moment(b) | Said::Day(b))) => {
                time_value(i128::from(a) - i128::from(b))
            }
            _ => Value::Null,
        },
        Function::AddTime | Function::SubtractTime => add_time(function, &values[0], &values[1]),
        Function::FromUnixTime => {
            // Up to the end of the year 3000, as in MySQL 8.
            let micros =
                microseconds(&values[0]).filter(|micros| (0..32_536_771_200_000_000).contains(micros));
            match (micros, values.get(1)) {
                (None, _) => Value::Null,
                (Some(micros), None) => Value::DateTime(micros as i64),
                (Some(micros), Some(format)) => formatted(micros as i64, None, &text(format))?,
            }
        }
        Function::FromDays => date(whole(&values[0]).saturating_sub(DAYS_BEFORE_1970)),
        Function::ToDays => number(days(&values[0]).map(|days| days + DAYS_BEFORE_1970)),
        Function::ToSeconds => {
            number(moment(&values[0]).map(|at| at.div_euclid(1_000_000) + DAYS_BEFORE_1970 * 24 * 60 * 60))
        }
        Function::PeriodAdd | Function::PeriodDifference => {
            let name = if function == Function::PeriodAdd { "period_add" } else { "period_diff" };
            let wrong = || SqlError::wrong_arguments(format!("Incorrect arguments to {name}"));
            let months = |value: &Value| {
                let period = whole(value);
                let (year, month) = (period / 100, period % 100);
                let is_period = (1..=999_912).contains(&period) && (1..=12).contains(&month);
                is_period.then(|| four_digits(year) * 12 + month - 1).ok_or_else(wrong)
            };
            let first = months(&values[0])?;
            match function {
                Function::PeriodAdd => {
                    let sum = first.checked_add(whole(&values[1])).filter(|sum| *sum >= 0);
                    let years = sum.and_then(|sum| (sum / 12).checked_mul(100));
                    let period = years.zip(sum).and_then(|(years, sum)| years.checked_add(sum % 12 + 1));
                    Value::Int(period.ok_or_else(wrong)?)
                }
                _ => Value::Int(first - months(&values[1])?),
            }
        }
        Function::ConvertZone => {
            let (Some(at), Some(from), Some(to)) =
                (moment(&values[0]), zone(&text(&values[1])), zone(&text(&values[2])))
            else {
                return Ok(Some(Value::Null));
            };
            moment_value(Some(at - from + to))
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
    let number = |mut digits_of: &str| {
        let number = digits(&mut digits_of, 2);
        number.filter(|_| digits_of.is_empty()).map(i64::from)
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let ahead = (hours * 60 + minutes) * 60_000_000;
    (hours <= 14 && minutes < 60).then_some(if name.starts_with('-') { -ahead } else { ahead })
}

/// A moment of the years 1 to 9999, or NULL.
fn moment_value(moment: Option<i64>) -> Value {
    moment.and_then(|moment| in_years(moment.into())).map_or(Value::Null, Value::DateTime)
}

/// `ADDTIME` and `SUBTIME`: a time or a moment moved by a time. Text stays text.
fn add_time(function: Function, value: &Value, more: &Value) -> Value {
    let (Some(from), Some(Said::Time(more))) = (said(value), said(more)) else { return Value::Null };
    let more = if function == Function::SubtractTime { -more } else { more };
    let moved = match from {
        Said::Time(time) => time_value(i128::from(time) + i128::from(more)),
        Said::Moment(moment) | Said::Day(moment) => moment_value(moment.checked_add(more)),
    };
    match (value, moved) {
        (_, Value::Null) => Value::Null,
        (Value::Time(_) | Value::Date(_) | Value::DateTime(_) | Value::Timestamp(_), moved) => moved,
        (_, moved) => Value::Text(text(&moved)),
    }
}

fn make_time(hours: &Value, minutes: &Value, seconds: &Value) -> Value {
    let (hours, minutes) = (whole(hours), whole(minutes));
    let micros = microseconds(seconds).filter(|micros| (0..60_000_000).contains(micros));
    let Some(micros) = micros else { return Value::Null };
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
        Value::Text(_) => matches!(said(value), None | Some(Said::Time(_))),
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
fn formatted(moment: i64, time: Option<i64>, format: &str) -> Result<Value> {
    use std::fmt::Write;
    let days = moment.div_euclid(MICROSECONDS_PER_DAY);
    let (year, month, day) = civil_from_days(days);
    let clock = time.map_or(moment.rem_euclid(MICROSECONDS_PER_DAY), i64::abs);
    let (micros, second, minute) = (clock % 1_000_000, clock / 1_000_000 % 60, clock / 60_000_000 % 60);
    let hour = clock / 3_600_000_000;
    let (hour_of_12, half) = (if hour % 12 == 0 { 12 } else { hour % 12 }, hour / 12 % 2);
    let half = ["AM", "PM"][half as usize];
    let mut output = String::new();
    if time.is_some_and(i64::is_negative) {
        output.push('-');
    }
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if output.len() > MAX_TEXT_BYTES {
            return Err(too_long());
        }
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
            return Ok(Value::Null);
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
    Ok(Value::Text(output))
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
                Some('%' | '#' | '.' | '@') | None => {}
                Some(_) => content.date = true,
            }
        }
    }
    content
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

/// Whether something other than blanks is left of a text behind what a format of `STR_TO_DATE` reads.
pub(in super::super) fn has_rest(source: &str, format: &str) -> bool {
    read_parts(source, format).is_some_and(|(_, rest)| !rest.trim().is_empty())
}

/// `STR_TO_DATE`: NULL where the text is not as the format says.
///
/// # Errors
/// 1235 where the format has weeks.
fn read(source: &str, format: &str) -> Result<Value> {
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character == '%'
            && let Some(sign @ ('U' | 'u' | 'V' | 'v' | 'X' | 'x')) = characters.next()
        {
            return not_supported(&format!("%{sign} in a format of STR_TO_DATE"));
        }
    }
    Ok(read_parts(source, format).map_or(Value::Null, |(value, _)| value))
}

/// The value, and what is left of the text.
fn read_parts<'t>(source: &'t str, format: &str) -> Option<(Value, &'t str)> {
    let (mut year, mut month, mut day, mut of_year) = (0_u32, 0_u32, 0_u32, None);
    let (mut hour, mut minute, mut second, mut micros) = (0_u32, 0_u32, 0_u32, 0_u32);
    let mut half = None;
    let mut rest = source;
    let mut characters = format.chars();
    // What a sign stands for that means several others.
    let mut several = "".chars();
    while let Some(character) = several.next().or_else(|| characters.next()) {
        rest = rest.trim_start();
        if character != '%' {
            if !character.is_whitespace() {
                rest = rest.strip_prefix(character)?;
            }
            continue;
        }
        match several.next().or_else(|| characters.next())? {
            'T' => several = "%H:%i:%s".chars(),
            'r' => several = "%h:%i:%s %p".chars(),
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
            '#' => rest = rest.trim_start_matches(|character: char| character.is_ascii_digit()),
            '.' => rest = rest.trim_start_matches(|character: char| character.is_ascii_punctuation()),
            '@' => rest = rest.trim_start_matches(|character: char| character.is_ascii_alphabetic()),
            other => rest = rest.strip_prefix(other)?,
        }
    }
    if let Some(half) = half {
        hour = hour % 12 + half;
    }
    let content = content(format);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if content.clock && !content.date {
        let whole = time_of(false, hour, minute, second, 0)?;
        return Some((Value::Time(whole + i64::from(micros)), rest));
    }
    let date = match of_year {
        Some(day) => {
            let length = days_of_year(i64::from(year));
            (1..=length).contains(&i64::from(day)).then(|| first_day(i64::from(year)) + i64::from(day) - 1)?
        }
        None => i64::from(days_from_civil(i32::try_from(year).ok()?, month, day)?),
    };
    if year == 0 {
        return None;
    }
    if !content.clock {
        return Some((Value::Date(date as i32), rest));
    }
    let clock = i64::from((hour * 60 + minute) * 60 + second) * 1_000_000 + i64::from(micros);
    Some((Value::DateTime(date * MICROSECONDS_PER_DAY + clock), rest))
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

    fn called(function: Function, values: &[Value]) -> Result<Value> {
        call(function, values).map(Option::unwrap_or_default)
    }

    fn written(content: &str) -> Value {
        Value::Text(content.to_owned())
    }

    #[test]
    fn numbers_beyond_all_dates_are_refused() {
        for amount in [Value::Int(i64::MAX), Value::Int(i64::MIN), Value::Double(1e300)] {
            let period = called(Function::PeriodAdd, &[Value::Int(200_801), amount.clone()]);
            assert_eq!(period.expect_err("no period").code, 1_210);
            assert!(called(Function::PeriodDifference, &[amount.clone(), Value::Int(200_801)]).is_err());
            let numbers = [amount.clone(), amount.clone(), amount.clone()];
            for (function, count) in [
                (Function::FromDays, 1),
                (Function::MakeDate, 2),
                (Function::MakeTime, 3),
                (Function::FromUnixTime, 1),
            ] {
                assert_eq!(
                    called(function, &numbers[..count]).expect("no error"),
                    Value::Null,
                    "{function:?}"
                );
            }
        }
        assert_eq!(
            called(Function::PeriodAdd, &[Value::Int(200_813), Value::Int(1)]).expect_err("13").code,
            1_210
        );
        let zones = [Value::DateTime(0), written("+9223372036854775807:00"), written("+00:00")];
        assert_eq!(called(Function::ConvertZone, &zones).expect("no error"), Value::Null);
        let last = [written("9999-12-31 23:59:59"), written("+00:00"), written("+14:00")];
        assert_eq!(called(Function::ConvertZone, &last).expect("no error"), Value::Null);
    }

    #[test]
    fn formats_are_read() {
        let date = |day| Value::Date(days_from_civil(2024, 2, day).expect("a day"));
        for (source, format, expected) in [
            ("2024-02-03", "%Y-%m-%d", date(3)),
            ("25:00:00", "%H:%i:%s", Value::Null),
            ("10:20:30", "%T", Value::Time(37_230_000_000)),
            ("10:20:30 PM", "%r", Value::Time(80_430_000_000)),
            ("%T", "%%T", Value::Null),
            ("2024\0-02-04", "%Y\0-%m-%d", date(4)),
            ("2024H-02-04", "%Y\0H-%m-%d", Value::Null),
            ("2024-02-04", "%Y-%m-%d%", Value::Null),
            ("2024xy-02.;04", "%Y%@-%m%.%d", date(4)),
            ("17:10:20:30", "%#:%T", Value::Time(37_230_000_000)),
            ("2024-02-03xyz", "%Y-%m-%d", date(3)),
        ] {
            assert_eq!(read(source, format).expect("read"), expected, "{source} {format}");
        }
        assert!(has_rest("2024-02-03xyz", "%Y-%m-%d"));
        assert!(!has_rest("2024-02-03  ", "%Y-%m-%d"));
        for format in ["%X%V %W", "%Y%u", "%x", "%v"] {
            assert_eq!(read("200442 Monday", format).expect_err("weeks").code, 1_235, "{format}");
        }
    }

    #[test]
    fn formats_that_make_too_much_are_refused() {
        let format = "%r".repeat(MAX_TEXT_BYTES / 4);
        assert_eq!(formatted(0, None, &format).expect_err("too long").code, 1_041);
    }
}
