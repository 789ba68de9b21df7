//! Evaluation of filters and projections on rows: no allocation, no recursion, nothing that fails.

use super::compare::{begins_with, order};
use super::compile::CompiledScan;
use super::filter::Comparison;
use super::slot::{Reader, Slot};
use super::{MAX_DEPTH, truth};
use crate::row::RowView;

/// What a node does.
#[derive(Clone, Debug)]
pub(super) enum Test<'p> {
    Compare { reader: Reader, comparison: Comparison, constant: Slot<'p> },
    Null { reader: Reader, wanted: bool },
    In { reader: Reader, first: usize, end: usize },
    Prefix { reader: Reader, prefix: &'p [u8] },
    Constant(u8),
    And,
    Or,
    Not,
}

/// A node of a filter in postfix order.
#[derive(Clone, Debug)]
pub(super) struct Node<'p> {
    pub(super) test: Test<'p>,
    /// Truth value of this node, the left operand of an `AND` or `OR`, that is also the result of that.
    pub(super) decided_by: u8,
    /// The node of that `AND` or `OR`, which lies behind this one.
    pub(super) decides: u16,
}

/// Work of a row besides its nodes, in units of one node.
const ROW_COST: usize = 8;

impl CompiledScan<'_, '_> {
    /// How much work a row is at most, in steps of equal size: for the bound of a slice of a scan.
    #[must_use]
    pub fn row_cost(&self) -> usize {
        let columns = self.columns.as_ref().map_or(0, super::image::ImageWriter::len);
        ROW_COST + self.nodes.len() + columns + self.aggregates.as_ref().map_or(0, Vec::len)
    }

    /// Whether aggregates are wanted instead of rows.
    #[must_use]
    pub fn is_aggregation(&self) -> bool {
        self.aggregates.is_some()
    }

    /// Whether a row passes the filter.
    #[inline]
    #[must_use]
    pub fn matches(&self, row: RowView<'_>) -> bool {
        if self.nodes.is_empty() {
            return true;
        }
        if let [node] = self.nodes.as_slice() {
            return self.test(&node.test, &row) == truth::TRUE;
        }
        let mut held = [truth::FALSE; MAX_DEPTH];
        // Number of truth values held; the checks of the program keep it within bounds.
        let mut count = 0_usize;
        let mut index = 0;
        while let Some(node) = self.nodes.get(index) {
            let result = match node.test {
                Test::And | Test::Or => {
                    count -= 2;
                    let (left, right) = (held[count], held[count + 1]);
                    if matches!(node.test, Test::And) { left.min(right) } else { left.max(right) }
                }
                Test::Not => {
                    count -= 1;
                    truth::TRUE - held[count]
                }
                ref test => self.test(test, &row),
            };
            held[count] = result;
            count += 1;
            // Skips what cannot change the result.
            let mut node = node;
            while node.decided_by == result {
                index = usize::from(node.decides);
                node = &self.nodes[index];
            }
            index += 1;
        }
        held[0] == truth::TRUE
    }

    #[inline(always)]
    fn test(&self, test: &Test<'_>, row: &RowView<'_>) -> u8 {
        let truth = match test {
            Test::Compare { reader, comparison, constant } => {
                let slot = reader.read(row);
                if slot.is_null() {
                    return truth::UNKNOWN;
                }
                let order = order(slot, *constant);
                match comparison {
                    Comparison::Equal => order.is_eq(),
                    Comparison::NotEqual => order.is_ne(),
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                }
            }
            Test::Null { reader, wanted } => reader.read(row).is_null() == *wanted,
            Test::In { reader, first, end } => {
                let slot = reader.read(row);
                if slot.is_null() {
                    return truth::UNKNOWN;
                }
                let members = self.members.get(*first..*end).unwrap_or_default();
                members.binary_search_by(|member| order(*member, slot)).is_ok()
            }
            Test::Prefix { reader, prefix } => {
                let slot = reader.read(row);
                if slot.is_null() {
                    return truth::UNKNOWN;
                }
                begins_with(slot, prefix)
            }
            Test::Constant(truth) => return *truth,
            Test::And | Test::Or | Test::Not => false,
        };
        if truth { truth::TRUE } else { truth::FALSE }
    }

    /// Appends the image of the result columns of a row; false, and nothing, when whole rows are wanted.
    #[inline]
    pub fn project(&self, row: RowView<'_>, out: &mut Vec<u8>) -> bool {
        match &self.columns {
            Some(columns) => {
                columns.append(&row, out);
                true
            }
            None => false,
        }
    }
}
