//! Parameters of prepared statements: types and binary values of COM_STMT_EXECUTE.

use crate::error::{Result, SqlError};
use crate::value::calendar::{moment, time_of};
use crate::wire::packet::{Fields, malformed};
use duet_client::Value;
use mysql_common::constants::ColumnType as WireType;

/// Type of a parameter and whether it is unsigned.
pub type ParameterType = (u8, bool);

/// Reads the values of the parameters. `types` are those of the last execution, and are replaced when the packet has new ones;
/// `long_data` are values that were sent ahead.
///
/// # Errors
/// When the packet is malformed or a type is not known.
pub fn read(
    mut fields: Fields<'_>,
    count: usize,
    types: &mut Vec<ParameterType>,
    long_data: &mut [Option<Vec<u8>>],
) -> Result<Vec<Value>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let nulls = fields.bytes(count.div_ceil(8))?;
    if fields.byte()? == 1 {
        types.clear();
        for _ in 0..count {
            let (kind, flag) = (fields.byte()?, fields.byte()?);
            types.push((kind, flag & 0x80 != 0));
        }
    }
    if types.len() != count {
        return Err(malformed());
    }
    let mut values = Vec::with_capacity(count);
    for (index, (kind, unsigned)) in types.iter().enumerate() {
        let sent = long_data.get_mut(index).and_then(Option::take);
        values.push(if let Some(bytes) = sent {
            text_or_bytes(*kind, bytes)
        } else if nulls[index / 8] & (1 << (index % 8)) != 0 {
            Value::Null
        } else {
            value(&mut fields, *kind, *unsigned)?
        });
    }
    Ok(values)
}

fn value(fields: &mut Fields<'_>, kind: u8, unsigned: bool) -> Result<Value> {
    let Ok(wire_type) = WireType::try_from(kind) else { return Err(malformed()) };
    let mut integer = |bytes: usize| -> Result<Value> {
        let number = fields.number(bytes)?;
        if unsigned {
            return Ok(Value::UInt(number));
        }
        // Fills the upper bits with the sign.
        let shift = 64 - 8 * bytes as u32;
        Ok(Value::Int(((number << shift) as i64) >> shift))
    };
    Ok(match wire_type {
        WireType::MYSQL_TYPE_NULL => Value::Null,
        WireType::MYSQL_TYPE_TINY => integer(1)?,
        WireType::MYSQL_TYPE_SHORT | WireType::MYSQL_TYPE_YEAR => integer(2)?,
        WireType::MYSQL_TYPE_INT24 | WireType::MYSQL_TYPE_LONG => integer(4)?,
        WireType::MYSQL_TYPE_LONGLONG => integer(8)?,
        WireType::MYSQL_TYPE_FLOAT => Value::Float(f32::from_bits(fields.number(4)? as u32)),
        WireType::MYSQL_TYPE_DOUBLE => Value::Double(f64::from_bits(fields.number(8)?)),
        WireType::MYSQL_TYPE_DATE | WireType::MYSQL_TYPE_DATETIME | WireType::MYSQL_TYPE_TIMESTAMP => {
            read_moment(fields, wire_type == WireType::MYSQL_TYPE_DATE)?
        }
        WireType::MYSQL_TYPE_TIME => read_time(fields)?,
        WireType::MYSQL_TYPE_DECIMAL
        | WireType::MYSQL_TYPE_NEWDECIMAL
        | WireType::MYSQL_TYPE_VARCHAR
        | WireType::MYSQL_TYPE_BIT
        | WireType::MYSQL_TYPE_JSON
        | WireType::MYSQL_TYPE_ENUM
        | WireType::MYSQL_TYPE_SET
        | WireType::MYSQL_TYPE_TINY_BLOB
        | WireType::MYSQL_TYPE_MEDIUM_BLOB
        | WireType::MYSQL_TYPE_LONG_BLOB
        | WireType::MYSQL_TYPE_BLOB
        | WireType::MYSQL_TYPE_VAR_STRING
        | WireType::MYSQL_TYPE_STRING
        | WireType::MYSQL_TYPE_GEOMETRY => text_or_bytes(kind, fields.string()?.to_vec()),
        _ => return Err(malformed()),
    })
}

/// Text where the bytes are UTF-8 and the type is not one of bytes; drivers send both as either.
fn text_or_bytes(kind: u8, bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text)
            if kind == WireType::MYSQL_TYPE_NEWDECIMAL as u8
                || kind == WireType::MYSQL_TYPE_DECIMAL as u8 =>
        {
            crate::value::number::decimal(&text).unwrap_or(Value::Text(text))
        }
        Ok(text) => Value::Text(text),
        Err(error) => Value::Bytes(error.into_bytes()),
    }
}

fn invalid() -> SqlError {
    SqlError::wrong_value("Incorrect datetime value in a parameter")
}

fn read_moment(fields: &mut Fields<'_>, is_date: bool) -> Result<Value> {
    let length = fields.byte()?;
    let mut fields = Fields(fields.bytes(usize::from(length))?);
    let (mut date, mut time, mut fraction) = ((0, 0, 0), (0, 0, 0), 0);
    if length >= 4 {
        date = (fields.number(2)? as i32, u32::from(fields.byte()?), u32::from(fields.byte()?));
    }
    if length >= 7 {
        time = (u32::from(fields.byte()?), u32::from(fields.byte()?), u32::from(fields.byte()?));
    }
    if length >= 11 {
        fraction = fields.number(4)? as u32;
    }
    let value = moment(date, time, fraction).ok_or_else(invalid)?;
    Ok(match is_date {
        true => Value::Date(value.div_euclid(duet_protocol::value::MICROSECONDS_PER_DAY) as i32),
        false => Value::DateTime(value),
    })
}

fn read_time(fields: &mut Fields<'_>) -> Result<Value> {
    let length = fields.byte()?;
    let mut fields = Fields(fields.bytes(usize::from(length))?);
    if length < 8 {
        return Ok(Value::Time(0));
    }
    let negative = fields.byte()? != 0;
    let days = fields.number(4)? as u32;
    let (hours, minutes, seconds) =
        (u32::from(fields.byte()?), u32::from(fields.byte()?), u32::from(fields.byte()?));
    let fraction = if length >= 12 { fields.number(4)? as u32 } else { 0 };
    let hours = days.checked_mul(24).and_then(|days| days.checked_add(hours)).ok_or_else(invalid)?;
    time_of(negative, hours, minutes, seconds, fraction).map(Value::Time).ok_or_else(invalid)
}
