//! From what a client wants to the bytes of a program.

use super::aggregate::{Aggregate, check_aggregate};
use super::compare::order;
use super::filter::{Comparison, Filter};
use super::{
    KIND_AGGREGATES, KIND_ROWS, MAX_AGGREGATES, MAX_DEPTH, MAX_FILTER_NODES, MAX_PROGRAM_BYTES, NO_COLUMN,
    ScanError, VERSION, constant, operation, truth,
};
use crate::layout::TableLayout;
use crate::row::ColumnCodec;
use crate::schema::MAX_COLUMNS;

/// What a scan does, with columns by their index in the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScanProgram {
    /// Which rows pass; `None` for all.
    pub filter: Option<Filter<u16>>,
    /// Without aggregates the columns of the result, none for whole rows; with aggregates those that rows are grouped by.
    pub columns: Vec<u16>,
    /// What is computed of each group; `None` when rows are wanted. Groups without aggregates are the distinct values of
    /// the columns.
    pub aggregates: Option<Vec<Aggregate>>,
}

impl ScanProgram {
    /// Whether whole rows are wanted, all of them: then there is nothing to tell the node.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.filter.is_none() && self.columns.is_empty() && self.aggregates.is_none()
    }
}

/// The rules of a column.
pub(super) fn codec_of(layout: &TableLayout, column: u16) -> Result<&ColumnCodec, ScanError> {
    let index = usize::from(column);
    let found = layout.columns.get(index).map(|column| &column.codec);
    found.ok_or(ScanError::UnknownScanColumn { index, columns: layout.columns.len() })
}

/// Appends the bytes of a program to `out`; on error `out` is as before.
///
/// # Errors
/// What does not fit the table, or is more than a program may hold.
pub fn encode_program(
    layout: &TableLayout,
    program: &ScanProgram,
    out: &mut Vec<u8>,
) -> Result<(), ScanError> {
    let start = out.len();
    let result = append_program(layout, program, out).and_then(|()| match out.len() - start {
        bytes if bytes > MAX_PROGRAM_BYTES => Err(ScanError::ProgramTooLarge { bytes }),
        _ => Ok(()),
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn append_program(layout: &TableLayout, program: &ScanProgram, out: &mut Vec<u8>) -> Result<(), ScanError> {
    let aggregates = program.aggregates.as_deref().unwrap_or_default();
    if program.columns.len() > MAX_COLUMNS || aggregates.len() > MAX_AGGREGATES {
        return Err(ScanError::TooManyColumns { count: program.columns.len().max(aggregates.len()) });
    }
    let start = out.len();
    out.extend_from_slice(&[VERSION, KIND_ROWS, 0, 0]);
    out.extend_from_slice(&(program.columns.len() as u16).to_le_bytes());
    out.extend_from_slice(&(aggregates.len() as u16).to_le_bytes());
    for column in &program.columns {
        let codec = codec_of(layout, *column)?;
        if program.aggregates.is_some() && !constant::is_comparable(codec.column_type) {
            return Err(constant::not_comparable(codec));
        }
        out.extend_from_slice(&column.to_le_bytes());
    }
    if program.aggregates.is_some() {
        if aggregates.is_empty() && program.columns.is_empty() {
            return Err(ScanError::MalformedProgram { reason: "it asks for no aggregate and no group" });
        }
        out[start + 1] = KIND_AGGREGATES;
    }
    for aggregate in aggregates {
        check_aggregate(layout, *aggregate)?;
        out.extend_from_slice(&[aggregate.function as u8, 0]);
        out.extend_from_slice(&aggregate.column.unwrap_or(NO_COLUMN).to_le_bytes());
    }
    if let Some(filter) = &program.filter {
        let mut encoder = FilterEncoder { layout, out, nodes: 0 };
        encoder.filter(filter, 1)?;
        let nodes = encoder.nodes;
        out[start + 2..start + 4].copy_from_slice(&nodes.to_le_bytes());
    }
    Ok(())
}

struct FilterEncoder<'a> {
    layout: &'a TableLayout,
    out: &'a mut Vec<u8>,
    nodes: u16,
}

impl FilterEncoder<'_> {
    /// Appends a node whose payload `write` appends; it returns the operation.
    fn node(
        &mut self,
        column: u16,
        write: impl FnOnce(&mut Vec<u8>) -> Result<u8, ScanError>,
    ) -> Result<(), ScanError> {
        if usize::from(self.nodes) >= MAX_FILTER_NODES {
            return Err(ScanError::FilterTooLarge);
        }
        self.nodes += 1;
        let start = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        self.out.extend_from_slice(&column.to_le_bytes());
        self.out.extend_from_slice(&[0; 4]);
        let operation = write(self.out)?;
        let payload_bytes = (self.out.len() - start - super::NODE_BYTES) as u32;
        self.out[start] = operation;
        self.out[start + 4..start + 8].copy_from_slice(&payload_bytes.to_le_bytes());
        Ok(())
    }

    /// `depth` bounds the recursion, and is the number of truth values held when the filter's own is there.
    fn filter(&mut self, filter: &Filter<u16>, depth: usize) -> Result<(), ScanError> {
        if depth > MAX_DEPTH {
            return Err(ScanError::FilterTooLarge);
        }
        let layout = self.layout;
        match filter {
            Filter::Compare { column, comparison, value } => {
                let codec = codec_of(layout, *column)?;
                self.node(*column, |out| Ok(number_of(constant::append(codec, *comparison, value, out)?)))
            }
            Filter::IsNull(column) => {
                codec_of(layout, *column)?;
                self.node(*column, |_| Ok(operation::IS_NULL))
            }
            Filter::IsNotNull(column) => {
                codec_of(layout, *column)?;
                self.node(*column, |_| Ok(operation::IS_NOT_NULL))
            }
            Filter::Prefix { column, prefix } => {
                let codec = codec_of(layout, *column)?;
                self.node(*column, |out| {
                    constant::append_prefix(codec, prefix, out)?;
                    Ok(operation::PREFIX)
                })
            }
            Filter::In { values, .. } if values.is_empty() => self.constant(truth::FALSE),
            Filter::In { column, values } => {
                let codec = codec_of(layout, *column)?;
                self.node(*column, |out| append_list(codec, values, out))
            }
            Filter::And(all) => self.chain(all, operation::AND, truth::TRUE, depth),
            Filter::Or(any) => self.chain(any, operation::OR, truth::FALSE, depth),
            Filter::Not(inner) => {
                // The truth value takes the place of the inner one; the depth counts for the recursion alone.
                self.filter(inner, depth + 1)?;
                self.node(0, |_| Ok(operation::NOT))
            }
        }
    }

    fn chain(
        &mut self,
        filters: &[Filter<u16>],
        operation: u8,
        of_none: u8,
        depth: usize,
    ) -> Result<(), ScanError> {
        let Some((first, others)) = filters.split_first() else { return self.constant(of_none) };
        self.filter(first, depth + 1)?;
        for other in others {
            self.filter(other, depth + 1)?;
            self.node(0, |_| Ok(operation))?;
        }
        Ok(())
    }

    fn constant(&mut self, truth: u8) -> Result<(), ScanError> {
        self.node(0, |out| {
            out.push(truth);
            Ok(operation::CONSTANT)
        })
    }
}

/// Appends a sorted list. When no value of the column is in it, the node is a comparison that is false.
fn append_list(
    codec: &ColumnCodec,
    values: &[crate::value::Value],
    out: &mut Vec<u8>,
) -> Result<u8, ScanError> {
    let mut members = Vec::with_capacity(values.len());
    for value in values {
        let mut member = Vec::new();
        if constant::append_member(codec, value, &mut member)? {
            members.push(member);
        }
    }
    if members.is_empty() {
        // An empty list stays unknown for NULL, as the others do.
        return Ok(operation::IN);
    }
    let mut sorted = Vec::with_capacity(members.len());
    for member in &members {
        sorted.push((constant::read(codec, member)?, member));
    }
    sorted.sort_by(|(left, _), (right, _)| order(*left, *right));
    sorted.dedup_by(|(left, _), (right, _)| order(*left, *right).is_eq());
    for (_, member) in sorted {
        out.extend_from_slice(&(member.len() as u32).to_le_bytes());
        out.extend_from_slice(member);
    }
    Ok(operation::IN)
}

fn number_of(comparison: Comparison) -> u8 {
    match comparison {
        Comparison::Equal => operation::EQUAL,
        Comparison::NotEqual => operation::NOT_EQUAL,
        Comparison::Less => operation::LESS,
        Comparison::LessOrEqual => operation::LESS_OR_EQUAL,
        Comparison::Greater => operation::GREATER,
        Comparison::GreaterOrEqual => operation::GREATER_OR_EQUAL,
    }
}
