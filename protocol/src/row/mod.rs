//! Rows: a key and a *value image* that holds the columns outside the primary key.
//!
//! A value image is canonical: equal values are equal bytes, so replicas can be compared byte by
//! byte. `docs/protocol-rows.md` draws it.

mod cell;
mod codec;
pub(crate) mod encode;
mod error;
#[cfg(test)]
pub(crate) mod strategies;
#[cfg(test)]
mod tests;
mod validate;
mod version;
mod view;

pub(crate) use cell::{Cell, Form};
pub(crate) use codec::ColumnCodec;
pub use error::RowError;
pub use version::TableLayouts;
pub use view::RowView;
