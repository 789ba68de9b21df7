//! Primary keys as callers give them: a number, a text, a tuple, or a list of values.

use crate::value::ColumnValue;
use duet_protocol::layout::TableLayout;
use duet_protocol::row::RowError;
use duet_protocol::value::{AsValue, ValueRef};

/// Something that names a row: the value of the primary key, or a tuple or list of its values in primary-key order.
pub trait Key {
    /// Appends the encoded key; on error `bytes` is as before.
    ///
    /// # Errors
    /// When the values are not a primary key of the table.
    fn append_to(&self, layout: &TableLayout, bytes: &mut Vec<u8>) -> Result<(), RowError>;
}

/// A key that is encoded already, for callers that keep encoded keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedKey<'a>(pub &'a [u8]);

impl Key for EncodedKey<'_> {
    fn append_to(&self, layout: &TableLayout, bytes: &mut Vec<u8>) -> Result<(), RowError> {
        layout.validate_key(self.0)?;
        bytes.extend_from_slice(self.0);
        Ok(())
    }
}

impl<V: AsValue> Key for [V] {
    fn append_to(&self, layout: &TableLayout, bytes: &mut Vec<u8>) -> Result<(), RowError> {
        layout.encode_key(self, bytes)
    }
}

impl<V: AsValue, const N: usize> Key for [V; N] {
    fn append_to(&self, layout: &TableLayout, bytes: &mut Vec<u8>) -> Result<(), RowError> {
        layout.encode_key(self, bytes)
    }
}

impl<V: AsValue> Key for Vec<V> {
    fn append_to(&self, layout: &TableLayout, bytes: &mut Vec<u8>) -> Result<(), RowError> {
        layout.encode_key(self, bytes)
    }
}

impl<K: Key + ?Sized> Key for &K {
    fn append_to(&self, layout: &TableLayout, bytes: &mut Vec<u8>) -> Result<(), RowError> {
        (**self).append_to(layout, bytes)
    }
}

impl Key for str {
    fn append_to(&self, layout: &TableLayout, bytes: &mut Vec<u8>) -> Result<(), RowError> {
        layout.encode_key(&[ValueRef::from(self)], bytes)
    }
}

macro_rules! single_keys {
    ($($name:ty),* $(,)?) => {$(
        impl Key for $name {
            fn append_to(&self, layout: &TableLayout, bytes: &mut Vec<u8>) -> Result<(), RowError> {
                layout.encode_key(&[self.to_value()], bytes)
            }
        }
    )*};
}

single_keys!(
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    bool,
    String,
    crate::value::Date,
    crate::value::Time,
    crate::value::DateTime,
    crate::value::Timestamp,
    crate::value::Decimal,
    duet_protocol::value::Value
);

macro_rules! tuple_keys {
    ($($name:ident . $index:tt),+) => {
        impl<$($name: ColumnValue),+> Key for ($($name,)+) {
            fn append_to(&self, layout: &TableLayout, bytes: &mut Vec<u8>) -> Result<(), RowError> {
                layout.encode_key(&[$(self.$index.to_value()),+], bytes)
            }
        }
    };
}

tuple_keys!(A.0);
tuple_keys!(A.0, B.1);
tuple_keys!(A.0, B.1, C.2);
tuple_keys!(A.0, B.1, C.2, D.3);
tuple_keys!(A.0, B.1, C.2, D.3, E.4);
tuple_keys!(A.0, B.1, C.2, D.3, E.4, F.5);
