//! The encoding of columns. It is the one that columns had before any of them took the current time: the rule for that lies in further
//! variants of what was an `Option`, so that dictionaries, logs and snapshots of then are read as ever. Readers of then refuse the
//! records of tables with such a column as damaged.
#![allow(missing_docs, reason = "the derive of rkyv generates fields without documentation")]

use super::{Column, ColumnType, CurrentTime};
use crate::value::Value;
use rkyv::{Archive, Archived, Deserialize, Serialize};

/// A column as it is encoded.
#[derive(Archive, Serialize, Deserialize)]
pub struct StoredColumn {
    name: String,
    column_type: ColumnType,
    nullable: bool,
    default: StoredDefault,
}

/// The default of a column and its rule for the current time.
#[derive(Archive, Serialize, Deserialize)]
pub enum StoredDefault {
    None,
    Some(Value),
    Time(CurrentTime),
    TimeAndSome(CurrentTime, Value),
}

// The variants are no larger than the `Option` that they extend.
const _: () = assert!(size_of::<Archived<StoredDefault>>() == size_of::<Archived<Option<Value>>>());
const _: () = assert!(align_of::<Archived<StoredDefault>>() == align_of::<Archived<Option<Value>>>());

impl From<&Column> for StoredColumn {
    fn from(column: &Column) -> StoredColumn {
        let default = match (column.current_time, &column.default) {
            (None, None) => StoredDefault::None,
            (None, Some(value)) => StoredDefault::Some(value.clone()),
            (Some(rule), None) => StoredDefault::Time(rule),
            (Some(rule), Some(value)) => StoredDefault::TimeAndSome(rule, value.clone()),
        };
        let Column { name, column_type, nullable, .. } = column;
        StoredColumn { name: name.clone(), column_type: *column_type, nullable: *nullable, default }
    }
}

impl From<StoredColumn> for Column {
    fn from(stored: StoredColumn) -> Column {
        let (current_time, default) = match stored.default {
            StoredDefault::None => (None, None),
            StoredDefault::Some(value) => (None, Some(value)),
            StoredDefault::Time(rule) => (Some(rule), None),
            StoredDefault::TimeAndSome(rule, value) => (Some(rule), Some(value)),
        };
        let StoredColumn { name, column_type, nullable, .. } = stored;
        Column { name, column_type, nullable, default, current_time }
    }
}
