//! Types of features: names as Hopsworks writes them, columns as the cluster stores them.

use crate::{FeatureError, Reason};
use duet_client::ColumnType;
use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// Length of text that does not say one, in characters.
const TEXT_CHARACTERS: u32 = 100;
/// Length of bytes that do not say one.
const BINARY_BYTES: u32 = 100;
/// Length of encoded arrays, maps and structs that do not say one, in bytes.
const COMPLEX_BYTES: u32 = 1_000;

/// Type of a feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FeatureType {
    /// As it was written, in lower case: `bigint`, `string`, `array<double>`.
    name: String,
    column: ColumnType,
}

impl FeatureType {
    /// The type of the column that holds the feature.
    pub fn column_type(&self) -> ColumnType {
        self.column
    }

    /// The name, as metadata tells it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The feature type of a column of a table that was made otherwise.
    pub fn of_column(column: ColumnType) -> FeatureType {
        let name = match column {
            ColumnType::TinyInt => "tinyint".to_owned(),
            ColumnType::SmallInt | ColumnType::TinyIntUnsigned => "smallint".to_owned(),
            ColumnType::MediumInt
            | ColumnType::Int
            | ColumnType::SmallIntUnsigned
            | ColumnType::MediumIntUnsigned => "int".to_owned(),
            ColumnType::BigInt | ColumnType::IntUnsigned | ColumnType::Time => "bigint".to_owned(),
            ColumnType::BigIntUnsigned => "decimal(20,0)".to_owned(),
            ColumnType::Float => "float".to_owned(),
            ColumnType::Double => "double".to_owned(),
            ColumnType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            ColumnType::Char { characters } | ColumnType::Varchar { characters } => {
                format!("string({characters})")
            }
            ColumnType::Text | ColumnType::Json => "string(16000)".to_owned(),
            ColumnType::Binary { bytes } | ColumnType::Varbinary { bytes } => format!("binary({bytes})"),
            ColumnType::Blob => "binary(60000)".to_owned(),
            ColumnType::Date => "date".to_owned(),
            ColumnType::DateTime | ColumnType::Timestamp => "timestamp".to_owned(),
            ColumnType::Boolean => "boolean".to_owned(),
            ColumnType::Vector { dimensions } => format!("vector({dimensions})"),
        };
        name.parse().unwrap_or(FeatureType { name, column })
    }
}

impl FromStr for FeatureType {
    type Err = FeatureError;

    fn from_str(text: &str) -> Result<FeatureType, FeatureError> {
        let name = text.trim().to_ascii_lowercase();
        let unknown = || {
            FeatureError::new(
                Reason::InvalidDefinition,
                format!(
                    "'{text}' is no feature type; there are boolean, tinyint, smallint, int, bigint, float, double, \
                     decimal(p,s), date, timestamp, string(n), binary(n), vector(n), array<…>, map<…> and struct<…>"
                ),
            )
        };
        let (head, arguments) = match name.split_once('(') {
            Some((head, rest)) if !name.contains('<') => {
                let rest = rest.strip_suffix(')').ok_or_else(unknown)?;
                let numbers =
                    rest.split(',').map(|number| number.trim().parse::<u32>().map_err(|_| unknown()));
                (head.trim(), numbers.collect::<Result<Vec<u32>, _>>()?)
            }
            _ => (name.as_str(), Vec::new()),
        };
        let column = match (head, arguments.as_slice()) {
            ("boolean" | "bool", []) => ColumnType::Boolean,
            ("tinyint", []) => ColumnType::TinyInt,
            ("smallint", []) => ColumnType::SmallInt,
            ("int" | "integer", []) => ColumnType::Int,
            ("bigint" | "long", []) => ColumnType::BigInt,
            ("float", []) => ColumnType::Float,
            ("double", []) => ColumnType::Double,
            ("decimal", []) => ColumnType::Decimal { precision: 10, scale: 0 },
            ("decimal", [precision @ 1..=38, scale]) if scale <= precision => {
                ColumnType::Decimal { precision: *precision as u8, scale: *scale as u8 }
            }
            ("date", []) => ColumnType::Date,
            ("timestamp", []) => ColumnType::Timestamp,
            ("string" | "varchar", []) => ColumnType::Varchar { characters: TEXT_CHARACTERS },
            ("string" | "varchar", [characters @ 1..=16_000]) => {
                ColumnType::Varchar { characters: *characters }
            }
            ("binary", []) => ColumnType::Varbinary { bytes: BINARY_BYTES },
            ("binary", [bytes @ 1..=60_000]) => ColumnType::Varbinary { bytes: *bytes },
            ("vector", [dimensions @ 1..=16_000]) => ColumnType::Vector { dimensions: *dimensions },
            (complex, []) if is_complex(complex) => ColumnType::Varbinary { bytes: COMPLEX_BYTES },
            _ => return Err(unknown()),
        };
        Ok(FeatureType { name, column })
    }
}

/// Types whose values are encoded by their users.
fn is_complex(name: &str) -> bool {
    let with = |head: &str| name.strip_prefix(head).is_some_and(|rest| rest.ends_with('>') && rest.len() > 2);
    with("array<") || with("map<") || with("struct<")
}

impl TryFrom<String> for FeatureType {
    type Error = FeatureError;

    fn try_from(text: String) -> Result<FeatureType, FeatureError> {
        text.parse()
    }
}

impl From<FeatureType> for String {
    fn from(feature_type: FeatureType) -> String {
        feature_type.name
    }
}

impl Display for FeatureType {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_columns() {
        let column = |name: &str| name.parse::<FeatureType>().map(|parsed| parsed.column_type());
        assert_eq!(column("BIGINT"), Ok(ColumnType::BigInt));
        assert_eq!(column("string"), Ok(ColumnType::Varchar { characters: 100 }));
        assert_eq!(column("string(7)"), Ok(ColumnType::Varchar { characters: 7 }));
        assert_eq!(column("decimal(12, 2)"), Ok(ColumnType::Decimal { precision: 12, scale: 2 }));
        assert_eq!(column("array<struct<a:decimal(3,1)>>"), Ok(ColumnType::Varbinary { bytes: 1_000 }));
        for wrong in ["", "text", "string(0)", "string(1", "decimal(2,3)", "array<", "array<>", "int(4)"] {
            assert_eq!(column(wrong).expect_err(wrong).reason, Reason::InvalidDefinition);
        }
    }

    #[test]
    fn types_of_columns_have_names_that_can_be_read() {
        let columns = [ColumnType::Int, ColumnType::Json, ColumnType::BigIntUnsigned, ColumnType::Blob];
        for column in columns {
            let named = FeatureType::of_column(column);
            assert_eq!(named.name().parse::<FeatureType>(), Ok(named.clone()));
        }
    }
}
