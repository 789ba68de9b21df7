//! What a whole pass over a column says about it, and the column type that follows.

use super::cell::{Cell, EXACT_DOUBLE, whole};
use super::text::{Shape, shape};
use duet_protocol::schema::ColumnType;
use duet_protocol::value::ValueRef;

/// Type of a column as the file declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// The file decides, and this is the column type.
    Exactly(ColumnType),
    /// 64-bit integers, often only because the writer knows nothing smaller.
    BigInt,
    /// 32- or 64-bit floats, often because the writer has no nullable integers.
    Floating(ColumnType),
    /// Text without a limit.
    Text,
    /// Bytes without a limit.
    Bytes,
    /// CSV: nothing is declared.
    Nothing,
}

/// Integers up to this one are exact as doubles.
const EXACT: i128 = EXACT_DOUBLE as i128;
/// Shortest limit given to a text column, in characters.
const SHORTEST_TEXT: u32 = 16;
/// Longest limit given to a text column, in characters; longer text gets `TEXT`.
const LONGEST_TEXT: u32 = 1024;

/// Statistics of one column.
#[derive(Clone, Debug)]
pub struct ColumnProfile {
    declared: Declared,
    nulls: u64,
    values: u64,
    all_whole: bool,
    smallest: i128,
    largest: i128,
    longest: usize,
    integers: u64,
    doubles: u64,
    booleans: u64,
    dates: u64,
    date_times: u64,
    timestamps: u64,
}

impl ColumnProfile {
    /// Nothing seen yet.
    pub fn new(declared: Declared) -> ColumnProfile {
        ColumnProfile {
            declared,
            nulls: 0,
            values: 0,
            all_whole: true,
            smallest: i128::MAX,
            largest: i128::MIN,
            longest: 0,
            integers: 0,
            doubles: 0,
            booleans: 0,
            dates: 0,
            date_times: 0,
            timestamps: 0,
        }
    }

    /// Takes one value into account. Invalid ones count as nothing: their rows are reported later.
    pub fn add(&mut self, cell: &Cell<'_>) {
        match cell {
            Cell::Invalid(_) => {}
            Cell::Typed(ValueRef::Null) => self.nulls += 1,
            Cell::Typed(value) => {
                self.values += 1;
                match value {
                    ValueRef::Int(number) => self.add_whole((*number).into()),
                    ValueRef::UInt(number) => self.add_whole((*number).into()),
                    ValueRef::Float(number) => self.add_double((*number).into()),
                    ValueRef::Double(number) => self.add_double(*number),
                    ValueRef::Text(text) => self.longest = self.longest.max(text.chars().count()),
                    ValueRef::Bytes(bytes) => self.longest = self.longest.max(bytes.len()),
                    _ => {}
                }
            }
            Cell::Untyped(text) => {
                self.values += 1;
                self.longest = self.longest.max(text.chars().count());
                match shape(text) {
                    Shape::Integer(number) => {
                        self.integers += 1;
                        self.add_whole(number);
                    }
                    Shape::Double(number) => {
                        self.doubles += 1;
                        self.add_double(number);
                    }
                    Shape::Boolean => self.booleans += 1,
                    Shape::Date => self.dates += 1,
                    Shape::DateTime => self.date_times += 1,
                    Shape::Timestamp => self.timestamps += 1,
                    Shape::Text => {}
                }
            }
        }
    }

    fn add_whole(&mut self, number: i128) {
        self.smallest = self.smallest.min(number);
        self.largest = self.largest.max(number);
    }

    fn add_double(&mut self, number: f64) {
        match whole(number) {
            Some(number) => self.add_whole(number.into()),
            None => self.all_whole = false,
        }
    }

    fn fits(&self, lowest: i128, highest: i128) -> bool {
        self.smallest >= lowest && self.largest <= highest
    }

    /// The column type that holds every value seen, with head-room for text.
    pub fn column_type(&self) -> ColumnType {
        match self.declared {
            Declared::Exactly(column_type) => column_type,
            Declared::BigInt => self.integer_type(),
            Declared::Floating(column_type) => self.floating_type(column_type),
            Declared::Text => self.text_type(),
            Declared::Bytes => match self.limit() {
                Some(bytes) => ColumnType::Varbinary { bytes },
                None => ColumnType::Blob,
            },
            Declared::Nothing => self.untyped(),
        }
    }

    /// At least INT, because other files of the same kind may hold larger numbers.
    fn integer_type(&self) -> ColumnType {
        if self.values == 0 || self.fits(i32::MIN.into(), i32::MAX.into()) {
            ColumnType::Int
        } else {
            ColumnType::BigInt
        }
    }

    /// A float column of whole numbers is a nullable integer column in truth: the smallest type that fits.
    fn floating_type(&self, column_type: ColumnType) -> ColumnType {
        if self.values == 0 || !self.all_whole {
            column_type
        } else if self.fits(i8::MIN.into(), i8::MAX.into()) {
            ColumnType::TinyInt
        } else if self.fits(i16::MIN.into(), i16::MAX.into()) {
            ColumnType::SmallInt
        } else if self.fits(i32::MIN.into(), i32::MAX.into()) {
            ColumnType::Int
        } else {
            ColumnType::BigInt
        }
    }

    /// The next power of two above the longest value; `None` when that is too long for a limit.
    fn limit(&self) -> Option<u32> {
        let limit = u32::try_from(self.longest + 1).ok()?.checked_next_power_of_two()?.max(SHORTEST_TEXT);
        (limit <= LONGEST_TEXT).then_some(limit)
    }

    fn text_type(&self) -> ColumnType {
        match self.limit() {
            Some(characters) => ColumnType::Varchar { characters },
            None => ColumnType::Text,
        }
    }

    fn untyped(&self) -> ColumnType {
        let all = |count: u64| count == self.values && count > 0;
        if all(self.integers) && self.fits(i64::MIN.into(), i64::MAX.into()) {
            self.integer_type()
        } else if all(self.integers) && self.fits(0, u64::MAX.into()) {
            ColumnType::BigIntUnsigned
        } else if all(self.integers + self.doubles) && self.doubles > 0 && self.fits(-EXACT, EXACT) {
            self.floating_type(ColumnType::Double)
        } else if all(self.booleans) {
            ColumnType::Boolean
        } else if all(self.dates) {
            ColumnType::Date
        } else if all(self.date_times) {
            ColumnType::DateTime
        } else if all(self.timestamps) {
            ColumnType::Timestamp
        } else {
            self.text_type()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn typed(declared: Declared, values: &[ValueRef<'static>]) -> ColumnType {
        let mut profile = ColumnProfile::new(declared);
        for value in values {
            profile.add(&Cell::Typed(value.clone()));
        }
        profile.column_type()
    }

    fn untyped(texts: &[&str]) -> ColumnType {
        let mut profile = ColumnProfile::new(Declared::Nothing);
        for text in texts {
            profile.add(&if text.is_empty() { Cell::Typed(ValueRef::Null) } else { Cell::Untyped(text) });
        }
        profile.column_type()
    }

    #[test]
    fn whole_floats_are_integers_of_the_smallest_type() {
        let double = Declared::Floating(ColumnType::Double);
        let of = |numbers: &[f64]| {
            let mut values: Vec<_> = numbers.iter().map(|number| ValueRef::Double(*number)).collect();
            values.push(ValueRef::Null);
            typed(double, &values)
        };
        assert_eq!(of(&[1.0, -128.0, 127.0]), ColumnType::TinyInt);
        assert_eq!(of(&[2400.0]), ColumnType::SmallInt);
        assert_eq!(of(&[1e9]), ColumnType::Int);
        assert_eq!(of(&[1e12]), ColumnType::BigInt);
        assert_eq!(of(&[1.0, 1.5]), ColumnType::Double);
        assert_eq!(of(&[1.0, f64::NAN]), ColumnType::Double);
        assert_eq!(of(&[1e300]), ColumnType::Double);
        assert_eq!(of(&[]), ColumnType::Double);
    }

    #[test]
    fn declared_integers_keep_room() {
        assert_eq!(typed(Declared::BigInt, &[ValueRef::Int(3)]), ColumnType::Int);
        assert_eq!(typed(Declared::BigInt, &[ValueRef::Int(1 << 40)]), ColumnType::BigInt);
        let exact = Declared::Exactly(ColumnType::SmallInt);
        assert_eq!(typed(exact, &[ValueRef::Int(3)]), ColumnType::SmallInt);
    }

    #[test]
    fn text_has_head_room() {
        let of = |length: usize| typed(Declared::Text, &[ValueRef::Text(Cow::Owned("é".repeat(length)))]);
        assert_eq!(of(2), ColumnType::Varchar { characters: 16 });
        assert_eq!(of(16), ColumnType::Varchar { characters: 32 });
        assert_eq!(of(1023), ColumnType::Varchar { characters: 1024 });
        assert_eq!(of(1024), ColumnType::Text);
    }

    #[test]
    fn csv_columns() {
        assert_eq!(untyped(&["1", "", "-5"]), ColumnType::Int);
        assert_eq!(untyped(&["1", "9999999999"]), ColumnType::BigInt);
        assert_eq!(untyped(&["18446744073709551615"]), ColumnType::BigIntUnsigned);
        assert_eq!(untyped(&["-1", "18446744073709551615"]), ColumnType::Varchar { characters: 32 });
        assert_eq!(untyped(&["1", "2.5"]), ColumnType::Double);
        assert_eq!(untyped(&["9007199254740993", "2.5"]), ColumnType::Varchar { characters: 32 });
        assert_eq!(untyped(&["517.0", "", "533.0"]), ColumnType::SmallInt);
        assert_eq!(untyped(&["true", "FALSE"]), ColumnType::Boolean);
        assert_eq!(untyped(&["2013-01-01"]), ColumnType::Date);
        assert_eq!(untyped(&["2013-01-01 10:00"]), ColumnType::DateTime);
        assert_eq!(untyped(&["2013-01-01T10:00:00Z"]), ColumnType::Timestamp);
        assert_eq!(untyped(&["007", "1"]), ColumnType::Varchar { characters: 16 });
        assert_eq!(untyped(&["2013-01-01", "2013-01-01 10:00"]), ColumnType::Varchar { characters: 32 });
        assert_eq!(untyped(&["", ""]), ColumnType::Varchar { characters: 16 });
    }
}
