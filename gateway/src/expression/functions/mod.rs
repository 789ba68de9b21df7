//! Functions of one row.

pub(super) mod calendar;
mod held;
mod interval;
mod json;
mod number;
mod string;

pub use interval::Unit;

use self::held::Held;
use super::{Environment, Expression, Facts};
use crate::error::{Result, SqlError};
use crate::memory::content_bytes;
use crate::value::arithmetic::{Operator, calculate, negate};
use crate::value::calendar::parse_moment;
use crate::value::compare::{compare, moment_of, order};
use crate::value::format::{text, write};
use crate::value::number::{power_of_ten, to_double};
use crate::wire::handshake::SERVER_VERSION;
use duet_client::{ColumnType, Value};
use duet_protocol::value::{MICROSECONDS_PER_DAY, civil_from_days};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Longest text that a function makes.
pub(super) const MAX_TEXT_BYTES: usize = 16 << 20;

macro_rules! functions {
    ($($(#[doc = $doc:literal])+ $name:ident: $($sql:literal)|+, $least:literal..=$most:literal, $result:expr;)+) => {
        /// A function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Function { $($(#[doc = $doc])+ $name,)+ }

        impl Function {
            /// The function of this name in upper case, with how many arguments it takes. Those without a name of their own begin with NUL.
            pub fn named(name: &str) -> Option<(Function, std::ops::RangeInclusive<usize>)> {
                match name { _ if name.contains(char::is_control) => None, $($($sql)|+ => Some((Function::$name, $least..=$most)),)+ _ => None }
            }

            /// The type of its result, where that does not depend on its arguments.
            pub fn result_type(self) -> ColumnType {
                match self { $(Function::$name => $result,)+ }
            }
        }
    };
}

const TEXT: ColumnType = ColumnType::Varchar { characters: 1_024 };
impl Function {
    /// The type of text that functions make.
    pub fn text_type(self) -> ColumnType {
        TEXT
    }

    /// Whether it takes numbers with all their digits, not with those that are shown.
    fn takes_all_digits(self) -> bool {
        use Function::*;
        matches!(
            self,
            Round
                | Truncate
                | Floor
                | Ceiling
                | Format
                | Power
                | SquareRoot
                | Exponential
                | NaturalLogarithm
                | Logarithm
                | Logarithm2
                | Logarithm10
                | Sine
                | Cosine
                | Tangent
                | Cotangent
                | Degrees
                | Radians
        )
    }

    /// Whether its result is made of the content of the argument of this index: it is of bytes where one of these is.
    pub fn is_made_of(self, index: usize) -> bool {
        use Function::*;
        match self {
            Concat | ConcatWith | Replace => true,
            Left | Right | Substring | Repeat | Reverse | Upper | Lower | Trim | TrimLeft | TrimRight
            | Quote => index == 0,
            TrimBoth | TrimStart | TrimEnd | SubstringIndex => index < 2,
            PadLeft | PadRight => index != 1,
            Insert => index == 0 || index == 3,
            Element => index > 0,
            _ => false,
        }
    }

    /// Whether its result is made of the content of any argument.
    pub fn is_made_of_content(self) -> bool {
        (0..4).any(|index| self.is_made_of(index))
    }

    /// Whether it takes a moment, or several.
    pub fn is_of_time(self) -> bool {
        use Function::*;
        matches!(
            self,
            Date | Year
                | Month
                | Day
                | Hour
                | Minute
                | Second
                | DateDifference
                | AddInterval
                | SubtractInterval
                | DifferenceInUnits
                | Extract
                | LastDay
                | DayOfWeek
                | WeekDay
                | DayOfYear
                | Week
                | WeekOfYear
                | YearWeek
                | Quarter
                | DayName
                | MonthName
                | Microsecond
                | DateFormat
                | TimeFormat
                | Time
                | Moment
                | TimeToSeconds
                | TimeDifference
                | AddTime
                | SubtractTime
                | ToDays
                | ToSeconds
                | ConvertZone
        )
    }

    /// Whether truths are something else to it than 0 and 1: documents have them.
    pub fn takes_truths(self) -> bool {
        use Function::*;
        matches!(self, JsonArray | JsonObject | JsonSet | JsonInsert | JsonReplace)
    }

    /// Whether it is a logarithm.
    pub fn is_logarithm(self) -> bool {
        use Function::*;
        matches!(self, NaturalLogarithm | Logarithm | Logarithm2 | Logarithm10)
    }

    /// What kind of number the argument of this index is, as errors name it; `None` where it is something else. That of an interval
    /// depends on its unit.
    pub fn number_kind(self, index: usize) -> Option<&'static str> {
        use Function::*;
        match (self, index) {
            (Round | Truncate | Format, 1) => Some("INTEGER"),
            (
                Absolute | Modulo | Floor | Ceiling | Round | Sign | Power | Exponential | SquareRoot
                | NaturalLogarithm | Logarithm | Logarithm2 | Logarithm10 | Sine | Cosine | Tangent
                | Cotangent | ArcSine | ArcCosine | ArcTangent | Degrees | Radians | Truncate | Format,
                _,
            ) => Some("DOUBLE"),
            (FromUnixTime | SecondsToTime, 0) | (MakeTime, 2) => Some("DECIMAL"),
            (
                BitCount | BitNot | MakeDate | MakeTime | FromDays | PeriodAdd | PeriodDifference
                | NumberToAddress | SpaceText | Characters,
                _,
            )
            | (
                Left | Right | Repeat | PadLeft | PadRight | Substring | Insert | Convert | Week | YearWeek
                | Sha2,
                1,
            )
            | (Substring | Insert | Convert | Locate | SubstringIndex, 2)
            | (Element, 0) => Some("INTEGER"),
            _ => None,
        }
    }
}

const LONG_TEXT: ColumnType = ColumnType::Text;

functions! {
    #[doc = "The statement's beginning, UTC."] Now: "NOW" | "CURRENT_TIMESTAMP" | "LOCALTIME" | "LOCALTIMESTAMP" | "UTC_TIMESTAMP" | "SYSDATE", 0..=1, ColumnType::DateTime;
    #[doc = "Its date."] CurrentDate: "CURDATE" | "CURRENT_DATE" | "UTC_DATE", 0..=0, ColumnType::Date;
    #[doc = "Its time of day."] CurrentTime: "CURTIME" | "CURRENT_TIME" | "UTC_TIME", 0..=1, ColumnType::Time;
    #[doc = "Seconds since 1970."] UnixTimestamp: "UNIX_TIMESTAMP", 0..=1, ColumnType::BigInt;
    #[doc = "The database that is chosen."] Database: "DATABASE" | "SCHEMA", 0..=0, TEXT;
    #[doc = "The user."] User: "USER" | "CURRENT_USER" | "SESSION_USER" | "SYSTEM_USER", 0..=0, TEXT;
    #[doc = "The server's version."] Version: "VERSION", 0..=0, TEXT;
    #[doc = "Number of the connection."] ConnectionId: "CONNECTION_ID", 0..=0, ColumnType::BigIntUnsigned;
    #[doc = "First number given out by the last INSERT."] LastInsertId: "LAST_INSERT_ID", 0..=0, ColumnType::BigIntUnsigned;
    #[doc = "Rows that the last statement changed."] RowCount: "ROW_COUNT", 0..=0, ColumnType::BigInt;
    #[doc = "Rows that the last SELECT found."] FoundRows: "FOUND_ROWS", 0..=0, ColumnType::BigInt;
    #[doc = "The first argument that is not NULL."] Coalesce: "COALESCE" | "IFNULL" | "NVL", 1..=255, TEXT;
    #[doc = "NULL where both are equal, else the first."] NullIf: "NULLIF", 2..=2, TEXT;
    #[doc = "The second argument where the first is true, else the third."] If: "IF", 3..=3, TEXT;
    #[doc = "Whether it is NULL."] IsNull: "ISNULL", 1..=1, ColumnType::BigInt;
    #[doc = "Without its sign."] Absolute: "ABS", 1..=1, ColumnType::Double;
    #[doc = "Rest of a division."] Modulo: "MOD", 2..=2, ColumnType::Double;
    #[doc = "Rounded down."] Floor: "FLOOR", 1..=1, ColumnType::BigInt;
    #[doc = "Rounded up."] Ceiling: "CEIL" | "CEILING", 1..=1, ColumnType::BigInt;
    #[doc = "Rounded."] Round: "ROUND", 1..=2, ColumnType::Double;
    #[doc = "Minus one, zero or one."] Sign: "SIGN", 1..=1, ColumnType::BigInt;
    #[doc = "The greatest argument."] Greatest: "GREATEST", 2..=255, TEXT;
    #[doc = "The least argument."] Least: "LEAST", 2..=255, TEXT;
    #[doc = "One text behind the other."] Concat: "CONCAT", 1..=255, TEXT;
    #[doc = "The same with something between them."] ConcatWith: "CONCAT_WS", 2..=255, TEXT;
    #[doc = "Bytes of a text."] Length: "LENGTH" | "OCTET_LENGTH", 1..=1, ColumnType::BigInt;
    #[doc = "Characters of a text."] CharLength: "CHAR_LENGTH" | "CHARACTER_LENGTH", 1..=1, ColumnType::BigInt;
    #[doc = "In upper case."] Upper: "UPPER" | "UCASE", 1..=1, TEXT;
    #[doc = "In lower case."] Lower: "LOWER" | "LCASE", 1..=1, TEXT;
    #[doc = "The first characters."] Left: "LEFT", 2..=2, TEXT;
    #[doc = "The last characters."] Right: "RIGHT", 2..=2, TEXT;
    #[doc = "Some characters."] Substring: "SUBSTRING" | "SUBSTR" | "MID", 2..=3, TEXT;
    #[doc = "Without spaces around it."] Trim: "TRIM", 1..=1, TEXT;
    #[doc = "Without spaces before it."] TrimLeft: "LTRIM", 1..=1, TEXT;
    #[doc = "Without spaces behind it."] TrimRight: "RTRIM", 1..=1, TEXT;
    #[doc = "With one text in place of another."] Replace: "REPLACE", 3..=3, TEXT;
    #[doc = "Several times."] Repeat: "REPEAT", 2..=2, TEXT;
    #[doc = "Backwards."] Reverse: "REVERSE", 1..=1, TEXT;
    #[doc = "As hexadecimal digits."] Hex: "HEX", 1..=1, TEXT;
    #[doc = "Place of a text in another."] Locate: "LOCATE", 2..=3, ColumnType::BigInt;
    #[doc = "The same with the arguments exchanged."] InString: "INSTR", 2..=2, ColumnType::BigInt;
    #[doc = "The date of a moment."] Date: "DATE", 1..=1, ColumnType::Date;
    #[doc = "Its year."] Year: "YEAR", 1..=1, ColumnType::BigInt;
    #[doc = "Its month."] Month: "MONTH", 1..=1, ColumnType::BigInt;
    #[doc = "Its day of the month."] Day: "DAY" | "DAYOFMONTH", 1..=1, ColumnType::BigInt;
    #[doc = "Its hour."] Hour: "HOUR", 1..=1, ColumnType::BigInt;
    #[doc = "Its minute."] Minute: "MINUTE", 1..=1, ColumnType::BigInt;
    #[doc = "Its second."] Second: "SECOND", 1..=1, ColumnType::BigInt;
    #[doc = "Where a date lies among all."] DateDifference: "DATEDIFF", 2..=2, ColumnType::BigInt;
    #[doc = "`+ INTERVAL`: a moment, an amount, and the name of its unit."] AddInterval: "\0ADD_INTERVAL", 3..=3, TEXT;
    #[doc = "`- INTERVAL`"] SubtractInterval: "\0SUBTRACT_INTERVAL", 3..=3, TEXT;
    #[doc = "`TIMESTAMPDIFF`: the name of a unit, and two moments."] DifferenceInUnits: "\0TIMESTAMPDIFF", 3..=3, ColumnType::BigInt;
    #[doc = "`EXTRACT`: the name of a unit, and a moment."] Extract: "\0EXTRACT", 2..=2, ColumnType::BigInt;
    #[doc = "The last day of its month."] LastDay: "LAST_DAY", 1..=1, ColumnType::Date;
    #[doc = "Day of the week, 1 for Sunday."] DayOfWeek: "DAYOFWEEK", 1..=1, ColumnType::BigInt;
    #[doc = "Day of the week, 0 for Monday."] WeekDay: "WEEKDAY", 1..=1, ColumnType::BigInt;
    #[doc = "Day of the year."] DayOfYear: "DAYOFYEAR", 1..=1, ColumnType::BigInt;
    #[doc = "Week of the year."] Week: "WEEK", 1..=2, ColumnType::BigInt;
    #[doc = "The same as ISO 8601 counts."] WeekOfYear: "WEEKOFYEAR", 1..=1, ColumnType::BigInt;
    #[doc = "Year and week."] YearWeek: "YEARWEEK", 1..=2, ColumnType::BigInt;
    #[doc = "Quarter of the year."] Quarter: "QUARTER", 1..=1, ColumnType::BigInt;
    #[doc = "Name of the day of the week."] DayName: "DAYNAME", 1..=1, TEXT;
    #[doc = "Name of the month."] MonthName: "MONTHNAME", 1..=1, TEXT;
    #[doc = "Microseconds of a moment."] Microsecond: "MICROSECOND", 1..=1, ColumnType::BigInt;
    #[doc = "A moment by a format."] DateFormat: "DATE_FORMAT", 2..=2, TEXT;
    #[doc = "A time by a format."] TimeFormat: "TIME_FORMAT", 2..=2, TEXT;
    #[doc = "What a text says by a format."] TextToDate: "STR_TO_DATE", 2..=2, ColumnType::DateTime;
    #[doc = "The time of day."] Time: "TIME", 1..=1, ColumnType::Time;
    #[doc = "A moment, some time later."] Moment: "TIMESTAMP", 1..=2, ColumnType::DateTime;
    #[doc = "A day of a year."] MakeDate: "MAKEDATE", 2..=2, ColumnType::Date;
    #[doc = "A time of its parts."] MakeTime: "MAKETIME", 3..=3, ColumnType::Time;
    #[doc = "Seconds as a time."] SecondsToTime: "SEC_TO_TIME", 1..=1, ColumnType::Time;
    #[doc = "A time as seconds."] TimeToSeconds: "TIME_TO_SEC", 1..=1, ColumnType::BigInt;
    #[doc = "The time between two."] TimeDifference: "TIMEDIFF", 2..=2, ColumnType::Time;
    #[doc = "Later by a time."] AddTime: "ADDTIME", 2..=2, TEXT;
    #[doc = "Earlier by a time."] SubtractTime: "SUBTIME", 2..=2, TEXT;
    #[doc = "Seconds since 1970 as a moment, or by a format."] FromUnixTime: "FROM_UNIXTIME", 1..=2, ColumnType::DateTime;
    #[doc = "A day by its number since the year 0."] FromDays: "FROM_DAYS", 1..=1, ColumnType::Date;
    #[doc = "That number."] ToDays: "TO_DAYS", 1..=1, ColumnType::BigInt;
    #[doc = "Seconds since the year 0."] ToSeconds: "TO_SECONDS", 1..=1, ColumnType::BigInt;
    #[doc = "Months added to a year with a month."] PeriodAdd: "PERIOD_ADD", 2..=2, ColumnType::BigInt;
    #[doc = "Months between two of these."] PeriodDifference: "PERIOD_DIFF", 2..=2, ColumnType::BigInt;
    #[doc = "A moment in another zone."] ConvertZone: "CONVERT_TZ", 3..=3, ColumnType::DateTime;
    #[doc = "A power."] Power: "POW" | "POWER", 2..=2, ColumnType::Double;
    #[doc = "A power of e."] Exponential: "EXP", 1..=1, ColumnType::Double;
    #[doc = "The square root."] SquareRoot: "SQRT", 1..=1, ColumnType::Double;
    #[doc = "The natural logarithm."] NaturalLogarithm: "LN", 1..=1, ColumnType::Double;
    #[doc = "The same, or that of a base."] Logarithm: "LOG", 1..=2, ColumnType::Double;
    #[doc = "The logarithm of base 2."] Logarithm2: "LOG2", 1..=1, ColumnType::Double;
    #[doc = "The logarithm of base 10."] Logarithm10: "LOG10", 1..=1, ColumnType::Double;
    #[doc = "Sine of radians."] Sine: "SIN", 1..=1, ColumnType::Double;
    #[doc = "Cosine."] Cosine: "COS", 1..=1, ColumnType::Double;
    #[doc = "Tangent."] Tangent: "TAN", 1..=1, ColumnType::Double;
    #[doc = "Cotangent."] Cotangent: "COT", 1..=1, ColumnType::Double;
    #[doc = "Inverse of the sine."] ArcSine: "ASIN", 1..=1, ColumnType::Double;
    #[doc = "Inverse of the cosine."] ArcCosine: "ACOS", 1..=1, ColumnType::Double;
    #[doc = "Inverse of the tangent, or the angle of a point."] ArcTangent: "ATAN" | "ATAN2", 1..=2, ColumnType::Double;
    #[doc = "Half the circumference of the unit circle."] Pi: "PI", 0..=0, ColumnType::Double;
    #[doc = "Radians as degrees."] Degrees: "DEGREES", 1..=1, ColumnType::Double;
    #[doc = "Degrees as radians."] Radians: "RADIANS", 1..=1, ColumnType::Double;
    #[doc = "Without the digits behind a place."] Truncate: "TRUNCATE", 2..=2, ColumnType::Double;
    #[doc = "Bits that are set."] BitCount: "BIT_COUNT", 1..=1, ColumnType::BigInt;
    #[doc = "`~`"] BitNot: "\0BIT_NOT", 1..=1, ColumnType::BigIntUnsigned;
    #[doc = "CRC-32."] Checksum: "CRC32", 1..=1, ColumnType::BigIntUnsigned;
    #[doc = "A number with commas."] Format: "FORMAT", 2..=2, TEXT;
    #[doc = "A number in another base."] Convert: "CONV", 3..=3, TEXT;
    #[doc = "In base 2."] Binary: "BIN", 1..=1, TEXT;
    #[doc = "In base 8."] Octal: "OCT", 1..=1, TEXT;
    #[doc = "An address of IPv4 as a number."] AddressToNumber: "INET_ATON", 1..=1, ColumnType::BigIntUnsigned;
    #[doc = "A number as such an address."] NumberToAddress: "INET_NTOA", 1..=1, TEXT;
    #[doc = "A random number from 0 to 1, another one for each row."] Random: "RAND", 0..=0, ColumnType::Double;
    #[doc = "A random UUID, another one for each row."] Uuid: "UUID", 0..=0, TEXT;
    #[doc = "A UUID as 16 bytes."] UuidToBytes: "UUID_TO_BIN", 1..=1, ColumnType::Varbinary { bytes: 16 };
    #[doc = "16 bytes as a UUID."] BytesToUuid: "BIN_TO_UUID", 1..=1, TEXT;
    #[doc = "Spaces."] SpaceText: "SPACE", 1..=1, TEXT;
    #[doc = "Filled to a length from the left."] PadLeft: "LPAD", 2..=3, TEXT;
    #[doc = "Filled to a length from the right."] PadRight: "RPAD", 2..=3, TEXT;
    #[doc = "The first byte."] Ascii: "ASCII", 1..=1, ColumnType::BigInt;
    #[doc = "The bytes of the first character as a number."] Ordinal: "ORD", 1..=1, ColumnType::BigInt;
    #[doc = "Hexadecimal digits as bytes."] Unhex: "UNHEX", 1..=1, ColumnType::Varbinary { bytes: 1_024 };
    #[doc = "Bytes in base 64."] ToBase64: "TO_BASE64", 1..=1, TEXT;
    #[doc = "Bytes of base 64."] FromBase64: "FROM_BASE64", 1..=1, ColumnType::Varbinary { bytes: 1_024 };
    #[doc = "Which of the others is equal to the first."] Field: "FIELD", 2..=255, ColumnType::BigInt;
    #[doc = "The argument of a number."] Element: "ELT", 2..=255, TEXT;
    #[doc = "Which part of a list with commas it is."] FindInSet: "FIND_IN_SET", 2..=2, ColumnType::BigInt;
    #[doc = "What is before the n-th occurrence of a text."] SubstringIndex: "SUBSTRING_INDEX", 3..=3, TEXT;
    #[doc = "With another text in place of some characters."] Insert: "INSERT", 4..=4, TEXT;
    #[doc = "How two texts compare."] CompareText: "STRCMP", 2..=2, ColumnType::BigInt;
    #[doc = "As a literal of a statement."] Quote: "QUOTE", 1..=1, TEXT;
    #[doc = "Bytes by their numbers."] Characters: "CHAR", 1..=255, ColumnType::Varbinary { bytes: 1_024 };
    #[doc = "Bits of a text."] BitLength: "BIT_LENGTH", 1..=1, ColumnType::BigInt;
    #[doc = "MD5 as hexadecimal digits."] Md5: "MD5", 1..=1, TEXT;
    #[doc = "SHA-1."] Sha1: "SHA1" | "SHA", 1..=1, TEXT;
    #[doc = "SHA-2 of so many bits."] Sha2: "SHA2", 2..=2, TEXT;
    #[doc = "`TRIM(BOTH b FROM a)`"] TrimBoth: "\0TRIM_BOTH", 2..=2, TEXT;
    #[doc = "`TRIM(LEADING b FROM a)`"] TrimStart: "\0TRIM_LEADING", 2..=2, TEXT;
    #[doc = "`TRIM(TRAILING b FROM a)`"] TrimEnd: "\0TRIM_TRAILING", 2..=2, TEXT;
    #[doc = "`a REGEXP b`"] Matches: "REGEXP_LIKE", 2..=3, ColumnType::BigInt;
    #[doc = "Matches replaced."] RegexReplace: "REGEXP_REPLACE", 3..=3, TEXT;
    #[doc = "The first match."] RegexSubstring: "REGEXP_SUBSTR", 2..=2, TEXT;
    #[doc = "Its place."] RegexPlace: "REGEXP_INSTR", 2..=2, ColumnType::BigInt;
    #[doc = "Places of a document."] JsonExtract: "JSON_EXTRACT", 2..=255, ColumnType::Json;
    #[doc = "`a->>b`"] JsonExtractText: "\0JSON_EXTRACT_TEXT", 2..=2, LONG_TEXT;
    #[doc = "What a string of a document says."] JsonUnquote: "JSON_UNQUOTE", 1..=1, LONG_TEXT;
    #[doc = "Text as a string of a document."] JsonQuote: "JSON_QUOTE", 1..=1, LONG_TEXT;
    #[doc = "Whether it is a document."] JsonValid: "JSON_VALID", 1..=1, ColumnType::BigInt;
    #[doc = "Parts of a document."] JsonLength: "JSON_LENGTH", 1..=2, ColumnType::BigInt;
    #[doc = "What a document is."] JsonType: "JSON_TYPE", 1..=1, TEXT;
    #[doc = "Keys of a document."] JsonKeys: "JSON_KEYS", 1..=2, ColumnType::Json;
    #[doc = "Whether one has all of another."] JsonContains: "JSON_CONTAINS", 2..=3, ColumnType::BigInt;
    #[doc = "Whether paths lead to something."] JsonContainsPath: "JSON_CONTAINS_PATH", 3..=255, ColumnType::BigInt;
    #[doc = "A scalar of a document."] JsonValue: "JSON_VALUE", 2..=2, LONG_TEXT;
    #[doc = "A document over several lines."] JsonPretty: "JSON_PRETTY", 1..=1, LONG_TEXT;
    #[doc = "A document with other values."] JsonSet: "JSON_SET", 3..=255, ColumnType::Json;
    #[doc = "With more values."] JsonInsert: "JSON_INSERT", 3..=255, ColumnType::Json;
    #[doc = "With values replaced."] JsonReplace: "JSON_REPLACE", 3..=255, ColumnType::Json;
    #[doc = "Without some places."] JsonRemove: "JSON_REMOVE", 2..=255, ColumnType::Json;
    #[doc = "A list."] JsonArray: "JSON_ARRAY", 0..=255, ColumnType::Json;
    #[doc = "An object."] JsonObject: "JSON_OBJECT", 0..=255, ColumnType::Json;
    #[doc = "Values as bytes that are equal where all are; NULL with a NULL among them."] Distinct: "\0DISTINCT", 1..=255, ColumnType::Blob;
    #[doc = "Values as one, for an aggregate of several; NULL where the first is."] Packed: "\0PACKED", 1..=255, ColumnType::Blob;
}

fn int(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The whole number that a value is taken for: of a text its first digits, of others the nearest.
pub(super) fn whole_double(value: &Value) -> f64 {
    match value {
        Value::Text(_) => interval::whole(value) as f64,
        other => to_double(other).unwrap_or(0.0).round_ties_even(),
    }
}

fn count(value: &Value) -> usize {
    whole_double(value).clamp(0.0, 1e9) as usize
}

/// Digits behind the point of the seconds of a moment: of a text as many as it has, of others as many as there have to be.
pub(super) fn fraction_digits(moment: &Value) -> u8 {
    match moment {
        Value::Text(text) => {
            let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
            fraction.bytes().take(6).take_while(u8::is_ascii_digit).count() as u8
        }
        Value::DateTime(moment) | Value::Timestamp(moment) => {
            let micros = moment.rem_euclid(1_000_000);
            (0..6).find(|digits| micros % 10_i64.pow(6 - u32::from(*digits)) == 0).unwrap_or(6)
        }
        _ => 0,
    }
}

/// `UNIX_TIMESTAMP`: with so many digits behind the point.
fn unix_timestamp(moment: i64, digits: u8) -> Value {
    let moment = moment.max(0);
    match digits {
        0 => Value::Int(moment / 1_000_000),
        digits => {
            let unscaled = moment / 10_i64.pow(6 - u32::from(digits.min(6)));
            Value::Decimal { unscaled: i128::from(unscaled), scale: digits.min(6) }
        }
    }
}

fn too_long() -> SqlError {
    SqlError::out_of_memory("Out of memory; the result of a function is longer than 16 MiB")
}

/// What a value says, as characters: those of a text, or where it is about bytes one for each byte, with the byte's number.
fn characters(value: &Value, of_bytes: bool) -> Cow<'_, str> {
    match value {
        Value::Text(text) | Value::Json(text) if !of_bytes || text.is_ascii() => Cow::Borrowed(text),
        _ if of_bytes => {
            let mut bytes = Vec::new();
            write(value, &mut bytes);
            Cow::Owned(bytes.into_iter().map(char::from).collect())
        }
        other => Cow::Owned(text(other)),
    }
}

/// The value of such characters.
fn of_characters(content: Cow<'_, str>, of_bytes: bool) -> Value {
    match of_bytes {
        true => Value::Bytes(content.chars().map(|byte| byte as u8).collect()),
        false => Value::Text(content.into_owned()),
    }
}

/// The value of bytes, which are characters unless it is about bytes.
fn of_content(content: Vec<u8>, of_bytes: bool) -> Value {
    match of_bytes {
        true => Value::Bytes(content),
        false => Value::Text(
            String::from_utf8(content)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        ),
    }
}

/// Where the character of this number begins, from 0; the end where there are fewer.
fn start_of(content: &str, character: usize) -> usize {
    content.char_indices().nth(character).map_or(content.len(), |(at, _)| at)
}

/// Values one behind the other, with another one between them.
fn joined(values: &[Value], separator: Option<&Value>, of_bytes: bool) -> Result<Value> {
    let mut content = Vec::new();
    for (index, value) in values.iter().filter(|value| **value != Value::Null).enumerate() {
        for part in separator.filter(|_| index > 0).into_iter().chain([value]) {
            if content.len() + content_bytes(part) > MAX_TEXT_BYTES {
                return Err(too_long());
            }
            write(part, &mut content);
        }
    }
    Ok(of_content(content, of_bytes))
}

/// The moment that a value stands for; `None` when it is none.
pub(super) fn moment(value: &Value) -> Option<i64> {
    moment_of(value).or_else(|| match value {
        Value::Text(text) => parse_moment(text).map(|(moment, _)| moment),
        // Zeros that a number cannot begin with.
        Value::Int(_) | Value::UInt(_) => {
            parse_moment(&format!("{:0>6}", text(value))).map(|(moment, _)| moment)
        }
        _ => None,
    })
}

/// Year, month and day of a moment.
fn civil(moment: i64) -> (i64, u32, u32) {
    civil_from_days(moment.div_euclid(MICROSECONDS_PER_DAY))
}

/// Microseconds of a day.
fn clock(value: &Value) -> Option<i64> {
    match value {
        Value::Time(time) => Some(time.abs()),
        // A time of day without a date.
        Value::Text(text) if text.contains(':') && !text.trim().contains([' ', 'T']) => {
            crate::value::calendar::parse_time(text).map(i64::abs)
        }
        other => moment(other).map(|moment| moment.rem_euclid(MICROSECONDS_PER_DAY)),
    }
}

/// Calls a function that evaluates all of its arguments.
pub(super) fn call(
    function: Function,
    arguments: &[Expression],
    environment: &Environment<'_>,
) -> Result<Value> {
    let facts = environment.facts;
    let mut values = Vec::with_capacity(arguments.len());
    let mut held = Held::default();
    for argument in arguments {
        let value = match function.takes_all_digits() {
            true => argument.precisely(environment)?.value,
            false => argument.evaluate(environment)?,
        };
        held.add(content_bytes(&value))?;
        values.push(match (function.takes_truths(), value) {
            (true, Value::Int(number)) if argument.is_truth() => Value::Bool(number != 0),
            // Those of columns are numbers.
            (true, Value::Bool(truth)) if !argument.is_truth() => Value::Int(i64::from(truth)),
            (_, value) => value,
        });
    }
    let mut result = call_with(function, &values, facts)?;
    if content_bytes(&result) > MAX_TEXT_BYTES {
        return Err(too_long());
    }
    if function == Function::TextToDate
        && !matches!(arguments.get(1), Some(Expression::Constant(Value::Text(_))))
    {
        // Its type does not depend on a format that is not known before.
        result = match result {
            Value::Date(days) => Value::DateTime(i64::from(days) * MICROSECONDS_PER_DAY),
            Value::Time(_) => Value::Null,
            other => other,
        };
    }
    if let (Function::UnixTimestamp, [argument], [value]) = (function, arguments, values.as_slice()) {
        // The digits of a moment that is not known before are those of its type.
        let digits = match (argument, value) {
            (Expression::Constant(_) | Expression::Parameter(_), value) => fraction_digits(value),
            (_, Value::Text(_)) => 6,
            _ => 0,
        };
        if let Some(moment) = moment(value).filter(|_| digits > 0) {
            result = unix_timestamp(moment, digits);
        }
    }
    facts.losses.of_call(function, &values, &result)?;
    Ok(result)
}

fn call_with(function: Function, values: &[Value], facts: &Facts) -> Result<Value> {
    let is_bytes = |value: &Value| matches!(value, Value::Bytes(_));
    let of_bytes =
        values.iter().enumerate().any(|(index, value)| is_bytes(value) && function.is_made_of(index));
    match function {
        Function::LastInsertId if !values.is_empty() => {
            facts.last_insert_id.say(&values[0]);
            return Ok(values[0].clone());
        }
        Function::IsNull => return Ok(Value::Int(i64::from(values[0] == Value::Null))),
        Function::NullIf => {
            let equal = compare(&values[0], &values[1])? == Some(Ordering::Equal);
            return Ok(if equal { Value::Null } else { values[0].clone() });
        }
        Function::ConcatWith => {
            if values[0] == Value::Null {
                return Ok(Value::Null);
            }
            return joined(&values[1..], Some(&values[0]), of_bytes);
        }
        Function::Packed => {
            return Ok(match values[0] {
                Value::Null => Value::Null,
                _ => Value::Bytes(super::aggregate::packed(values)),
            });
        }
        // NULL among the others is one of the values.
        Function::Field | Function::Element if values[0] == Value::Null => {
            return Ok(if function == Function::Field { Value::Int(0) } else { Value::Null });
        }
        Function::Field | Function::Element | Function::Characters => {
            return Ok(string::call(function, values, of_bytes)?.unwrap_or_default());
        }
        Function::Quote if values[0] == Value::Null => return Ok(Value::Text("NULL".to_owned())),
        Function::JsonSet | Function::JsonInsert | Function::JsonReplace if values[0] != Value::Null => {
            return Ok(json::call(function, values)?.unwrap_or_default());
        }
        _ => {}
    }
    if let Some(value) = json::call_with_nulls(function, values)? {
        return Ok(value);
    }
    if values.contains(&Value::Null) {
        return Ok(Value::Null);
    }
    let made = |content: &str| of_characters(Cow::Borrowed(content), of_bytes);
    let of_moment =
        |pick: fn(i64) -> i64| moment(&values[0]).map_or(Value::Null, |moment| Value::Int(pick(moment)));
    Ok(match function {
        Function::Now => {
            // Digits of the fraction; none without.
            let digits = values.first().map_or(0, count).min(6) as u32;
            Value::DateTime(facts.now - facts.now.rem_euclid(10_i64.pow(6 - digits)))
        }
        Function::CurrentDate => Value::Date(facts.now.div_euclid(MICROSECONDS_PER_DAY) as i32),
        Function::CurrentTime => {
            let digits = values.first().map_or(0, count).min(6) as u32;
            let time = facts.now.rem_euclid(MICROSECONDS_PER_DAY);
            Value::Time(time - time % 10_i64.pow(6 - digits))
        }
        Function::UnixTimestamp => match values.first() {
            None => Value::Int(facts.now.div_euclid(1_000_000)),
            Some(value) => unix_timestamp(moment(value).unwrap_or(0), 0),
        },
        Function::Database => facts.database.clone().map_or(Value::Null, Value::Text),
        Function::User => Value::Text(facts.user.clone()),
        Function::Version => Value::Text(SERVER_VERSION.to_owned()),
        Function::ConnectionId => Value::UInt(u64::from(facts.connection)),
        Function::LastInsertId => Value::UInt(facts.last_insert_id.number()),
        Function::RowCount => Value::Int(facts.row_count),
        Function::FoundRows => Value::Int(i64::try_from(facts.found_rows).unwrap_or(i64::MAX)),
        Function::Absolute => match &values[0] {
            Value::UInt(number) => Value::UInt(*number),
            value if order(value, &Value::Int(0)) == Ordering::Less => negate(value)?,
            Value::Text(_) | Value::Bytes(_) | Value::Float(_) => {
                to_double(&values[0]).map_or(Value::Null, Value::Double)
            }
            value => value.clone(),
        },
        Function::Modulo => calculate(Operator::Modulo, &values[0], &values[1])?,
        Function::Sign => Value::Int(order(&values[0], &Value::Int(0)) as i64),
        Function::Floor | Function::Ceiling => match &values[0] {
            number @ (Value::Int(_) | Value::UInt(_) | Value::Bool(_)) => number.clone(),
            Value::Decimal { unscaled, scale } => {
                let divisor = power_of_ten(*scale).unwrap_or(i128::MAX);
                let floor = unscaled.div_euclid(divisor);
                let up = function == Function::Ceiling && unscaled.rem_euclid(divisor) != 0;
                Value::Decimal { unscaled: floor + i128::from(up), scale: 0 }
            }
            other => {
                let number = to_double(other).unwrap_or(0.0);
                Value::Double(if function == Function::Floor { number.floor() } else { number.ceil() })
            }
        },
        Function::Round => number::round(&values[0], values.get(1))?,
        Function::Greatest | Function::Least => {
            let wanted = if function == Function::Greatest { Ordering::Greater } else { Ordering::Less };
            let mut best = &values[0];
            for value in &values[1..] {
                if compare(value, best)? == Some(wanted) {
                    best = value;
                }
            }
            best.clone()
        }
        Function::Concat => joined(values, None, of_bytes)?,
        Function::Length => match &values[0] {
            Value::Bytes(bytes) => int(bytes.len()),
            other => int(text(other).len()),
        },
        Function::CharLength => match &values[0] {
            Value::Bytes(bytes) => int(bytes.len()),
            other => int(text(other).chars().count()),
        },
        // Bytes have no case.
        Function::Upper | Function::Lower if of_bytes => values[0].clone(),
        Function::Upper => {
            Value::Text(text(&values[0]).chars().map(|c| single(c, c.to_uppercase())).collect())
        }
        Function::Lower => {
            Value::Text(text(&values[0]).chars().map(|c| single(c, c.to_lowercase())).collect())
        }
        Function::Left => {
            let whole = characters(&values[0], of_bytes);
            made(&whole[..start_of(&whole, count(&values[1]))])
        }
        Function::Right => {
            let whole = characters(&values[0], of_bytes);
            let skipped = whole.chars().count().saturating_sub(count(&values[1]));
            made(&whole[start_of(&whole, skipped)..])
        }
        Function::Substring => {
            let whole = characters(&values[0], of_bytes);
            let length = whole.chars().count();
            let from = whole_double(&values[1]);
            let skipped = match from {
                from if from > 0.0 => from.min(1e9) as usize - 1,
                from if from < 0.0 && -from <= length as f64 => length - (-from) as usize,
                _ => length,
            };
            let rest = &whole[start_of(&whole, skipped)..];
            made(&rest[..values.get(2).map_or(rest.len(), |length| start_of(rest, count(length)))])
        }
        Function::Trim => made(characters(&values[0], of_bytes).trim_matches(' ')),
        Function::TrimLeft => made(characters(&values[0], of_bytes).trim_start_matches(' ')),
        Function::TrimRight => made(characters(&values[0], of_bytes).trim_end_matches(' ')),
        Function::Replace => {
            let [whole, from, to] = [0, 1, 2].map(|index| characters(&values[index], of_bytes));
            if from.is_empty() {
                return Ok(of_characters(whole, of_bytes));
            }
            let places = whole.matches(&*from).count();
            let length = (whole.len() - places * from.len()).saturating_add(places.saturating_mul(to.len()));
            // A byte may be a character of two.
            if length > if of_bytes { 2 * MAX_TEXT_BYTES } else { MAX_TEXT_BYTES } {
                return Err(too_long());
            }
            of_characters(Cow::Owned(whole.replace(&*from, &to)), of_bytes)
        }
        Function::Repeat => {
            let mut part = Vec::new();
            write(&values[0], &mut part);
            match (part.len(), count(&values[1])) {
                (length, times) if length.saturating_mul(times) > MAX_TEXT_BYTES => Value::Null,
                (_, times) => of_content(part.repeat(times), of_bytes),
            }
        }
        Function::Reverse => {
            let whole = characters(&values[0], of_bytes);
            of_characters(Cow::Owned(whole.chars().rev().collect()), of_bytes)
        }
        Function::Hex => match &values[0] {
            Value::Int(number) => Value::Text(format!("{number:X}")),
            Value::UInt(number) => Value::Text(format!("{number:X}")),
            Value::Bytes(bytes) => Value::Text(hex(bytes)),
            Value::Bool(_) | Value::Decimal { .. } | Value::Float(_) | Value::Double(_) => {
                Value::Text(format!("{:X}", number::nearest_bits(to_double(&values[0]).unwrap_or(0.0))))
            }
            other => Value::Text(hex(text(other).as_bytes())),
        },
        Function::Locate | Function::InString => {
            let any_bytes = values.iter().any(is_bytes);
            let [first, second] = [0, 1].map(|index| characters(&values[index], any_bytes));
            match (function, values.get(2)) {
                (Function::InString, _) => place(&first, &second),
                (_, None) => place(&second, &first),
                (_, Some(from)) => place_from(&second, &first, from),
            }
        }
        Function::Distinct => {
            let mut key = Vec::new();
            values.iter().for_each(|value| super::aggregate::put_distinct(value, &mut key));
            Value::Bytes(key)
        }
        Function::Date => moment(&values[0])
            .map_or(Value::Null, |moment| Value::Date(moment.div_euclid(MICROSECONDS_PER_DAY) as i32)),
        Function::Year => of_moment(|moment| civil_from_days(moment.div_euclid(MICROSECONDS_PER_DAY)).0),
        Function::Month => {
            moment(&values[0]).map_or(Value::Null, |moment| Value::Int(i64::from(civil(moment).1)))
        }
        Function::Day => {
            moment(&values[0]).map_or(Value::Null, |moment| Value::Int(i64::from(civil(moment).2)))
        }
        Function::Hour => clock(&values[0]).map_or(Value::Null, |clock| Value::Int(clock / 3_600_000_000)),
        Function::Minute => {
            clock(&values[0]).map_or(Value::Null, |clock| Value::Int(clock / 60_000_000 % 60))
        }
        Function::Second => clock(&values[0]).map_or(Value::Null, |clock| Value::Int(clock / 1_000_000 % 60)),
        Function::DateDifference => match (moment(&values[0]), moment(&values[1])) {
            (Some(a), Some(b)) => {
                Value::Int(a.div_euclid(MICROSECONDS_PER_DAY) - b.div_euclid(MICROSECONDS_PER_DAY))
            }
            _ => Value::Null,
        },
        other => {
            if let Some(value) = string::call(other, values, of_bytes)? {
                return Ok(value);
            }
            for call in [calendar::call, number::call, json::call] {
                if let Some(value) = call(other, values)? {
                    return Ok(value);
                }
            }
            Value::Null
        }
    })
}

/// A character in the other case, where that is one character as well.
fn single(character: char, mut changed: impl Iterator<Item = char>) -> char {
    match (changed.next(), changed.next()) {
        (Some(other), None) => other,
        _ => character,
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

fn place(whole: &str, part: &str) -> Value {
    whole.find(part).map_or(Value::Int(0), |at| int(whole[..at].chars().count() + 1))
}

/// The place of a text in another from a place on.
fn place_from(whole: &str, part: &str, from: &Value) -> Value {
    let from = whole_double(from);
    if from < 1.0 {
        return Value::Int(0);
    }
    let skipped = from.min(1e9) as usize - 1;
    let Some(start) = whole.char_indices().map(|(at, _)| at).chain([whole.len()]).nth(skipped) else {
        return Value::Int(0);
    };
    match place(&whole[start..], part) {
        Value::Int(0) => Value::Int(0),
        found => Value::Int(to_double(&found).unwrap_or(0.0) as i64 + skipped as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(function: Function, values: &[Value]) -> Result<Value> {
        let arguments: Vec<Expression> = values.iter().cloned().map(Expression::Constant).collect();
        Expression::Call(function, arguments).evaluate(&Environment::new(&[], &Facts::default()))
    }

    fn written(content: &str) -> Value {
        Value::Text(content.to_owned())
    }

    #[test]
    fn bytes_stay_bytes() {
        let bytes = |content: &[u8]| Value::Bytes(content.to_vec());
        let (high, a, int) = (bytes(b"\xFF\xFE\x01"), written("a"), Value::Int);
        for (function, values, expected) in [
            (Function::Concat, vec![high.clone(), written("é")], &b"\xFF\xFE\x01\xC3\xA9"[..]),
            (Function::ConcatWith, vec![high.clone(), a.clone(), Value::Null, a.clone()], b"a\xFF\xFE\x01a"),
            (Function::Left, vec![high.clone(), int(2)], b"\xFF\xFE"),
            (Function::Right, vec![high.clone(), int(2)], b"\xFE\x01"),
            (Function::Substring, vec![high.clone(), int(-2), int(1)], b"\xFE"),
            (Function::Replace, vec![high.clone(), bytes(b"\xFE"), written("é")], b"\xFF\xC3\xA9\x01"),
            (Function::Repeat, vec![high.clone(), int(2)], b"\xFF\xFE\x01\xFF\xFE\x01"),
            (Function::Reverse, vec![high.clone()], b"\x01\xFE\xFF"),
            (Function::Upper, vec![bytes(b"a\xFF")], b"a\xFF"),
            (Function::PadLeft, vec![high.clone(), int(5), a.clone()], b"aa\xFF\xFE\x01"),
            (Function::PadRight, vec![high.clone(), int(5), written("é")], b"\xFF\xFE\x01\xC3\xA9"),
            (Function::Insert, vec![high.clone(), int(2), int(1), a.clone()], b"\xFFa\x01"),
            (Function::TrimStart, vec![high.clone(), bytes(b"\xFF")], b"\xFE\x01"),
            (Function::Trim, vec![bytes(b" \xFF ")], b"\xFF"),
            (Function::Element, vec![int(1), high.clone(), a.clone()], b"\xFF\xFE\x01"),
            (Function::SubstringIndex, vec![high.clone(), bytes(b"\xFE"), int(1)], b"\xFF"),
            (Function::Quote, vec![bytes(b"\xFF'")], b"'\xFF\\''"),
        ] {
            let values_shown = format!("{function:?} {values:?}");
            assert_eq!(called(function, &values).expect("no error"), bytes(expected), "{values_shown}");
        }
        assert_eq!(called(Function::Locate, &[a.clone(), bytes(b"\xFF\xFEa")]).expect("no error"), int(3));
        assert_eq!(called(Function::Hex, &[high]).expect("no error"), written("FFFE01"));
        assert_eq!(called(Function::Left, &[written("éü"), int(1)]).expect("no error"), written("é"));
        assert_eq!(called(Function::PadLeft, &[a, int(2), bytes(b"")]).expect("no error"), Value::Null);
    }

    #[test]
    fn results_that_are_too_long_are_refused() {
        let (large, huge) = (written(&"a".repeat(10 << 20)), written(&"a".repeat(16 << 20)));
        for (function, values) in [
            (Function::Concat, vec![large.clone(); 2]),
            (Function::ConcatWith, vec![large.clone(), written("a"), written("b"), written("c")]),
            (Function::Hex, vec![large.clone()]),
            (Function::Replace, vec![large.clone(), written("a"), written("aa")]),
            (Function::Insert, vec![large.clone(), Value::Int(1), Value::Int(0), large.clone()]),
            (Function::PadLeft, vec![large.clone(), Value::Int(16 << 20), written("é")]),
            (Function::JsonArray, vec![large.clone(), large.clone()]),
            (Function::RegexReplace, vec![large.clone(), written("a+"), written("$0$0$0")]),
            // Arguments alone.
            (Function::Coalesce, vec![Value::Null, large.clone()]),
            (Function::Field, vec![huge; 5]),
        ] {
            let result = called(function, &values);
            match function {
                Function::Coalesce => assert_eq!(result.expect("it is there"), large),
                _ => assert_eq!(result.expect_err("too long").code, 1_041, "{function:?}"),
            }
        }
    }

    #[test]
    fn arguments_of_nested_calls_are_held_together() {
        let huge = Expression::Constant(written(&"a".repeat(16 << 20)));
        let nested = |inner: Expression, texts: usize| {
            let mut arguments = vec![huge.clone(); texts];
            arguments.push(inner);
            Expression::Call(Function::Field, arguments)
        };
        let facts = Facts::default();
        let evaluate = |call: &Expression| call.evaluate(&Environment::new(&[], &facts));
        let number = Expression::Constant(Value::Int(0));
        let small = nested(nested(number.clone(), 2), 2);
        assert!(evaluate(&small).is_ok());
        let large = nested(nested(number, 3), 3);
        assert_eq!(evaluate(&large).expect_err("too long").code, 1_041);
        // Nothing is held behind it.
        assert_eq!(held::HELD.get(), 0);
        assert!(evaluate(&small).is_ok());
    }

    #[test]
    fn truths_are_truths_of_documents_alone() {
        let truth = || Expression::Constant(Value::Bool(true));
        let facts = Facts::default();
        let evaluate = |function: Function, arguments: Vec<Expression>| {
            Expression::Call(function, arguments).evaluate(&Environment::new(&[], &facts)).expect("no error")
        };
        let compared = Expression::IsNull(Box::new(truth()));
        let list =
            evaluate(Function::JsonArray, vec![truth(), compared, Expression::Constant(Value::Int(1))]);
        assert_eq!(text(&list), "[true, false, 1]");
        // A column of truths has numbers.
        let row = [Value::Bool(true)];
        let environment = Environment::new(&[], &facts).with_row(&row);
        let list = call(Function::JsonArray, &[Expression::Column(0)], &environment).expect("no error");
        assert_eq!(text(&list), "[1]");
    }

    #[test]
    fn a_format_that_is_no_constant_always_reads_a_moment() {
        let facts = Facts::default();
        let read = |source: &str, format: &str| {
            let parameters = [written(format)];
            let arguments = [Expression::Constant(written(source)), Expression::Parameter(0)];
            call(Function::TextToDate, &arguments, &Environment::new(&parameters, &facts)).expect("no error")
        };
        assert_eq!(read("1970-01-02", "%Y-%m-%d"), Value::DateTime(MICROSECONDS_PER_DAY));
        assert_eq!(read("10:20:30", "%H:%i:%s"), Value::Null);
    }

    #[test]
    fn numbers_are_rounded_before_the_point() {
        let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
        for (value, digits, expected) in [
            (Value::Double(1e5), -5, Value::Double(1e5)),
            (Value::Double(1e5), -6, Value::Double(0.0)),
            (Value::Double(1e300), -400, Value::Double(0.0)),
            (Value::Double(1e300), 400, Value::Double(1e300)),
            (decimal(9 * 10_i128.pow(37), 30), -10, decimal(0, 0)),
            (decimal(9 * 10_i128.pow(37), 30), -8, decimal(100_000_000, 0)),
            (decimal(15, 1), 300, decimal(15, 1)),
            (Value::Int(i64::MAX), -1, decimal(9_223_372_036_854_775_810, 0)),
            (Value::Int(15), -1, Value::Int(20)),
            (Value::Int(15), -40, Value::Int(0)),
        ] {
            let arguments = [value.clone(), Value::Int(digits)];
            assert_eq!(called(Function::Round, &arguments).expect("rounded"), expected, "{value:?} {digits}");
        }
        let most = decimal(10_i128.pow(38) - 1, 0);
        assert_eq!(called(Function::Round, &[most, Value::Int(-1)]).expect_err("39 digits").code, 1_690);
        let cut = called(Function::Truncate, &[Value::Double(2e5), Value::Int(-5)]);
        assert_eq!(cut.expect("cut"), Value::Double(2e5));
    }

    #[test]
    fn numbers_have_digits_of_other_bases() {
        let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
        for (function, value, expected) in [
            (Function::Hex, decimal(2_555, 1), "100"),
            (Function::Hex, Value::Double(255.0), "FF"),
            (Function::Hex, decimal(-25, 1), "FFFFFFFFFFFFFFFD"),
            (Function::Hex, Value::Double(-1e30), "FFFFFFFFFFFFFFFF"),
            (Function::Binary, decimal(19, 1), "1"),
            (Function::Binary, written("1.9"), "1"),
            (Function::Octal, Value::Double(9.7), "11"),
        ] {
            assert_eq!(
                called(function, std::slice::from_ref(&value)).expect("digits"),
                written(expected),
                "{value:?}"
            );
        }
    }

    #[test]
    fn seconds_have_the_digits_of_their_moment() {
        let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
        for (moment, expected) in [
            (written("1970-01-01 00:00:01.50"), decimal(150, 2)),
            (written("1970-01-01 00:00:01"), Value::Int(1)),
            (Value::DateTime(1_250_000), decimal(125, 2)),
            (Value::DateTime(-1), decimal(0, 6)),
        ] {
            assert_eq!(called(Function::UnixTimestamp, &[moment]).expect("seconds"), expected);
        }
    }

    #[test]
    fn conversions_of_arguments_are_told() {
        let text = written;
        for (function, values, code) in [
            (Function::UnixTimestamp, vec![text("x")], 1_292),
            (Function::Left, vec![text("abc"), text("1x")], 1_292),
            (Function::TextToDate, vec![text("2024-01-02xyz"), text("%Y-%m-%d")], 1_292),
            (Function::NullIf, vec![text("a"), Value::Int(0)], 1_292),
            (Function::Repeat, vec![text("a"), Value::Int(20_000_000)], 1_301),
            (Function::SpaceText, vec![Value::Int(20_000_000)], 1_301),
            (Function::PadLeft, vec![text("a"), Value::Int(20_000_000), text("b")], 1_301),
            (Function::Repeat, vec![text("a"), text("2x")], 1_292),
            (Function::FromUnixTime, vec![text("5x")], 1_292),
            (Function::MakeDate, vec![text("2024x"), Value::Int(1)], 1_292),
            (Function::SecondsToTime, vec![text("5x")], 1_292),
            (Function::AddInterval, vec![Value::Date(0), text("2x"), text("DAY")], 1_292),
            (Function::AddInterval, vec![Value::Date(0), text("2x"), text("SECOND")], 1_292),
        ] {
            let arguments: Vec<Expression> = values.iter().cloned().map(Expression::Constant).collect();
            let mut facts = Facts::default();
            facts.losses.begin(false);
            call(function, &arguments, &Environment::new(&[], &facts)).expect("told");
            let told: Vec<u16> = facts.losses.take().iter().map(|told| told.error.code).collect();
            assert_eq!(told, [code], "{function:?} {values:?}");
            facts.losses.begin(true);
            let refused = call(function, &arguments, &Environment::new(&[], &facts));
            assert_eq!(refused.expect_err("strict").code, code, "{function:?} {values:?}");
        }
        for (function, values) in [
            (Function::TextToDate, vec![text("2024-01-02 "), text("%Y-%m-%d")]),
            (Function::PadLeft, vec![text("a"), Value::Int(-1), text("b")]),
            (Function::AddInterval, vec![Value::Date(0), text("1:2x"), text("MINUTE_SECOND")]),
            (Function::Convert, vec![text("12x"), Value::Int(10), Value::Int(16)]),
        ] {
            let arguments: Vec<Expression> = values.iter().cloned().map(Expression::Constant).collect();
            let mut facts = Facts::default();
            facts.losses.begin(true);
            call(function, &arguments, &Environment::new(&[], &facts)).expect("nothing is lost");
        }
    }

    #[test]
    fn names_of_functions_without_names_are_not_known() {
        assert!(Function::named("\0PACKED").is_none());
        assert!(Function::named("CONCAT").is_some());
    }

    #[test]
    fn what_cannot_be_compared_is_not_found() {
        let date = Value::Date(0);
        assert_eq!(called(Function::Field, &[date.clone(), written("abc")]).expect("none"), Value::Int(0));
        let values = [date, written("abc"), written("1970-01-01")];
        assert_eq!(called(Function::Field, &values).expect("found"), Value::Int(2));
    }
}
