//! The encoding of columns. It is the one that columns had before any of them took the current time or had a comment: these lie in further
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

/// The default of a column, its rule for the current time and its comment.
#[derive(Archive, Serialize, Deserialize)]
pub enum StoredDefault {
    None,
    Some(Value),
    Time(CurrentTime),
    TimeAndSome(CurrentTime, Value),
    Commented(Box<Commented>),
}

/// All that a column with a comment says beside name and type.
#[derive(Archive, Serialize, Deserialize)]
pub struct Commented {
    comment: String,
    default: Option<Value>,
    current_time: Option<CurrentTime>,
}

// The variants are no larger than the `Option` that they extend.
const _: () = assert!(size_of::<Archived<StoredDefault>>() == size_of::<Archived<Option<Value>>>());
const _: () = assert!(align_of::<Archived<StoredDefault>>() == align_of::<Archived<Option<Value>>>());

impl From<&Column> for StoredColumn {
    fn from(column: &Column) -> StoredColumn {
        let Column { name, column_type, nullable, default, current_time, comment } = column.clone();
        let default = match (comment.is_empty(), current_time, default) {
            (true, None, None) => StoredDefault::None,
            (true, None, Some(value)) => StoredDefault::Some(value),
            (true, Some(rule), None) => StoredDefault::Time(rule),
            (true, Some(rule), Some(value)) => StoredDefault::TimeAndSome(rule, value),
            (false, current_time, default) => {
                StoredDefault::Commented(Box::new(Commented { comment, default, current_time }))
            }
        };
        StoredColumn { name, column_type, nullable, default }
    }
}

impl From<StoredColumn> for Column {
    fn from(stored: StoredColumn) -> Column {
        let StoredColumn { name, column_type, nullable, default } = stored;
        let column = Column { nullable, ..Column::new(name, column_type) };
        match default {
            StoredDefault::None => column,
            StoredDefault::Some(value) => Column { default: Some(value), ..column },
            StoredDefault::Time(rule) => Column { current_time: Some(rule), ..column },
            StoredDefault::TimeAndSome(rule, value) => {
                Column { current_time: Some(rule), default: Some(value), ..column }
            }
            StoredDefault::Commented(commented) => {
                let Commented { comment, default, current_time } = *commented;
                Column { default, current_time, comment, ..column }
            }
        }
    }
}
