//! How values read: the text forms of SQL.

use std::fmt::{Display, Formatter, Result};

use super::{AsValue, MICROSECONDS_PER_DAY, Value, ValueRef, civil_from_days};

impl Display for Value {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        self.as_value().fmt(out)
    }
}

impl Display for ValueRef<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        match self {
            Self::Null => out.pad("NULL"),
            Self::Bool(value) => value.fmt(out),
            Self::Int(value) => value.fmt(out),
            Self::UInt(value) => value.fmt(out),
            Self::Float(value) => value.fmt(out),
            Self::Double(value) => value.fmt(out),
            Self::Decimal { unscaled, scale } => decimal(out, *unscaled, *scale),
            Self::Text(text) => out.pad(text),
            Self::Bytes(bytes) => {
                out.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
            Self::Date(days) => date(out, i64::from(*days)),
            Self::Time(microseconds) => {
                if *microseconds < 0 {
                    out.write_str("-")?;
                }
                clock(out, microseconds.unsigned_abs())
            }
            Self::DateTime(microseconds) | Self::Timestamp(microseconds) => {
                date(out, microseconds.div_euclid(MICROSECONDS_PER_DAY))?;
                out.write_str(" ")?;
                clock(out, microseconds.rem_euclid(MICROSECONDS_PER_DAY).unsigned_abs())
            }
            Self::Json(text) => out.pad(text),
            Self::Vector(vector) => {
                out.write_str("[")?;
                for (index, element) in vector.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "," };
                    write!(out, "{separator}{element}")?;
                }
                out.write_str("]")
            }
        }
    }
}

/// `-12.50` for -1250 at scale 2.
fn decimal(out: &mut Formatter<'_>, unscaled: i128, scale: u8) -> Result {
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let point = if fraction.is_empty() { "" } else { "." };
    out.pad_integral(unscaled >= 0, "", &format!("{whole}{point}{fraction}"))
}

/// `2013-01-31`.
fn date(out: &mut Formatter<'_>, days: i64) -> Result {
    let (year, month, day) = civil_from_days(days);
    write!(out, "{year:04}-{month:02}-{day:02}")
}

/// `17:05:00`, with six digits of fraction when there is one.
fn clock(out: &mut Formatter<'_>, microseconds: u64) -> Result {
    let seconds = microseconds / 1_000_000;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    match microseconds % 1_000_000 {
        0 => Ok(()),
        fraction => write!(out, ".{fraction:06}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_in_sql() {
        let cases = [
            (Value::Null, "NULL"),
            (Value::Bool(true), "true"),
            (Value::Int(-7), "-7"),
            (Value::Double(0.1), "0.1"),
            (Value::Decimal { unscaled: -1250, scale: 2 }, "-12.50"),
            (Value::Decimal { unscaled: 5, scale: 3 }, "0.005"),
            (Value::Decimal { unscaled: 5, scale: 0 }, "5"),
            (Value::Decimal { unscaled: i128::MIN, scale: 0 }, "-170141183460469231731687303715884105728"),
            (Value::Text("naïve".into()), "naïve"),
            (Value::Bytes(vec![0, 0xab]), "0x00ab"),
            (Value::Date(15_736), "2013-01-31"),
            (Value::Date(-719_162), "0001-01-01"),
            (Value::Time(-3_600_000_001), "-01:00:00.000001"),
            (Value::Time(3_020_399_000_000), "838:59:59"),
            (Value::DateTime(-1), "1969-12-31 23:59:59.999999"),
            (Value::Timestamp(1_357_034_400_000_000), "2013-01-01 10:00:00"),
            (Value::Json("{\"a\":1}".into()), "{\"a\":1}"),
            (Value::Vector(vec![1.0, -2.5]), "[1,-2.5]"),
        ];
        for (value, text) in cases {
            assert_eq!(value.to_string(), text);
        }
        // Extremes must not overflow.
        let _ = Value::Timestamp(i64::MIN).to_string();
        let _ = Value::Time(i64::MIN).to_string();
        let _ = Value::Date(i32::MIN).to_string();
        let _ = Value::Decimal { unscaled: 1, scale: 255 }.to_string();
    }
}
