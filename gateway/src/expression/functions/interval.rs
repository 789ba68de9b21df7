//! Intervals: moments moved by amounts of units of time, as `DATE_ADD` and `+ INTERVAL` do, and differences in units.

use super::calendar::time_value;
use super::moment;
use crate::error::Result;
use crate::value::calendar::{MAX_TIME, parse_moment};
use crate::value::compare::exact;
use crate::value::format::text;
use crate::value::number::{rescale, to_double};
use duet_client::{ColumnType, Value};
use duet_protocol::value::{MICROSECONDS_PER_DAY, civil_from_days, days_from_civil};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// Greatest size of an amount of time in microseconds, far beyond all moments and far below what overflows.
const MOST_MICROSECONDS: i128 = 10_i128.pow(24);

/// A unit of time, as INTERVAL names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A fixed number of microseconds.
    Fixed(i64),
    /// A number of months.
    Months(i64),
    /// Several numbers in one text, of the unit of microseconds of each: `'1:30' MINUTE_SECOND`.
    Several(&'static [i64]),
    /// Years and months in one text.
    YearMonth,
}

impl Unit {
    /// The unit of a name.
    pub fn named(name: &str) -> Option<Unit> {
        Some(match name.to_ascii_uppercase().as_str() {
            "MICROSECOND" | "SQL_TSI_FRAC_SECOND" => Unit::Fixed(1),
            "SECOND" | "SQL_TSI_SECOND" => Unit::Fixed(SECOND),
            "MINUTE" | "SQL_TSI_MINUTE" => Unit::Fixed(MINUTE),
            "HOUR" | "SQL_TSI_HOUR" => Unit::Fixed(HOUR),
            "DAY" | "SQL_TSI_DAY" => Unit::Fixed(MICROSECONDS_PER_DAY),
            "WEEK" | "SQL_TSI_WEEK" => Unit::Fixed(7 * MICROSECONDS_PER_DAY),
            "MONTH" | "SQL_TSI_MONTH" => Unit::Months(1),
            "QUARTER" | "SQL_TSI_QUARTER" => Unit::Months(3),
            "YEAR" | "SQL_TSI_YEAR" => Unit::Months(12),
            "SECOND_MICROSECOND" => Unit::Several(&[SECOND, 1]),
            "MINUTE_MICROSECOND" => Unit::Several(&[MINUTE, SECOND, 1]),
            "MINUTE_SECOND" => Unit::Several(&[MINUTE, SECOND]),
            "HOUR_MICROSECOND" => Unit::Several(&[HOUR, MINUTE, SECOND, 1]),
            "HOUR_SECOND" => Unit::Several(&[HOUR, MINUTE, SECOND]),
            "HOUR_MINUTE" => Unit::Several(&[HOUR, MINUTE]),
            "DAY_MICROSECOND" => Unit::Several(&[MICROSECONDS_PER_DAY, HOUR, MINUTE, SECOND, 1]),
            "DAY_SECOND" => Unit::Several(&[MICROSECONDS_PER_DAY, HOUR, MINUTE, SECOND]),
            "DAY_MINUTE" => Unit::Several(&[MICROSECONDS_PER_DAY, HOUR, MINUTE]),
            "DAY_HOUR" => Unit::Several(&[MICROSECONDS_PER_DAY, HOUR]),
            "YEAR_MONTH" => Unit::YearMonth,
            _ => return None,
        })
    }

    /// What kind of number an amount of it is, as errors name it; `None` where it is several of them.
    pub fn number_kind(self) -> Option<&'static str> {
        match self {
            // Seconds alone have a fraction.
            Unit::Fixed(SECOND) => Some("DECIMAL"),
            Unit::Fixed(_) | Unit::Months(_) => Some("INTEGER"),
            Unit::Several(_) | Unit::YearMonth => None,
        }
    }

    /// Whether a date that it moves gets a time of day.
    fn has_clock(self) -> bool {
        match self {
            Unit::Fixed(size) => size < MICROSECONDS_PER_DAY,
            Unit::Several(_) => true,
            Unit::Months(_) | Unit::YearMonth => false,
        }
    }

    /// The type of a value of this type that it has moved.
    pub fn moved_type(self, of: Option<ColumnType>) -> ColumnType {
        match of {
            Some(ColumnType::Date) if !self.has_clock() => ColumnType::Date,
            Some(ColumnType::Date | ColumnType::DateTime | ColumnType::Timestamp) => ColumnType::DateTime,
            Some(ColumnType::Time) => ColumnType::Time,
            _ => ColumnType::Varchar { characters: 29 },
        }
    }
}

/// How far a moment moves.
#[derive(Clone, Copy)]
enum Way {
    Months(i64),
    Microseconds(i128),
}

/// A whole number: of a text its digits up to the first other sign, of others the nearest. At most half of what there is, so that sums
/// of two fit.
pub(super) fn whole(amount: &Value) -> i64 {
    let number = match amount {
        Value::Text(text) => {
            let text = text.trim();
            let sign = usize::from(text.starts_with(['-', '+']));
            let end = text[sign..].bytes().take_while(u8::is_ascii_digit).count() + sign;
            match text[..end].parse() {
                Ok(number) => number,
                // Too many digits, or none.
                Err(_) if end == sign => 0,
                Err(_) if text.starts_with('-') => i128::MIN,
                Err(_) => i128::MAX,
            }
        }
        other => match exact(other) {
            Some((unscaled, scale)) => rescale(unscaled, scale, 0).unwrap_or(i128::MAX),
            None => to_double(other).unwrap_or(0.0).round_ties_even() as i128,
        },
    };
    number.clamp(i128::from(i64::MIN / 2), i128::from(i64::MAX / 2)) as i64
}

/// A number of seconds, which may have a fraction, in microseconds, up to 10^24 of them; `None` of NULL.
pub(super) fn microseconds(seconds: &Value) -> Option<i128> {
    let micros = match exact(seconds) {
        Some((unscaled, scale)) => rescale(unscaled.checked_mul(1_000_000)?, scale, 0)?,
        None => (to_double(seconds)? * 1e6).round_ties_even() as i128,
    };
    Some(micros.clamp(-MOST_MICROSECONDS, MOST_MICROSECONDS))
}

/// The numbers in a text, whatever is between them, and whether it is negative.
fn numbers(text: &str) -> (bool, Vec<&str>) {
    let text = text.trim();
    let runs = text.split(|character: char| !character.is_ascii_digit()).filter(|run| !run.is_empty());
    // No unit has more than five.
    (text.starts_with('-'), runs.take(6).collect())
}

fn way(amount: &Value, unit: Unit) -> Option<Way> {
    Some(match unit {
        // Seconds alone have a fraction.
        Unit::Fixed(SECOND) => Way::Microseconds(microseconds(amount)?),
        Unit::Fixed(size) => {
            let micros = i128::from(whole(amount)) * i128::from(size);
            Way::Microseconds(micros.clamp(-MOST_MICROSECONDS, MOST_MICROSECONDS))
        }
        Unit::Months(months) => Way::Months(whole(amount).checked_mul(months)?),
        Unit::YearMonth => {
            let text = text(amount);
            let (negative, runs) = numbers(&text);
            let number = |run: &str| run.parse::<i64>().ok();
            let months = match runs.as_slice() {
                [months] => number(months)?,
                [years, months] => number(years)?.checked_mul(12)?.checked_add(number(months)?)?,
                _ => return None,
            };
            Way::Months(if negative { -months } else { months })
        }
        Unit::Several(sizes) => {
            let text = text(amount);
            let (negative, runs) = numbers(&text);
            if runs.is_empty() || runs.len() > sizes.len() {
                return None;
            }
            // Fewer numbers are those of the smallest units.
            let sizes = &sizes[sizes.len() - runs.len()..];
            let mut sum = 0_i128;
            for (run, size) in runs.iter().zip(sizes) {
                // The fraction of a second is one: `.5` is half of it.
                let digits = match *size {
                    1 if runs.len() > 1 => format!("{:0<6}", run.get(..6).unwrap_or(run)),
                    _ => (*run).to_owned(),
                };
                sum = sum.checked_add(digits.parse::<i128>().ok()?.checked_mul(i128::from(*size))?)?;
            }
            let sum = sum.min(MOST_MICROSECONDS);
            Way::Microseconds(if negative { -sum } else { sum })
        }
    })
}

/// A moment some months later; on the last day of a month where it has fewer days.
pub fn plus_months(moment: i64, months: i64) -> Option<i64> {
    let (days, clock) = (moment.div_euclid(MICROSECONDS_PER_DAY), moment.rem_euclid(MICROSECONDS_PER_DAY));
    let (year, month, day) = civil_from_days(days);
    let sum = year.checked_mul(12)?.checked_add(i64::from(month) - 1)?.checked_add(months)?;
    let (year, month) = (sum.div_euclid(12), sum.rem_euclid(12) as u32 + 1);
    if !(1..=9_999).contains(&year) {
        return None;
    }
    let day = (day.min(28)..=day).rev().find_map(|day| days_from_civil(year as i32, month, day))?;
    Some(i64::from(day) * MICROSECONDS_PER_DAY + clock)
}

fn moved(moment: i64, way: Way) -> Option<i64> {
    match way {
        Way::Months(months) => plus_months(moment, months),
        Way::Microseconds(micros) => in_years(i128::from(moment).checked_add(micros)?),
    }
}

/// A moment of the years 1 to 9999.
pub(super) fn in_years(moment: i128) -> Option<i64> {
    let moment = i64::try_from(moment).ok()?;
    let (year, ..) = civil_from_days(moment.div_euclid(MICROSECONDS_PER_DAY));
    (1..=9_999).contains(&year).then_some(moment)
}

/// `value + INTERVAL amount unit`; NULL where there is no such moment.
pub(super) fn add(value: &Value, amount: &Value, unit: Unit, negative: bool) -> Value {
    let way = match way(amount, unit) {
        Some(Way::Months(months)) if negative => Way::Months(months.saturating_neg()),
        Some(Way::Microseconds(micros)) if negative => Way::Microseconds(-micros),
        Some(way) => way,
        None => return Value::Null,
    };
    match value {
        Value::Time(time) => match way {
            Way::Microseconds(micros) => {
                let moved = i128::from(*time) + micros;
                // Unlike sums of times it is not cut.
                if moved.unsigned_abs() > MAX_TIME.unsigned_abs().into() {
                    Value::Null
                } else {
                    time_value(moved)
                }
            }
            Way::Months(_) => Value::Null,
        },
        Value::Date(_) if !unit.has_clock() => {
            let moved = moment(value).and_then(|moment| moved(moment, way));
            moved.map_or(Value::Null, |moment| Value::Date(moment.div_euclid(MICROSECONDS_PER_DAY) as i32))
        }
        Value::Date(_) | Value::DateTime(_) | Value::Timestamp(_) => {
            moment(value).and_then(|moment| moved(moment, way)).map_or(Value::Null, Value::DateTime)
        }
        other => {
            let shown = text(other);
            let Some((moment, has_clock)) = parse_moment(&shown) else { return Value::Null };
            let Some(moment) = moved(moment, way) else { return Value::Null };
            Value::Text(text(&match has_clock || unit.has_clock() {
                true => Value::DateTime(moment),
                false => Value::Date(moment.div_euclid(MICROSECONDS_PER_DAY) as i32),
            }))
        }
    }
}

/// Whole units from one moment to another: `TIMESTAMPDIFF`.
pub(super) fn difference(unit: Unit, from: &Value, to: &Value) -> Result<Value> {
    let (Some(from), Some(to)) = (moment(from), moment(to)) else { return Ok(Value::Null) };
    Ok(match unit {
        Unit::Fixed(size) => Value::Int((to - from) / size),
        Unit::Months(size) => Value::Int(months_between(from, to) / size),
        Unit::Several(_) | Unit::YearMonth => Value::Null,
    })
}

/// Whole months between two moments, negative where the second is earlier.
fn months_between(from: i64, to: i64) -> i64 {
    if to < from {
        return -months_between(to, from);
    }
    let parts = |moment: i64| {
        let (year, month, day) = civil_from_days(moment.div_euclid(MICROSECONDS_PER_DAY));
        (year * 12 + i64::from(month), (day, moment.rem_euclid(MICROSECONDS_PER_DAY)))
    };
    let ((from_months, from_rest), (to_months, to_rest)) = (parts(from), parts(to));
    to_months - from_months - i64::from(to_rest < from_rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_beyond_all_moments_are_refused() {
        let (time, moment) = (Value::Time(0), Value::DateTime(0));
        let huge = Value::Decimal { unscaled: 10_i128.pow(37), scale: 0 };
        for amount in [Value::Double(1e300), Value::Double(-1e300), huge, Value::Int(i64::MIN)] {
            for unit in ["MICROSECOND", "SECOND", "WEEK", "YEAR"].map(Unit::named) {
                for negative in [false, true] {
                    let moved = add(&moment, &amount, unit.expect("a unit"), negative);
                    assert_eq!(moved, Value::Null, "{amount:?} {unit:?}");
                    add(&time, &amount, unit.expect("a unit"), negative);
                }
            }
        }
        let many = Value::Text("1 ".repeat(1 << 20));
        assert_eq!(numbers(&text(&many)).1.len(), 6);
        for unit in ["DAY_MICROSECOND", "YEAR_MONTH"].map(Unit::named) {
            assert_eq!(add(&moment, &many, unit.expect("a unit"), false), Value::Null);
        }
        let digits = Value::Text("9".repeat(50));
        assert_eq!(add(&moment, &digits, Unit::Fixed(HOUR), true), Value::Null);
        assert_eq!(add(&moment, &digits, Unit::YearMonth, true), Value::Null);
        assert_eq!(add(&moment, &digits, Unit::Several(&[HOUR, MINUTE]), true), Value::Null);
    }
}
