//! The time of day, for columns that take it.

use crate::{Column, Value, ValueRef};
use std::cell::OnceCell;
use std::time::{SystemTime, UNIX_EPOCH};

/// The time at which it was first asked for: one for all columns of a row.
#[derive(Default)]
pub(crate) struct Clock {
    now: OnceCell<i64>,
}

impl Clock {
    /// Microseconds since 1970, UTC.
    pub(crate) fn now(&self) -> i64 {
        *self.now.get_or_init(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        })
    }

    /// What a new row has in a column that it does not give; NULL where there is nothing.
    pub(crate) fn default_of<'c>(&self, column: &'c Column) -> ValueRef<'c> {
        let time = || column.time_of(|| self.now());
        match if column.takes_time_on_insert() { time() } else { None } {
            Some(Value::DateTime(time)) => ValueRef::DateTime(time),
            Some(Value::Timestamp(time)) => ValueRef::Timestamp(time),
            _ => column.default.as_ref().map_or(ValueRef::Null, ValueRef::from),
        }
    }

    /// As [`Clock::default_of`], for keeps.
    pub(crate) fn owned_default_of(&self, column: &Column) -> Value {
        column.default_at(|| self.now()).unwrap_or_default()
    }
}
