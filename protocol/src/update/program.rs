//! The bytes of update programs.

use super::Assignment;
use crate::layout::{ColumnLayout, Place, TableLayout};
use crate::row::{Cell, ColumnCodec, Form, RowError};
use crate::value::ValueRef;

/// Bytes before the payload of an assignment.
const HEADER_BYTES: usize = 8;

const ACTION_SET: u8 = 0;
const ACTION_SET_NULL: u8 = 1;
const ACTION_ADD: u8 = 2;
const ACTION_ADVANCE: u8 = 3;

/// What is added to a column: exact for integers and decimals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Addend {
    Integer(i64),
    Double(f64),
    Decimal(i128),
}

/// An assignment as it was checked against the layout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Action<'p> {
    /// The bytes of a legal cell of the column.
    Set(&'p [u8]),
    SetNull,
    Add(Addend),
    /// The bytes of a legal cell of the column, set unless the stored one is larger.
    Advance(&'p [u8]),
}

/// One assignment of a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'p, 'l> {
    pub(super) index: u16,
    pub(super) column: &'l ColumnLayout,
    pub(super) action: Action<'p>,
}

/// Appends the program of `assignments`, given in any order, to `program`; on error `program` is as before.
///
/// # Errors
/// When a column does not exist, is part of the primary key, is assigned twice, or does not take the value.
pub fn encode_update(
    layout: &TableLayout,
    assignments: &[(u16, Assignment<'_>)],
    program: &mut Vec<u8>,
) -> Result<(), RowError> {
    let start = program.len();
    let result = if assignments.is_sorted_by(|(before, _), (after, _)| before < after) {
        append_ascending(layout, assignments, program)
    } else {
        let mut sorted = assignments.to_vec();
        sorted.sort_by_key(|(index, _)| *index);
        append_ascending(layout, &sorted, program)
    };
    if result.is_err() {
        program.truncate(start);
    }
    result
}

fn append_ascending(
    layout: &TableLayout,
    assignments: &[(u16, Assignment<'_>)],
    program: &mut Vec<u8>,
) -> Result<(), RowError> {
    let mut previous = None;
    for (index, assignment) in assignments {
        let codec = &value_column(layout, *index)?.codec;
        if previous.replace(*index) == Some(*index) {
            return Err(RowError::DuplicateAssignment { column: codec.name.clone() });
        }
        append_assignment(codec, *index, assignment, program)?;
    }
    Ok(())
}

#[inline]
fn append_assignment(
    codec: &ColumnCodec,
    index: u16,
    assignment: &Assignment<'_>,
    program: &mut Vec<u8>,
) -> Result<(), RowError> {
    let start = program.len();
    let mut header = [0; HEADER_BYTES];
    header[..2].copy_from_slice(&index.to_le_bytes());
    program.extend_from_slice(&header);
    let action = match assignment {
        Assignment::Set(value) => match codec.cell_of(value)? {
            Some(cell) => {
                cell.append(codec.form, program);
                ACTION_SET
            }
            None => ACTION_SET_NULL,
        },
        Assignment::SetNull if codec.nullable => ACTION_SET_NULL,
        Assignment::SetNull => return Err(codec.null_not_allowed()),
        Assignment::Add(value) => {
            append_addend(codec, value, program)?;
            ACTION_ADD
        }
        Assignment::Advance(_) if !can_advance(codec) => return Err(not_numeric(codec)),
        Assignment::Advance(value) => match codec.cell_of(value)? {
            Some(cell) => {
                cell.append(codec.form, program);
                ACTION_ADVANCE
            }
            None => return Err(codec.wrong_type(value)),
        },
    };
    let payload_bytes = (program.len() - start - HEADER_BYTES) as u32;
    program[start + 2] = action;
    program[start + 4..start + HEADER_BYTES].copy_from_slice(&payload_bytes.to_le_bytes());
    Ok(())
}

fn append_addend(codec: &ColumnCodec, value: &ValueRef<'_>, program: &mut Vec<u8>) -> Result<(), RowError> {
    if !codec.column_type.is_numeric() {
        return Err(not_numeric(codec));
    }
    match codec.form {
        Form::Float | Form::Double => program.extend_from_slice(&codec.double_of(value)?.to_le_bytes()),
        Form::Decimal { .. } => match codec.cell_of(value)? {
            Some(cell) => cell.append(codec.form, program),
            None => return Err(codec.wrong_type(value)),
        },
        Form::Signed { .. } | Form::Unsigned { .. } => {
            let addend = match value {
                ValueRef::Int(number) => *number,
                ValueRef::UInt(number) => i64::try_from(*number).map_err(|_| codec.out_of_range(value))?,
                _ => return Err(codec.wrong_type(value)),
            };
            program.extend_from_slice(&addend.to_le_bytes());
        }
        Form::Binary { .. } | Form::Text | Form::Bytes | Form::Vector => return Err(not_numeric(codec)),
    }
    Ok(())
}

/// Checks that `program` is an update program that fits the table. Allocates nothing. Applying it
/// can still fail: when a sum overflows or the row grows too large.
///
/// # Errors
/// What is wrong first.
pub fn validate_update(layout: &TableLayout, program: &[u8]) -> Result<(), RowError> {
    steps(layout, program).try_for_each(|step| step.map(|_| ()))
}

/// The assignments of a program, each checked; ends after the first error.
pub(super) fn steps<'p, 'l>(layout: &'l TableLayout, program: &'p [u8]) -> Steps<'p, 'l> {
    Steps { layout, rest: program, least_index: 0 }
}

/// Iterator over the assignments of a program.
pub(super) struct Steps<'p, 'l> {
    layout: &'l TableLayout,
    rest: &'p [u8],
    least_index: u32,
}

impl<'p, 'l> Iterator for Steps<'p, 'l> {
    type Item = Result<Step<'p, 'l>, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let step = self.read();
        if step.is_err() {
            self.rest = &[];
        }
        Some(step)
    }
}

impl<'p, 'l> Steps<'p, 'l> {
    fn read(&mut self) -> Result<Step<'p, 'l>, RowError> {
        const TRUNCATED: RowError = RowError::MalformedUpdate { reason: "it ends within an assignment" };
        let Some((header, rest)) = self.rest.split_first_chunk::<HEADER_BYTES>() else {
            return Err(TRUNCATED);
        };
        let &[column_low, column_high, action, zero, a, b, c, d] = header;
        let index = u16::from_le_bytes([column_low, column_high]);
        let payload_bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(payload_bytes) else { return Err(TRUNCATED) };
        if zero != 0 {
            return Err(RowError::MalformedUpdate { reason: "a reserved byte is not zero" });
        }
        let column = value_column(self.layout, index)?;
        if u32::from(index) < self.least_index {
            return Err(RowError::MalformedUpdate { reason: "the columns are not in ascending order" });
        }
        let action = read_action(&column.codec, action, payload)?;
        self.least_index = u32::from(index) + 1;
        self.rest = rest;
        Ok(Step { index, column, action })
    }
}

fn read_action<'p>(codec: &ColumnCodec, action: u8, payload: &'p [u8]) -> Result<Action<'p>, RowError> {
    const WRONG_LENGTH: RowError = RowError::MalformedUpdate { reason: "a payload has a wrong length" };
    match action {
        ACTION_SET => {
            let Some(cell) = Cell::read(codec.form, payload) else { return Err(WRONG_LENGTH) };
            codec.check_cell(cell)?;
            Ok(Action::Set(payload))
        }
        ACTION_SET_NULL if !codec.nullable => Err(codec.null_not_allowed()),
        ACTION_SET_NULL if payload.is_empty() => Ok(Action::SetNull),
        ACTION_SET_NULL => Err(WRONG_LENGTH),
        ACTION_ADD if !codec.column_type.is_numeric() => Err(not_numeric(codec)),
        ACTION_ADD => {
            // Integers and floats are added in their widest form, whatever the column's own.
            let form = match codec.form {
                Form::Float | Form::Double => Form::Double,
                Form::Signed { .. } | Form::Unsigned { .. } => Form::Signed { bytes: 8 },
                form => form,
            };
            match Cell::read(form, payload).ok_or(WRONG_LENGTH)? {
                Cell::Signed(number) => Ok(Action::Add(Addend::Integer(number))),
                Cell::Double(number) => Ok(Action::Add(Addend::Double(number))),
                cell @ Cell::Decimal(unscaled) => {
                    codec.check_cell(cell)?;
                    Ok(Action::Add(Addend::Decimal(unscaled)))
                }
                Cell::Unsigned(_) | Cell::Float(_) | Cell::Bytes(_) | Cell::Floats(_) => {
                    Err(not_numeric(codec))
                }
            }
        }
        ACTION_ADVANCE if !can_advance(codec) => Err(not_numeric(codec)),
        ACTION_ADVANCE => {
            codec.check_cell(Cell::read(codec.form, payload).ok_or(WRONG_LENGTH)?)?;
            Ok(Action::Advance(payload))
        }
        _ => Err(RowError::MalformedUpdate { reason: "an action is unknown" }),
    }
}

/// The column of this index, which must not be part of the primary key.
fn value_column(layout: &TableLayout, index: u16) -> Result<&ColumnLayout, RowError> {
    let column = layout.column(usize::from(index))?;
    match column.place {
        Place::Key { .. } => Err(RowError::KeyColumnUpdate { column: column.codec.name.clone() }),
        Place::Fixed { .. } | Place::Variable { .. } => Ok(column),
    }
}

/// Whole numbers, dates and times have an order that everybody agrees on.
fn can_advance(codec: &ColumnCodec) -> bool {
    matches!(codec.form, Form::Signed { .. } | Form::Unsigned { .. })
}

fn not_numeric(codec: &ColumnCodec) -> RowError {
    RowError::NotNumeric { column: codec.name.clone(), column_type: codec.column_type }
}
