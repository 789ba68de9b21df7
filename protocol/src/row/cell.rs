//! A cell: one column's value in its binary form, and how that lies in a value image.

use crate::schema::ColumnType;

/// How the bytes of a column lie in a row, derived from its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Two's complement of 1, 2, 3, 4 or 8 bytes.
    Signed { bytes: u8 },
    /// Unsigned integer of 1, 2, 3, 4 or 8 bytes.
    Unsigned { bytes: u8 },
    /// IEEE 754 binary32.
    Float,
    /// IEEE 754 binary64.
    Double,
    /// Two's complement of 8 or 16 bytes, scaled.
    Decimal { bytes: u8 },
    /// Bytes of fixed length.
    Binary { bytes: u32 },
    /// UTF-8 of any length.
    Text,
    /// Bytes of any length.
    Bytes,
    /// Little-endian binary32 elements; stored among the variable parts so that NULL takes no room.
    Vector,
}

impl Form {
    pub(crate) const fn of(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::TinyInt => Self::Signed { bytes: 1 },
            ColumnType::SmallInt => Self::Signed { bytes: 2 },
            ColumnType::MediumInt => Self::Signed { bytes: 3 },
            ColumnType::Int | ColumnType::Date => Self::Signed { bytes: 4 },
            ColumnType::BigInt | ColumnType::Time | ColumnType::DateTime | ColumnType::Timestamp => {
                Self::Signed { bytes: 8 }
            }
            ColumnType::TinyIntUnsigned | ColumnType::Boolean => Self::Unsigned { bytes: 1 },
            ColumnType::SmallIntUnsigned => Self::Unsigned { bytes: 2 },
            ColumnType::MediumIntUnsigned => Self::Unsigned { bytes: 3 },
            ColumnType::IntUnsigned => Self::Unsigned { bytes: 4 },
            ColumnType::BigIntUnsigned => Self::Unsigned { bytes: 8 },
            ColumnType::Float => Self::Float,
            ColumnType::Double => Self::Double,
            ColumnType::Decimal { precision, .. } => {
                Self::Decimal { bytes: if precision <= 18 { 8 } else { 16 } }
            }
            ColumnType::Binary { bytes } => Self::Binary { bytes },
            ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text | ColumnType::Json => {
                Self::Text
            }
            ColumnType::Varbinary { .. } | ColumnType::Blob => Self::Bytes,
            ColumnType::Vector { .. } => Self::Vector,
        }
    }

    /// Bytes in the fixed part of a row, or `None` for a variable column.
    pub(crate) const fn fixed_bytes(self) -> Option<usize> {
        match self {
            Self::Signed { bytes } | Self::Unsigned { bytes } | Self::Decimal { bytes } => {
                Some(bytes as usize)
            }
            Self::Float => Some(4),
            Self::Double => Some(8),
            Self::Binary { bytes } => Some(bytes as usize),
            Self::Text | Self::Bytes | Self::Vector => None,
        }
    }
}

/// A value in the terms of its column's [`Form`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Signed(i64),
    Unsigned(u64),
    Float(f32),
    Double(f64),
    Decimal(i128),
    /// Bytes of a binary, text or bytes column, or the encoded elements of a vector.
    Bytes(&'a [u8]),
    /// Elements of a vector that is not encoded yet.
    Floats(&'a [f32]),
}

/// The first `N` bytes of a little-endian number, widened with `fill`.
fn widen<const N: usize>(bytes: &[u8], fill: u8) -> [u8; N] {
    let mut wide = [fill; N];
    let length = bytes.len().min(N);
    wide[..length].copy_from_slice(&bytes[..length]);
    wide
}

/// The byte that extends the sign of a little-endian two's complement number.
fn sign_fill(bytes: &[u8]) -> u8 {
    if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 }
}

impl<'a> Cell<'a> {
    /// Reads a cell of a row or of an update: `bytes` are exactly its bytes. `None` when their
    /// number does not fit the form.
    #[inline]
    pub(crate) fn read(form: Form, bytes: &'a [u8]) -> Option<Self> {
        if form.fixed_bytes().is_some_and(|length| length != bytes.len()) {
            return None;
        }
        Some(match form {
            Form::Signed { .. } => Self::Signed(i64::from_le_bytes(widen(bytes, sign_fill(bytes)))),
            Form::Unsigned { .. } => Self::Unsigned(u64::from_le_bytes(widen(bytes, 0))),
            Form::Float => Self::Float(f32::from_le_bytes(widen(bytes, 0))),
            Form::Double => Self::Double(f64::from_le_bytes(widen(bytes, 0))),
            Form::Decimal { .. } => Self::Decimal(i128::from_le_bytes(widen(bytes, sign_fill(bytes)))),
            Form::Binary { .. } | Form::Text | Form::Bytes | Form::Vector => Self::Bytes(bytes),
        })
    }

    /// Appends the bytes of the cell; numbers are little-endian and cut to the width of the form.
    #[inline]
    pub(crate) fn append(self, form: Form, out: &mut Vec<u8>) {
        let cut = |bytes: &[u8], out: &mut Vec<u8>| {
            let width = form.fixed_bytes().unwrap_or(0).min(bytes.len());
            out.extend_from_slice(&bytes[..width]);
        };
        match self {
            Self::Signed(value) => cut(&value.to_le_bytes(), out),
            Self::Unsigned(value) => cut(&value.to_le_bytes(), out),
            Self::Float(value) => out.extend_from_slice(&value.to_le_bytes()),
            Self::Double(value) => out.extend_from_slice(&value.to_le_bytes()),
            Self::Decimal(value) => cut(&value.to_le_bytes(), out),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Floats(floats) => {
                for float in floats {
                    out.extend_from_slice(&float.to_le_bytes());
                }
            }
        }
    }

    /// Overwrites the bytes of a fixed-size cell.
    pub(crate) fn overwrite(self, slot: &mut [u8]) {
        let copy = |slot: &mut [u8], bytes: &[u8]| {
            let length = slot.len().min(bytes.len());
            slot[..length].copy_from_slice(&bytes[..length]);
        };
        match self {
            Self::Signed(value) => copy(slot, &value.to_le_bytes()),
            Self::Unsigned(value) => copy(slot, &value.to_le_bytes()),
            Self::Float(value) => copy(slot, &value.to_le_bytes()),
            Self::Double(value) => copy(slot, &value.to_le_bytes()),
            Self::Decimal(value) => copy(slot, &value.to_le_bytes()),
            Self::Bytes(bytes) => copy(slot, bytes),
            Self::Floats(_) => unreachable!("vectors are variable columns"),
        }
    }

    /// Bytes that a variable cell takes.
    pub(crate) fn variable_bytes(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Floats(floats) => floats.len() * 4,
            Self::Signed(_) | Self::Unsigned(_) | Self::Float(_) | Self::Double(_) | Self::Decimal(_) => 0,
        }
    }
}
