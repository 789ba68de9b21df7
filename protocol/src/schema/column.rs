//! Columns, and how they are encoded.

use super::ColumnType;
use super::stored::StoredColumn;
use crate::value::Value;
use rkyv::rancor::Fallible;
use rkyv::{Archive, Deserialize, Place, Serialize};
use std::fmt::{Display, Formatter};

/// Most digits of the fraction of a second.
pub const MAX_FRACTION_DIGITS: u8 = 6;

/// When a DATETIME or TIMESTAMP column takes the current time (UTC) by itself.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentTime {
    /// Digits of the fraction of a second that are kept, 0 to 6; what follows them is cut off.
    pub digits: u8,
    /// New rows that do not give the column take it. Every writer does so itself: no node reads a clock for it.
    pub on_insert: bool,
    /// Rows that an UPDATE of SQL changes take it, unless it gives the column. Native clients change what they say and nothing else.
    pub on_update: bool,
}

impl CurrentTime {
    /// The time that is kept of `now`, both in microseconds since 1970.
    #[must_use]
    pub fn of(self, now: i64) -> i64 {
        let unit = 10_i64.pow(u32::from(MAX_FRACTION_DIGITS.saturating_sub(self.digits)));
        now.saturating_sub(now.rem_euclid(unit))
    }
}

/// As SQL writes it: `CURRENT_TIMESTAMP(3)`, without digits where there are none.
impl Display for CurrentTime {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        match self.digits {
            0 => out.write_str("CURRENT_TIMESTAMP"),
            digits => write!(out, "CURRENT_TIMESTAMP({digits})"),
        }
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name, unique in its table without regard to ASCII case.
    pub name: String,
    /// Type.
    pub column_type: ColumnType,
    /// May it be NULL?
    pub nullable: bool,
    /// The value of rows that do not give one. Of a column that takes the current time on insert it is the value of rows that are older
    /// than the column, if it was added to its table.
    pub default: Option<Value>,
    /// When it takes the current time by itself, if it does.
    pub current_time: Option<CurrentTime>,
    /// What the column is for.
    pub comment: String,
}

impl Column {
    /// A column that is NOT NULL and has no default.
    #[must_use]
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> Self {
        Self {
            name: name.into(),
            column_type,
            nullable: false,
            default: None,
            current_time: None,
            comment: String::new(),
        }
    }

    /// Lets the column be NULL.
    #[must_use]
    pub fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Sets the default.
    #[must_use]
    pub fn default_value(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Says what the column is for.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = comment.into();
        self
    }

    /// Lets new rows that do not give the column take the current time with so many digits of a second's fraction.
    #[must_use]
    pub fn current_time_on_insert(mut self, digits: u8) -> Self {
        let on_update = self.takes_time_on_update();
        self.current_time = Some(CurrentTime { digits, on_insert: true, on_update });
        self
    }

    /// Lets rows that SQL changes take the current time with so many digits of a second's fraction.
    #[must_use]
    pub fn current_time_on_update(mut self, digits: u8) -> Self {
        let on_insert = self.takes_time_on_insert();
        self.current_time = Some(CurrentTime { digits, on_insert, on_update: true });
        self
    }

    /// Whether new rows that do not give the column take the current time.
    #[must_use]
    pub fn takes_time_on_insert(&self) -> bool {
        self.current_time.is_some_and(|rule| rule.on_insert)
    }

    /// Whether rows that SQL changes take the current time.
    #[must_use]
    pub fn takes_time_on_update(&self) -> bool {
        self.current_time.is_some_and(|rule| rule.on_update)
    }

    /// Whether rows need not give the column: it has a default, takes the current time, or may be NULL.
    #[must_use]
    pub fn may_be_left_out(&self) -> bool {
        self.nullable || self.default.is_some() || self.takes_time_on_insert()
    }

    /// The current time as this column keeps it; `None` where it has no rule for it. `now` gives the microseconds since 1970.
    pub fn time_of(&self, now: impl FnOnce() -> i64) -> Option<Value> {
        let rule = self.current_time?;
        match self.column_type {
            ColumnType::DateTime => Some(Value::DateTime(rule.of(now()))),
            ColumnType::Timestamp => Some(Value::Timestamp(rule.of(now()))),
            _ => None,
        }
    }

    /// The value of a new row that does not give one, if there is one. `now` gives the microseconds since 1970 and is asked only for columns
    /// that take the current time.
    pub fn default_at(&self, now: impl FnOnce() -> i64) -> Option<Value> {
        match self.takes_time_on_insert() {
            true => self.time_of(now),
            false => self.default.clone(),
        }
    }

    /// The column as it is added to a table with rows: where it takes the current time on insert they have that of the change, which is
    /// fixed here, because every node must read the same from them.
    #[must_use]
    pub fn added_at(mut self, now: impl FnOnce() -> i64) -> Column {
        if self.takes_time_on_insert() && self.default.is_none() {
            self.default = self.time_of(now);
        }
        self
    }
}

impl Archive for Column {
    type Archived = <StoredColumn as Archive>::Archived;
    type Resolver = <StoredColumn as Archive>::Resolver;

    fn resolve(&self, resolver: Self::Resolver, out: Place<Self::Archived>) {
        StoredColumn::from(self).resolve(resolver, out);
    }
}

impl<S: Fallible + ?Sized> Serialize<S> for Column
where
    StoredColumn: Serialize<S>,
{
    fn serialize(&self, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        StoredColumn::from(self).serialize(serializer)
    }
}

impl<D: Fallible + ?Sized> Deserialize<Column, D> for <StoredColumn as Archive>::Archived
where
    <StoredColumn as Archive>::Archived: Deserialize<StoredColumn, D>,
{
    fn deserialize(&self, deserializer: &mut D) -> Result<Column, D::Error> {
        let stored: StoredColumn = self.deserialize(deserializer)?;
        Ok(stored.into())
    }
}
