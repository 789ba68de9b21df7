//! Online feature store on the Duet row store.
//!
//! A *feature group* is a table of features of one kind of entity; a *feature view* selects features of several groups in an
//! order that never changes for a version. [`FeatureStore`] keeps both in tables of the cluster.
//! [`FeatureStore::prepare`] resolves a view once; [`PreparedView::get_many`] then reads any number of vectors as one
//! batched look-up by key over all groups. [`GroupWriter`] writes rows so that an older event never overwrites a newer
//! one, which the data node decides that holds the row.

pub mod catalogue;
pub mod columnar;
mod definition;
mod error;
mod feature_type;
pub mod json;
pub mod server;
pub mod time;
mod vectors;
mod view;
mod writer;

pub use catalogue::{FeatureStore, Group};
pub use definition::{Feature, GroupDefinition, Versioned, ViewDefinition, ViewFeature, ViewSource};
pub use error::{FeatureError, Reason, Result};
pub use feature_type::FeatureType;
pub use vectors::{FeatureValue, GroupStatus, Vector, Vectors};
pub use view::{PreparedFeature, PreparedGroup, PreparedView, ReadOptions, ServingKey};
pub use writer::{GroupWriter, RowOutcome, WriteReport};
