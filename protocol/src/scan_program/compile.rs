//! From the bytes of a program to what is evaluated: every check is made here.

use super::aggregate::{Aggregate, CompiledAggregate, Function, check_aggregate};
use super::compare::order;
use super::encode::codec_of;
use super::evaluate::{Node, Test};
use super::filter::Comparison;
use super::image::ImageWriter;
use super::slot::{Reader, Slot};
use super::{
    HEADER_BYTES, KIND_AGGREGATES, KIND_ROWS, MAX_AGGREGATES, MAX_DEPTH, MAX_FILTER_NODES, MAX_PROGRAM_BYTES,
    MAX_REPEATED_BYTES, NO_COLUMN, NODE_BYTES, ScanError, VERSION, constant, operation, truth,
};
use crate::layout::{TableLayout, longest_value};
use crate::schema::{ColumnType, MAX_COLUMNS};

const TRUNCATED: ScanError = ScanError::MalformedProgram { reason: "it ends too early" };

/// A program that was checked against the layout of a table, ready to be evaluated on its rows.
#[derive(Debug)]
pub struct CompiledScan<'p, 'l> {
    pub(super) layout: &'l TableLayout,
    pub(super) nodes: Vec<Node<'p>>,
    /// Members of all lists.
    pub(super) members: Vec<Slot<'p>>,
    /// Result columns, or those of groups; `None` for whole rows.
    pub(super) columns: Option<ImageWriter>,
    /// `None` when rows are wanted.
    pub(super) aggregates: Option<Vec<CompiledAggregate>>,
}

/// Columns of a result that were named, so that those which are named again can be counted.
struct Named {
    columns: [u64; MAX_COLUMNS.div_ceil(64)],
    repeated_bytes: usize,
}

impl Named {
    const NONE: Named = Named { columns: [0; MAX_COLUMNS.div_ceil(64)], repeated_bytes: 0 };

    fn add(&mut self, column: u16, column_type: ColumnType) -> Result<(), ScanError> {
        let (word, mask) = (&mut self.columns[usize::from(column) / 64], 1 << (column % 64));
        if *word & mask != 0 {
            self.repeated_bytes += longest_value(column_type);
        }
        *word |= mask;
        match self.repeated_bytes {
            0..=MAX_REPEATED_BYTES => Ok(()),
            _ => Err(ScanError::MalformedProgram { reason: "columns are repeated too often" }),
        }
    }
}

/// Takes fields off the front.
struct Fields<'p> {
    rest: &'p [u8],
}

impl<'p> Fields<'p> {
    fn take(&mut self, bytes: usize) -> Result<&'p [u8], ScanError> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ScanError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u16, ScanError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
}

impl<'p, 'l> CompiledScan<'p, 'l> {
    /// Checks a program; the empty one passes all rows whole.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn new(layout: &'l TableLayout, program: &'p [u8]) -> Result<CompiledScan<'p, 'l>, ScanError> {
        let mut scan =
            CompiledScan { layout, nodes: Vec::new(), members: Vec::new(), columns: None, aggregates: None };
        if program.is_empty() {
            return Ok(scan);
        }
        if program.len() > MAX_PROGRAM_BYTES {
            return Err(ScanError::ProgramTooLarge { bytes: program.len() });
        }
        let mut fields = Fields { rest: program };
        let [version, kind, n0, n1, c0, c1, a0, a1] = fields.array::<HEADER_BYTES>()?;
        if version != VERSION {
            return Err(ScanError::UnsupportedVersion { version });
        }
        let [nodes, columns, aggregates] =
            [[n0, n1], [c0, c1], [a0, a1]].map(|number| usize::from(u16::from_le_bytes(number)));
        if columns > MAX_COLUMNS || aggregates > MAX_AGGREGATES {
            return Err(ScanError::TooManyColumns { count: columns.max(aggregates) });
        }
        if nodes > MAX_FILTER_NODES {
            return Err(ScanError::FilterTooLarge);
        }
        let groups = match kind {
            KIND_ROWS if aggregates > 0 => {
                return Err(ScanError::MalformedProgram { reason: "rows and aggregates are both asked for" });
            }
            KIND_ROWS => false,
            KIND_AGGREGATES if columns + aggregates == 0 => {
                return Err(ScanError::MalformedProgram { reason: "it asks for no aggregate and no group" });
            }
            KIND_AGGREGATES => true,
            _ => return Err(ScanError::MalformedProgram { reason: "its kind is unknown" }),
        };
        scan.read_columns(&mut fields, columns, groups)?;
        if groups {
            scan.read_aggregates(&mut fields, aggregates)?;
        }
        if nodes > 0 {
            scan.read_filter(&mut fields, nodes)?;
        }
        if !fields.rest.is_empty() {
            return Err(ScanError::MalformedProgram { reason: "bytes follow its end" });
        }
        Ok(scan)
    }

    fn read_columns(&mut self, fields: &mut Fields<'p>, count: usize, groups: bool) -> Result<(), ScanError> {
        let (mut columns, mut named) = (Vec::with_capacity(count), Named::NONE);
        for _ in 0..count {
            let column = fields.number()?;
            let codec = codec_of(self.layout, column)?;
            named.add(column, codec.column_type)?;
            if groups && !constant::is_comparable(codec.column_type) {
                return Err(constant::not_comparable(codec));
            }
            columns.push(column);
        }
        if count > 0 {
            self.columns = Some(ImageWriter::new(self.layout, &columns)?);
        }
        Ok(())
    }

    fn read_aggregates(&mut self, fields: &mut Fields<'p>, count: usize) -> Result<(), ScanError> {
        let (mut aggregates, mut least, mut greatest) = (Vec::with_capacity(count), Named::NONE, Named::NONE);
        for _ in 0..count {
            let [function, zero, c0, c1] = fields.array()?;
            let function = Function::from_number(function)
                .ok_or(ScanError::MalformedProgram { reason: "a function is unknown" })?;
            if zero != 0 {
                return Err(ScanError::MalformedProgram { reason: "a reserved byte is not zero" });
            }
            let column = Some(u16::from_le_bytes([c0, c1])).filter(|column| *column != NO_COLUMN);
            let aggregate = Aggregate { function, column };
            check_aggregate(self.layout, aggregate)?;
            let extremes = match function {
                Function::Minimum => Some(&mut least),
                Function::Maximum => Some(&mut greatest),
                Function::Count | Function::Sum => None,
            };
            if let (Some(named), Some(column)) = (extremes, column) {
                named.add(column, codec_of(self.layout, column)?.column_type)?;
            }
            aggregates.push(CompiledAggregate::new(self.layout, aggregate)?);
        }
        self.aggregates = Some(aggregates);
        Ok(())
    }

    fn read_filter(&mut self, fields: &mut Fields<'p>, count: usize) -> Result<(), ScanError> {
        // Which node left each truth value that is held.
        let mut held: Vec<u16> = Vec::with_capacity(MAX_DEPTH);
        for index in 0..count {
            let [operation, zero, c0, c1, p0, p1, p2, p3] = fields.array::<NODE_BYTES>()?;
            let column = u16::from_le_bytes([c0, c1]);
            let payload = fields.take(u32::from_le_bytes([p0, p1, p2, p3]) as usize)?;
            if zero != 0 {
                return Err(ScanError::MalformedProgram { reason: "a reserved byte is not zero" });
            }
            let test = self.read_test(operation, column, payload)?;
            let taken = match test {
                Test::And | Test::Or => 2,
                Test::Not => 1,
                Test::Compare { .. }
                | Test::Null { .. }
                | Test::In { .. }
                | Test::Prefix { .. }
                | Test::Constant(_) => 0,
            };
            let Some(below) = held.len().checked_sub(taken) else {
                return Err(ScanError::MalformedProgram {
                    reason: "an operation of the filter lacks operands",
                });
            };
            if taken == 2 {
                // What the left side decides alone need not be asked of the right side.
                let left = &mut self.nodes[usize::from(held[below])];
                left.decided_by = if matches!(test, Test::And) { truth::FALSE } else { truth::TRUE };
                left.decides = index as u16;
            }
            held.truncate(below);
            held.push(index as u16);
            if held.len() > MAX_DEPTH {
                return Err(ScanError::FilterTooLarge);
            }
            self.nodes.push(Node { test, decided_by: u8::MAX, decides: 0 });
        }
        if held.len() != 1 {
            return Err(ScanError::MalformedProgram {
                reason: "the filter leaves more than one truth value",
            });
        }
        Ok(())
    }

    fn read_test(&mut self, operation: u8, column: u16, payload: &'p [u8]) -> Result<Test<'p>, ScanError> {
        let without_payload = |test: Test<'p>| match payload {
            [] => Ok(test),
            _ => Err(ScanError::MalformedProgram { reason: "a payload has a wrong length" }),
        };
        let comparison = match operation {
            operation::AND | operation::OR | operation::NOT | operation::CONSTANT if column != 0 => {
                return Err(ScanError::MalformedProgram {
                    reason: "an operation names a column without need",
                });
            }
            operation::AND => return without_payload(Test::And),
            operation::OR => return without_payload(Test::Or),
            operation::NOT => return without_payload(Test::Not),
            operation::CONSTANT => {
                return match payload {
                    [truth] if *truth <= truth::TRUE => Ok(Test::Constant(*truth)),
                    _ => Err(ScanError::MalformedProgram { reason: "a truth value is none" }),
                };
            }
            operation::EQUAL => Some(Comparison::Equal),
            operation::NOT_EQUAL => Some(Comparison::NotEqual),
            operation::LESS => Some(Comparison::Less),
            operation::LESS_OR_EQUAL => Some(Comparison::LessOrEqual),
            operation::GREATER => Some(Comparison::Greater),
            operation::GREATER_OR_EQUAL => Some(Comparison::GreaterOrEqual),
            _ => None,
        };
        let codec = codec_of(self.layout, column)?;
        let reader = reader_of(self.layout, column)?;
        if let Some(comparison) = comparison {
            let constant = constant::read(codec, payload)?;
            return Ok(Test::Compare { reader, comparison, constant });
        }
        match operation {
            operation::IS_NULL => without_payload(Test::Null { reader, wanted: true }),
            operation::IS_NOT_NULL => without_payload(Test::Null { reader, wanted: false }),
            operation::PREFIX => {
                constant::check_prefix(codec)?;
                Ok(Test::Prefix { reader, prefix: payload })
            }
            operation::IN => {
                let first = self.members.len();
                let mut fields = Fields { rest: payload };
                while !fields.rest.is_empty() {
                    let length = u32::from_le_bytes(fields.array()?) as usize;
                    let member = constant::read(codec, fields.take(length)?)?;
                    if let Some(before) = self.members.get(first..).and_then(<[_]>::last)
                        && order(*before, member).is_ge()
                    {
                        return Err(ScanError::MalformedProgram {
                            reason: "a list is not in ascending order",
                        });
                    }
                    self.members.push(member);
                }
                if !constant::is_comparable(codec.column_type) {
                    return Err(constant::not_comparable(codec));
                }
                Ok(Test::In { reader, first, end: self.members.len() })
            }
            _ => Err(ScanError::MalformedProgram { reason: "an operation of the filter is unknown" }),
        }
    }
}

pub(super) fn reader_of(layout: &TableLayout, column: u16) -> Result<Reader, ScanError> {
    Reader::new(layout, column)
        .ok_or(ScanError::UnknownScanColumn { index: usize::from(column), columns: layout.columns.len() })
}
