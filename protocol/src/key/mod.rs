//! Primary keys as bytes whose order is the order of the values.
//!
//! A key is the concatenation of its components in primary-key order. Comparing two keys of a table
//! with `memcmp` compares their values column by column. Source of the encoding of strings: the
//! memcomparable format of MyRocks and `FoundationDB`'s tuple layer.

mod component;
mod index;
#[cfg(test)]
mod tests;

use xxhash_rust::xxh3::Xxh3;

pub use index::{IndexLayout, pass_prefix};

pub(crate) use component::{
    component_bytes, content as component_content, fixed_cell as fixed_component_cell, longest_component,
};

use crate::hash::key_hash;
use crate::layout::{PartitionKey, TableLayout};
use crate::row::RowError;
use crate::schema::MAX_KEY_BYTES;
use crate::value::{AsValue, Value, ValueRef};

impl TableLayout {
    /// Appends the key of `values`, given in primary-key order, to `key`; on error `key` is as before.
    ///
    /// # Errors
    /// When the number of values or a value does not fit the primary key.
    pub fn encode_key<V: AsValue>(&self, values: &[V], key: &mut Vec<u8>) -> Result<(), RowError> {
        if values.len() != self.key.len() {
            return Err(RowError::WrongValueCount { expected: self.key.len(), found: values.len() });
        }
        self.append_key(|position| values[position].as_value(), key)
    }

    /// Appends the key whose component `position` has the value `value_at(position)`.
    pub(crate) fn append_key<'v>(
        &self,
        value_at: impl Fn(usize) -> ValueRef<'v>,
        key: &mut Vec<u8>,
    ) -> Result<(), RowError> {
        let start = key.len();
        let result = self.key.iter().enumerate().try_for_each(|(position, component)| {
            let codec = self.key_codec(*component);
            match codec.cell_of(&value_at(position))? {
                Some(cell) => component::append(codec, cell, key),
                None => Err(codec.null_not_allowed()),
            }
        });
        if result.is_err() {
            key.truncate(start);
        }
        result
    }

    /// Checks that `key` is exactly the encoding of a primary key of this table. Allocates nothing.
    ///
    /// # Errors
    /// The first component that is malformed or holds what its column may not hold.
    #[inline]
    pub fn validate_key(&self, key: &[u8]) -> Result<(), RowError> {
        if self.key_needs_no_check && self.key_bytes == Some(key.len()) {
            return Ok(());
        }
        self.validate_key_components(key)
    }

    fn validate_key_components(&self, key: &[u8]) -> Result<(), RowError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(RowError::KeyTooLarge { bytes: key.len() });
        }
        let mut rest = key;
        for position in 0..self.key.len() {
            let (component, after) = self.split_component(position, rest)?;
            component::check(self.key_codec(self.key[position]), component)?;
            rest = after;
        }
        match self.key.last() {
            Some(last) if !rest.is_empty() => Err(RowError::MalformedKey {
                column: self.key_codec(*last).name.clone(),
                reason: "bytes follow the last component",
            }),
            _ => Ok(()),
        }
    }

    /// The values of a key, in primary-key order.
    ///
    /// # Errors
    /// When the key is malformed; see [`Self::validate_key`].
    pub fn decode_key(&self, key: &[u8]) -> Result<Vec<Value>, RowError> {
        self.validate_key(key)?;
        (0..self.key.len()).map(|position| self.key_value(key, position).map(Value::from)).collect()
    }

    /// The hash that places the row of this key: XXH3-64 of the components of the partition key, in
    /// primary-key order. Allocates nothing. Any bytes have a hash; those of a malformed key mean nothing.
    #[inline]
    #[must_use]
    pub fn partition_hash(&self, key: &[u8]) -> u64 {
        match self.partition_key {
            PartitionKey::Whole => key_hash(key),
            PartitionKey::FixedPrefix { bytes } => key_hash(key.get(..bytes).unwrap_or(key)),
            PartitionKey::Prefix { components } => key_hash(self.key_prefix(key, components)),
            PartitionKey::Scattered => self.scattered_hash(key),
        }
    }

    /// As [`Self::partition_hash`], when `hash`, the [`key_hash`] of the whole key, is known already.
    #[inline]
    #[must_use]
    pub fn partition_hash_from(&self, key: &[u8], hash: u64) -> u64 {
        if matches!(self.partition_key, PartitionKey::Whole) { hash } else { self.partition_hash(key) }
    }

    /// The bytes of the first components.
    fn key_prefix<'k>(&self, key: &'k [u8], components: usize) -> &'k [u8] {
        let mut rest = key;
        for position in 0..components {
            match self.split_component(position, rest) {
                Ok((_, after)) => rest = after,
                Err(_) => return key,
            }
        }
        &key[..key.len() - rest.len()]
    }

    fn scattered_hash(&self, key: &[u8]) -> u64 {
        let mut hash = Xxh3::new();
        let mut rest = key;
        for (position, part) in self.key.iter().enumerate() {
            let Ok((component, after)) = self.split_component(position, rest) else { return key_hash(key) };
            if part.in_partition_key {
                hash.update(component);
            }
            rest = after;
        }
        hash.digest()
    }

    /// The value of the key's component `position`, which must be less than their number.
    pub(crate) fn key_value<'k>(&self, key: &'k [u8], position: usize) -> Result<ValueRef<'k>, RowError> {
        let mut rest = key;
        for before in 0..position {
            rest = self.split_component(before, rest)?.1;
        }
        let (component, _) = self.split_component(position, rest)?;
        component::value(self.key_codec(self.key[position]), component)
    }

    /// The bytes of the key's component `position` with its terminator, or `None` when the key is malformed before it.
    #[inline]
    pub(crate) fn key_component<'k>(&self, key: &'k [u8], position: usize) -> Option<&'k [u8]> {
        let mut rest = key;
        for before in 0..position {
            rest = self.split_component(before, rest).ok()?.1;
        }
        self.split_component(position, rest).ok().map(|(component, _)| component)
    }

    /// Splits the component `position` off the bytes that begin with it.
    #[inline]
    fn split_component<'k>(
        &self,
        position: usize,
        bytes: &'k [u8],
    ) -> Result<(&'k [u8], &'k [u8]), RowError> {
        let codec = self.key_codec(self.key[position]);
        match component::measure(codec.form, bytes) {
            Ok(length) => Ok(bytes.split_at(length)),
            Err(reason) => Err(RowError::MalformedKey { column: codec.name.clone(), reason }),
        }
    }
}
