//! Routing, batching and transaction state of the Duet client, without IO.
//!
//! [`ClientCore`] knows the cluster map, keeps one link per data node, gives transaction ids to writes, sends every
//! operation to the node that leads its partition, tries again what may be tried again, and resolves what became
//! unknown. Whoever drives it (the shell `duet-client`, or the simulator) hands in bytes and the time and takes
//! out bytes and [`Command`]s. It is deterministic: the same events at the same times give the same bytes.

mod answers;
mod batch;
mod batches;
mod core;
mod dispatch;
mod endpoint;
mod error;
mod interface;
mod jobs;
mod key;
mod lookup;
mod map;
mod outcome;
mod query;
mod random;
mod range;
mod refresh;
mod scan;
mod session;
mod table;
mod timers;
mod transaction;
mod value;
mod wire;

pub use crate::core::ClientCore;
pub use batch::{
    Batch, Expectation, Lock, MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS, Reply, ScanRequest, Written,
};
pub use error::Error;
pub use interface::{
    ClientConfiguration, ClientCounters, CloseReason, Command, Limits, LinkId, Nanoseconds, Target,
};
pub use jobs::{JobId, JobResult};
pub use key::{EncodedKey, Key};
pub use lookup::{Lookup, LookupStep};
pub use outcome::Outcome;
pub use query::{
    Aggregate, AggregateQuery, ColumnName, Condition, PreparedAggregates, PreparedQuery, Query, avg, both,
    col, count, count_of, max, min, sum,
};
pub use range::{Bound, Fragment, FragmentRange, KeyedPage, PreparedRange, RangeQuery, RangeRequest};
pub use scan::{FragmentScan, Page, ScanImages, ScanRows};
pub use table::Table;
pub use transaction::{Ending, MAX_OPEN_TRANSACTIONS, TransactionHandle};
pub use value::{ColumnValue, Date, DateTime, Decimal, Json, Time, Timestamp};
