//! One component of a key: bytes that compare like the values they stand for.

use std::borrow::Cow;

use crate::row::{Cell, ColumnCodec, Form, RowError};
use crate::schema::ColumnType;
use crate::value::ValueRef;

/// Ends a component of variable length. Smaller than any continuation, so a prefix sorts first.
const TERMINATOR: [u8; 2] = [0x00, 0x00];
/// Stands for a zero byte within a component of variable length.
const ESCAPED_ZERO: [u8; 2] = [0x00, 0xff];

/// Bytes of every component of this form, or `None` if they vary.
pub(crate) const fn component_bytes(form: Form) -> Option<usize> {
    form.fixed_bytes()
}

/// Most bytes that a component of this type can take; types that cannot be in a key count as nothing.
pub(crate) fn longest_component(column_type: ColumnType) -> usize {
    match column_type {
        // A character takes up to four bytes; U+0000, the only one that is escaped, takes two.
        ColumnType::Char { characters } | ColumnType::Varchar { characters } => {
            characters as usize * 4 + TERMINATOR.len()
        }
        ColumnType::Varbinary { bytes } => bytes as usize * ESCAPED_ZERO.len() + TERMINATOR.len(),
        other => component_bytes(Form::of(other)).unwrap_or(0),
    }
}

/// The bit pattern whose unsigned order is the order of the number (IEEE 754 total order; NaN and
/// -0.0 do not occur).
fn ordered_bits(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn ordered_bits_narrow(number: f32) -> u32 {
    let bits = number.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

fn from_ordered_bits(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

fn from_ordered_bits_narrow(bits: u32) -> f32 {
    f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
}

/// Appends the last `width` bytes of a big-endian number.
fn append_tail(big_endian: &[u8], width: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&big_endian[big_endian.len() - usize::from(width)..]);
}

/// Appends the component of a cell, which may not be NaN.
pub(super) fn append(codec: &ColumnCodec, cell: Cell<'_>, out: &mut Vec<u8>) -> Result<(), RowError> {
    match cell {
        Cell::Float(number) if number.is_nan() => Err(RowError::NotANumber { column: codec.name.clone() }),
        Cell::Double(number) if number.is_nan() => Err(RowError::NotANumber { column: codec.name.clone() }),
        _ => {
            append_canonical(codec, cell, out);
            Ok(())
        }
    }
}

/// Appends the component of a cell: equal numbers, and all NaN, have the same.
pub(super) fn append_canonical(codec: &ColumnCodec, cell: Cell<'_>, out: &mut Vec<u8>) {
    match (codec.form, cell) {
        (Form::Signed { bytes }, Cell::Signed(number)) => {
            append_tail(&(number ^ (1 << (u32::from(bytes) * 8 - 1))).to_be_bytes(), bytes, out);
        }
        (Form::Unsigned { bytes }, Cell::Unsigned(number)) => append_tail(&number.to_be_bytes(), bytes, out),
        (Form::Decimal { bytes }, Cell::Decimal(unscaled)) => {
            append_tail(&(unscaled ^ (1 << (u32::from(bytes) * 8 - 1))).to_be_bytes(), bytes, out);
        }
        (_, Cell::Float(number)) => {
            let number = if number.is_nan() { f32::NAN } else { number };
            // Adding zero turns -0.0 into 0.0: equal numbers must be equal keys.
            out.extend_from_slice(&ordered_bits_narrow(number + 0.0).to_be_bytes());
        }
        (_, Cell::Double(number)) => {
            let number = if number.is_nan() { f64::NAN } else { number };
            out.extend_from_slice(&ordered_bits(number + 0.0).to_be_bytes());
        }
        (Form::Text | Form::Bytes, Cell::Bytes(bytes)) => {
            for (index, segment) in bytes.split(|byte| *byte == 0).enumerate() {
                if index > 0 {
                    out.extend_from_slice(&ESCAPED_ZERO);
                }
                out.extend_from_slice(segment);
            }
            out.extend_from_slice(&TERMINATOR);
        }
        (_, Cell::Bytes(bytes)) => out.extend_from_slice(bytes),
        (_, Cell::Signed(_) | Cell::Unsigned(_) | Cell::Decimal(_) | Cell::Floats(_)) => {
            unreachable!("a codec makes cells of its own form, and vectors are not key columns")
        }
    }
}

/// Appends the component of text or bytes whose zero bytes are escaped already.
pub(super) fn append_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    out.extend_from_slice(&TERMINATOR);
}

/// Number of bytes of the first component of `bytes`, with its terminator.
#[inline]
pub(super) fn measure(form: Form, bytes: &[u8]) -> Result<usize, &'static str> {
    if let Some(length) = component_bytes(form) {
        return if length <= bytes.len() { Ok(length) } else { Err("it is too short") };
    }
    let mut start = 0;
    loop {
        let rest = bytes.get(start..).unwrap_or(&[]);
        let zero = rest.iter().position(|byte| *byte == 0).ok_or("it is not terminated")?;
        start += zero + 2;
        match rest.get(zero + 1) {
            Some(0x00) => return Ok(start),
            Some(0xff) => {}
            Some(_) => return Err("it has a zero byte that is not escaped"),
            None => return Err("it is not terminated"),
        }
    }
}

/// The cell of a component of fixed length.
#[inline]
pub(crate) fn fixed_cell(form: Form, component: &[u8]) -> Cell<'_> {
    let mut wide = [0_u8; 16];
    if let Form::Binary { .. } = form {
        return Cell::Bytes(component);
    }
    let width = component.len().min(16);
    wide[16 - width..].copy_from_slice(&component[component.len() - width..]);
    let number = u128::from_be_bytes(wide);
    // A flipped sign bit is a bias of its weight.
    let signed = |bytes: u8| number as i128 - (1 << (u32::from(bytes) * 8 - 1));
    match form {
        Form::Signed { bytes } => Cell::Signed(signed(bytes) as i64),
        Form::Decimal { bytes: 16 } => Cell::Decimal((number ^ (1 << 127)) as i128),
        Form::Decimal { bytes } => Cell::Decimal(signed(bytes)),
        Form::Float => Cell::Float(from_ordered_bits_narrow(number as u32)),
        Form::Double => Cell::Double(from_ordered_bits(number as u64)),
        Form::Unsigned { .. } => Cell::Unsigned(number as u64),
        Form::Binary { .. } | Form::Text | Form::Bytes | Form::Vector => Cell::Bytes(component),
    }
}

/// The content of a component of variable length: everything but the terminator.
pub(crate) fn content(component: &[u8]) -> &[u8] {
    &component[..component.len().saturating_sub(TERMINATOR.len())]
}

/// Checks that a component, as [`measure`] found it, stands for a value that the column may hold.
pub(super) fn check(codec: &ColumnCodec, component: &[u8]) -> Result<(), RowError> {
    if component_bytes(codec.form).is_some() {
        let cell = fixed_cell(codec.form, component);
        let double = match cell {
            Cell::Float(number) => f64::from(number),
            Cell::Double(number) => number,
            _ => return codec.check_cell(cell),
        };
        return match double {
            number if number.is_nan() => Err(RowError::NotANumber { column: codec.name.clone() }),
            number if number == 0.0 && number.is_sign_negative() => {
                Err(RowError::MalformedKey { column: codec.name.clone(), reason: "it is a negative zero" })
            }
            _ => Ok(()),
        };
    }
    let content = content(component);
    if !content.contains(&0) {
        return codec.check_cell(Cell::Bytes(content));
    }
    check_escaped(codec, content)
}

/// Checks a component with escaped zero bytes piece by piece, without unescaping it.
fn check_escaped(codec: &ColumnCodec, content: &[u8]) -> Result<(), RowError> {
    let (mut bytes, mut characters) = (0, 0);
    for (index, piece) in content.split(|byte| *byte == 0).enumerate() {
        // A piece that follows a zero byte begins with the 0xff of the escape.
        let piece = if index == 0 { piece } else { piece.get(1..).unwrap_or(&[]) };
        let zero = usize::from(index > 0);
        bytes += piece.len() + zero;
        if codec.form == Form::Text {
            // A zero byte is a character of its own, so the text between is whole characters.
            characters += codec.text_of(piece)?.chars().count() + zero;
        }
    }
    match codec.column_type {
        ColumnType::Char { characters: limit } | ColumnType::Varchar { characters: limit }
            if characters > limit as usize =>
        {
            Err(codec.wrong_length(characters, "characters"))
        }
        ColumnType::Varbinary { bytes: limit } if bytes > limit as usize => {
            Err(codec.wrong_length(bytes, "bytes"))
        }
        _ => Ok(()),
    }
}

/// The value of a component as [`measure`] found it. Allocates only if it contains escaped zero bytes.
pub(super) fn value<'a>(codec: &ColumnCodec, component: &'a [u8]) -> Result<ValueRef<'a>, RowError> {
    if component_bytes(codec.form).is_some() {
        return codec.value_of(fixed_cell(codec.form, component));
    }
    let content = content(component);
    if !content.contains(&0) {
        return codec.value_of(Cell::Bytes(content));
    }
    let mut bytes = Vec::with_capacity(content.len());
    for (index, piece) in content.split(|byte| *byte == 0).enumerate() {
        if index > 0 {
            bytes.push(0);
        }
        bytes.extend_from_slice(if index == 0 { piece } else { piece.get(1..).unwrap_or(&[]) });
    }
    if codec.form == Form::Text {
        codec.text_of(&bytes).map(|text| ValueRef::Text(Cow::Owned(text.to_owned())))
    } else {
        Ok(ValueRef::Bytes(Cow::Owned(bytes)))
    }
}
