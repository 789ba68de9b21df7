//! Values as text.

use duet_client::Value;
use duet_protocol::value::{MICROSECONDS_PER_DAY, civil_from_days};
use std::io::Write;

/// Powers of ten from which on doubles are written with an exponent.
const EXPONENT_FROM: i32 = 15;

/// A value as MySQL prints it.
pub fn text(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Json(text) => text.clone(),
        other => {
            let mut bytes = Vec::new();
            write(other, &mut bytes);
            String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
        }
    }
}

/// Appends a value as MySQL prints it; bytes as they are, NULL as nothing.
pub fn write(value: &Value, output: &mut Vec<u8>) {
    // Writing into memory cannot fail.
    let _ = match value {
        Value::Null => Ok(()),
        Value::Bool(truth) => write!(output, "{}", u8::from(*truth)),
        Value::Int(number) => write!(output, "{number}"),
        Value::UInt(number) => write!(output, "{number}"),
        Value::Float(number) => write!(output, "{}", float(*number)),
        Value::Double(number) => write!(output, "{}", double(*number)),
        Value::Decimal { unscaled, scale } => decimal(*unscaled, usize::from(*scale), output),
        Value::Text(text) | Value::Json(text) => output.write_all(text.as_bytes()),
        Value::Bytes(bytes) => output.write_all(bytes),
        Value::Date(days) => date(i64::from(*days), output),
        Value::Time(microseconds) => time(*microseconds, output),
        Value::DateTime(moment) | Value::Timestamp(moment) => date_time(*moment, output),
        Value::Vector(floats) => {
            let elements: Vec<String> = floats.iter().map(|element| float(*element)).collect();
            write!(output, "[{}]", elements.join(","))
        }
    };
}

fn decimal(unscaled: i128, scale: usize, output: &mut Vec<u8>) -> std::io::Result<()> {
    let digits = unscaled.unsigned_abs().to_string();
    if unscaled < 0 {
        output.push(b'-');
    }
    if scale == 0 {
        return output.write_all(digits.as_bytes());
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    write!(output, "{whole}.{fraction}")
}

fn exponent_of(number: f64) -> i32 {
    let scientific = format!("{number:e}");
    scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0)
}

fn double(number: f64) -> String {
    if number == 0.0 {
        return if number.is_sign_negative() { "-0".to_owned() } else { "0".to_owned() };
    }
    let exponent = exponent_of(number);
    if (-EXPONENT_FROM..EXPONENT_FROM).contains(&exponent) {
        format!("{number}")
    } else {
        format!("{number:e}")
    }
}

/// Six significant digits, as MySQL shows a FLOAT.
fn float(number: f32) -> String {
    let rounded: f64 = format!("{number:.5e}").parse().unwrap_or(f64::from(number));
    double(rounded)
}

fn date(days: i64, output: &mut Vec<u8>) -> std::io::Result<()> {
    let (year, month, day) = civil_from_days(days);
    write!(output, "{year:04}-{month:02}-{day:02}")
}

fn fraction(microseconds: u64, output: &mut Vec<u8>) -> std::io::Result<()> {
    match microseconds % 1_000_000 {
        0 => Ok(()),
        fraction => write!(output, ".{fraction:06}"),
    }
}

fn clock(microseconds: u64, output: &mut Vec<u8>) -> std::io::Result<()> {
    let seconds = microseconds / 1_000_000;
    write!(output, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
    fraction(microseconds, output)
}

fn time(microseconds: i64, output: &mut Vec<u8>) -> std::io::Result<()> {
    if microseconds < 0 {
        output.push(b'-');
    }
    clock(microseconds.unsigned_abs(), output)
}

fn date_time(moment: i64, output: &mut Vec<u8>) -> std::io::Result<()> {
    date(moment.div_euclid(MICROSECONDS_PER_DAY), output)?;
    output.push(b' ');
    clock(moment.rem_euclid(MICROSECONDS_PER_DAY).unsigned_abs(), output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_in_mysql() {
        for (value, expected) in [
            (Value::Double(1e15), "1e15"),
            (Value::Double(0.1), "0.1"),
            (Value::Double(3.0), "3"),
            (Value::Double(1e-16), "1e-16"),
            (Value::Float(2.345_678_9), "2.34568"),
            (Value::Float(16_777_216.0), "16777200"),
            (Value::Decimal { unscaled: -5, scale: 2 }, "-0.05"),
            (Value::Decimal { unscaled: 35_000, scale: 4 }, "3.5000"),
            (Value::Date(0), "1970-01-01"),
            (Value::DateTime(-1), "1969-12-31 23:59:59.999999"),
            (Value::Time(-3_661_000_000), "-01:01:01"),
            (Value::Bool(true), "1"),
        ] {
            assert_eq!(text(&value), expected);
        }
    }
}
