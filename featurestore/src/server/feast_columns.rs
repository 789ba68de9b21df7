//! The columns of an answer in Feast's form: values, statuses and event times, each a list with an element per row.
//!
//! Statuses and times belong to the rows of a group, and most features of it share them: they are written once for each group and
//! copied. An answer of 100 rows and 250 features has 75,000 elements, of which only the values are written one by one.

use super::hopsworks::Tally;
use crate::json::write_value;
use crate::vectors::Vector;
use crate::{FeatureValue, GroupStatus, Result, time};

/// The event time of what has none.
pub(super) const NO_TIME: &[u8] = b"\"1970-01-01T00:00:00Z\"";
/// The status of a value that is there.
pub(super) const PRESENT: &[u8] = b"\"PRESENT\"";
const NULL: &[u8] = b"\"NULL_VALUE\"";
const NOT_FOUND: &[u8] = b"\"NOT_FOUND\"";
const OUTSIDE_MAX_AGE: &[u8] = b"\"OUTSIDE_MAX_AGE\"";
const INVALID: &[u8] = b"\"INVALID\"";

/// What the features of one group have in common.
pub(super) struct GroupColumns {
    /// Status of a value of each row that is not null.
    usual: Vec<&'static [u8]>,
    /// The list of them.
    statuses: Vec<u8>,
    /// The list of the rows' event times.
    times: Vec<u8>,
}

impl GroupColumns {
    /// Those of the group at this position of the view.
    pub(super) fn of(group: usize, rows: &[Result<Vector<'_>>]) -> GroupColumns {
        let usual: Vec<_> = rows
            .iter()
            .map(|row| match row.as_ref().map(|vector| vector.status(group)) {
                Ok(GroupStatus::Present) => PRESENT,
                Ok(GroupStatus::NotFound) => NOT_FOUND,
                Ok(GroupStatus::OutsideMaxAge) => OUTSIDE_MAX_AGE,
                Ok(GroupStatus::Failed(_)) | Err(_) => INVALID,
            })
            .collect();
        let (mut statuses, mut times) = (Vec::new(), Vec::new());
        write_list(&mut statuses, usual.iter().copied());
        for (row, vector) in rows.iter().enumerate() {
            if row > 0 {
                times.push(b',');
            }
            match vector.as_ref().ok().and_then(|vector| vector.event_time(group)) {
                Some(time) => {
                    times.push(b'"');
                    time::write_timestamp(&mut times, time, 'T');
                    times.extend_from_slice(b"Z\"");
                }
                None => times.extend_from_slice(NO_TIME),
            }
        }
        GroupColumns { usual, statuses, times }
    }

    /// Appends a feature of the group, by its position in the view, behind another column.
    pub(super) fn write_feature<'v>(
        &self,
        out: &mut Vec<u8>,
        position: usize,
        rows: &'v [Result<Vector<'v>>],
        compatible: bool,
        tally: &mut Tally,
    ) {
        let value_of = |row: &'v Result<Vector<'v>>| {
            row.as_ref().map_or(FeatureValue::Failed, |vector| vector.value(position))
        };
        let mut is_usual = true;
        out.extend_from_slice(b",{\"values\":[");
        for (number, (row, usual)) in rows.iter().zip(&self.usual).enumerate() {
            if number > 0 {
                out.push(b',');
            }
            let value = value_of(row);
            tally.see(&value);
            is_usual &= status(&value, compatible) == *usual;
            match &value {
                FeatureValue::Present(value) => write_value(out, value),
                FeatureValue::Null
                | FeatureValue::NotFound
                | FeatureValue::OutsideMaxAge
                | FeatureValue::Failed => out.extend_from_slice(b"null"),
            }
        }
        out.extend_from_slice(b"],\"statuses\":[");
        match is_usual {
            true => out.extend_from_slice(&self.statuses),
            false => write_list(out, rows.iter().map(|row| status(&value_of(row), compatible))),
        }
        out.extend_from_slice(b"],\"event_timestamps\":[");
        out.extend_from_slice(&self.times);
        out.extend_from_slice(b"]}");
    }
}

/// How the status of a value is told; Feast's own server says of a null that it is there.
fn status(value: &FeatureValue<'_>, compatible: bool) -> &'static [u8] {
    match value {
        FeatureValue::Present(_) => PRESENT,
        FeatureValue::Null if compatible => PRESENT,
        FeatureValue::Null => NULL,
        FeatureValue::NotFound => NOT_FOUND,
        FeatureValue::OutsideMaxAge => OUTSIDE_MAX_AGE,
        FeatureValue::Failed => INVALID,
    }
}

/// Appends elements with commas between them.
pub(super) fn write_list<'t>(out: &mut Vec<u8>, elements: impl Iterator<Item = &'t [u8]>) {
    for (position, element) in elements.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(element);
    }
}
