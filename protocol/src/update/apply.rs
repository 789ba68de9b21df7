//! Applying an update program to a value image.

use super::program::{Action, Addend, Step, steps};
use crate::layout::{ColumnLayout, Place, TableLayout};
use crate::row::encode::{check_size, clear_null, is_null, set_null};
use crate::row::{Cell, ColumnCodec, Form, RowError};
use crate::value::Value;

/// Longest result of an update in bytes.
const RESULT_BYTES: usize = 16;

/// What an update tells its sender: the sum of its first addition, in column order; without additions whether the row differs from
/// what it was.
///
/// The sum is little-endian: an `i64` for signed columns, a `u64` for unsigned ones, the bits of an `f64` for
/// FLOAT and DOUBLE, the unscaled `i128` for DECIMAL; empty when it is NULL. [`update_result_value`] reads it. Without additions
/// there is one byte, 1 where the row differs; [`update_result_differs`] reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateResult {
    bytes: [u8; RESULT_BYTES],
    length: u8,
}

impl UpdateResult {
    /// The result as it travels: 0, 1, 8 or 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn of(sum: Cell<'_>) -> Self {
        match sum {
            Cell::Signed(number) => Self::from_bytes(&number.to_le_bytes()),
            Cell::Unsigned(number) => Self::from_bytes(&number.to_le_bytes()),
            Cell::Float(number) => Self::from_bytes(&f64::from(number).to_le_bytes()),
            Cell::Double(number) => Self::from_bytes(&number.to_le_bytes()),
            Cell::Decimal(unscaled) => Self::from_bytes(&unscaled.to_le_bytes()),
            Cell::Bytes(_) | Cell::Floats(_) => Self::default(),
        }
    }

    fn from_bytes(number: &[u8]) -> Self {
        let mut result = Self { length: number.len() as u8, ..Self::default() };
        result.bytes[..number.len()].copy_from_slice(number);
        result
    }
}

/// The value of an [`UpdateResult`] whose addition was to column `index`.
///
/// # Errors
/// When there is no such column or the bytes are not a result of adding to it.
pub fn update_result_value(layout: &TableLayout, index: u16, result: &[u8]) -> Result<Value, RowError> {
    let codec = &layout.column(usize::from(index))?.codec;
    if result.is_empty() {
        return Ok(Value::Null);
    }
    let form = match codec.form {
        Form::Signed { .. } => Form::Signed { bytes: 8 },
        Form::Unsigned { .. } => Form::Unsigned { bytes: 8 },
        Form::Float | Form::Double => Form::Double,
        Form::Decimal { .. } => Form::Decimal { bytes: 16 },
        form => form,
    };
    match Cell::read(form, result) {
        Some(Cell::Double(number)) if codec.form == Form::Float => Ok(Value::Float(number as f32)),
        Some(cell) if codec.column_type.is_numeric() => codec.value_of(cell).map(Value::from),
        _ => Err(RowError::MalformedUpdate { reason: "the result is not a number of the column" }),
    }
}

/// Whether an update without additions, which had this result, changed its row; `None` for results of additions.
#[must_use]
pub fn update_result_differs(result: &[u8]) -> Option<bool> {
    match result {
        [differs] => Some(*differs != 0),
        _ => None,
    }
}

/// Appends the value image that `program` makes of the image `current` to `out`. Allocates only to
/// grow `out`; on error `out` is as before. A valid image stays valid; `current` itself is checked
/// only so far that nothing is read outside it.
///
/// # Errors
/// When the program or the image is malformed, a sum does not fit its column, a stored value is larger than the one that it should
/// advance to, or the row grows too large.
pub fn apply_update(
    layout: &TableLayout,
    current: &[u8],
    program: &[u8],
    out: &mut Vec<u8>,
) -> Result<UpdateResult, RowError> {
    let start = out.len();
    let result = append_updated(layout, current, program, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn append_updated(
    layout: &TableLayout,
    current: &[u8],
    program: &[u8],
    out: &mut Vec<u8>,
) -> Result<UpdateResult, RowError> {
    let start = out.len();
    let head =
        current.get(..layout.ends_start).ok_or(RowError::MalformedRow { reason: "it is too short" })?;
    out.extend_from_slice(head);
    let image = &mut out[start..];
    let mut result = None;
    let mut changes_variable = false;
    for step in steps(layout, program) {
        let step = step?;
        match step.column.place {
            Place::Fixed { null_bit, offset, bytes } => {
                let slot = offset as usize..offset as usize + bytes as usize;
                if let Some(sum) = assign_fixed(&step, image, null_bit, slot)? {
                    result.get_or_insert(sum);
                }
            }
            Place::Variable { null_bit, .. } => {
                changes_variable = true;
                match step.action {
                    Action::SetNull => set_null(image, null_bit),
                    Action::Set(_) | Action::Add(_) | Action::Advance(_) => clear_null(image, null_bit),
                }
            }
            Place::Key { .. } => unreachable!("programs that assign to key columns are refused"),
        }
    }
    if changes_variable {
        append_variable_parts(layout, current, program, start, out)?;
    } else {
        out.extend_from_slice(current.get(layout.ends_start..).unwrap_or(&[]));
    }
    check_size(out.len() - start)?;
    Ok(result.unwrap_or_else(|| UpdateResult::from_bytes(&[u8::from(out[start..] != *current)])))
}

/// Carries out an assignment to a fixed column. `Some` is the result of an addition.
fn assign_fixed(
    step: &Step<'_, '_>,
    image: &mut [u8],
    null_bit: u16,
    slot: std::ops::Range<usize>,
) -> Result<Option<UpdateResult>, RowError> {
    match step.action {
        Action::Set(bytes) => {
            clear_null(image, null_bit);
            image[slot].copy_from_slice(bytes);
            Ok(None)
        }
        Action::SetNull => {
            set_null(image, null_bit);
            image[slot].fill(0);
            Ok(None)
        }
        Action::Advance(bytes) => {
            let codec = &step.column.codec;
            if !is_null(image, null_bit) && is_larger(codec.form, &image[slot.clone()], bytes) {
                return Err(RowError::StoredIsNewer { column: codec.name.clone() });
            }
            clear_null(image, null_bit);
            image[slot].copy_from_slice(bytes);
            Ok(None)
        }
        Action::Add(_) if is_null(image, null_bit) => Ok(Some(UpdateResult::default())),
        Action::Add(addend) => {
            let codec = &step.column.codec;
            let overflow =
                || RowError::AddOverflow { column: codec.name.clone(), column_type: codec.column_type };
            let sum = Cell::read(codec.form, &image[slot.clone()])
                .and_then(|cell| add(cell, addend))
                .filter(|sum| fits(codec, *sum))
                .ok_or_else(overflow)?;
            sum.overwrite(&mut image[slot]);
            Ok(Some(UpdateResult::of(sum)))
        }
    }
}

/// Whether the stored whole number is larger than the new one.
fn is_larger(form: Form, stored: &[u8], new: &[u8]) -> bool {
    match (Cell::read(form, stored), Cell::read(form, new)) {
        (Some(Cell::Signed(stored)), Some(Cell::Signed(new))) => stored > new,
        (Some(Cell::Unsigned(stored)), Some(Cell::Unsigned(new))) => stored > new,
        _ => false,
    }
}

/// The sum, unless it overflows the widest number of its kind.
fn add(cell: Cell<'_>, addend: Addend) -> Option<Cell<'static>> {
    match (cell, addend) {
        (Cell::Signed(number), Addend::Integer(addend)) => number.checked_add(addend).map(Cell::Signed),
        (Cell::Unsigned(number), Addend::Integer(addend)) => {
            number.checked_add_signed(addend).map(Cell::Unsigned)
        }
        (Cell::Double(number), Addend::Double(addend)) => Some(Cell::Double(number + addend)),
        // Summed in binary64 and rounded once, as MySQL does.
        (Cell::Float(number), Addend::Double(addend)) => {
            Some(Cell::Float((f64::from(number) + addend) as f32))
        }
        (Cell::Decimal(number), Addend::Decimal(addend)) => number.checked_add(addend).map(Cell::Decimal),
        _ => None,
    }
}

/// Can the column hold the sum? Infinities and NaN count as overflow.
fn fits(codec: &ColumnCodec, sum: Cell<'_>) -> bool {
    match sum {
        Cell::Float(number) => number.is_finite(),
        Cell::Double(number) => number.is_finite(),
        _ => codec.check_cell(sum).is_ok(),
    }
}

/// Appends end offsets and variable parts, merging those of the program with those of the row: both
/// are in ascending order of column.
fn append_variable_parts(
    layout: &TableLayout,
    current: &[u8],
    program: &[u8],
    start: usize,
    out: &mut Vec<u8>,
) -> Result<(), RowError> {
    let ends_start = start + layout.ends_start;
    let variable_start = start + layout.variable_start;
    out.resize(variable_start, 0);
    let is_variable = |column: &ColumnLayout| matches!(column.place, Place::Variable { .. });
    let mut changes = steps(layout, program)
        .filter(|step| step.as_ref().is_ok_and(|step| is_variable(step.column)))
        .peekable();
    for (part, index) in layout.variable.iter().enumerate() {
        let change = changes.next_if(|step| step.as_ref().is_ok_and(|step| step.index == *index));
        let bytes = match change {
            Some(step) => match step?.action {
                Action::Set(bytes) => bytes,
                Action::SetNull | Action::Add(_) | Action::Advance(_) => &[],
            },
            None => layout
                .variable_part(current, part)
                .ok_or(RowError::MalformedRow { reason: "an end offset is out of order or out of bounds" })?,
        };
        check_size(out.len() - start + bytes.len())?;
        out.extend_from_slice(bytes);
        let end = ((out.len() - variable_start) as u32).to_le_bytes();
        let slot = ends_start + part * layout.end_bytes;
        out[slot..slot + layout.end_bytes].copy_from_slice(&end[..layout.end_bytes]);
    }
    Ok(())
}
