//! The native client of the Duet row store.
//!
//! ```no_run
//! use duet_client::{Assignment, Client, Row};
//!
//! #[derive(Row, Debug, PartialEq)]
//! #[duet(table = "bank.accounts")]
//! struct Account {
//!     #[duet(key)]
//!     number: i64,
//!     #[duet(length = 64)]
//!     owner: String,
//!     balance: Option<i64>,
//! }
//!
//! # async fn example() -> Result<(), duet_client::Error> {
//! let client = Client::connect("127.0.0.1:4567").await?;
//! let accounts = client.open_or_create_typed_table::<Account>().await?;
//! accounts.upsert(&Account { number: 7, owner: "Ada".to_owned(), balance: Some(5) }).await?;
//! accounts.update(7, &[("owner", Assignment::Set("Eve".into()))]).await?;
//! client.increment(accounts.table(), 7, "balance", 10).await?;
//! println!("{:?}", accounts.get(7).await?);
//!
//! // The same row by the names of its columns, without a struct.
//! let table = client.table("bank.accounts").await?;
//! client.upsert(&table, Row::new(&table).with("number", 8)?.with("owner", "Bob")?).await?;
//! if let Some(row) = client.get(&table, 8).await? {
//!     assert_eq!(row.get::<String>("owner")?, "Bob");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is cheap to clone and safe to share: all tasks use one connection per data node, and operations
//! submitted at the same moment travel in one frame. Rows are dynamic ([`struct@Row`]) or typed (`#[derive(Row)]` and
//! [`TypedTable`]). Many operations at once go into a [`Batch`]. Programs without an asynchronous runtime use
//! [`blocking::Client`] and [`blocking::TypedTable`].
//!
//! Several operations that must happen together or not at all are a transaction: [`Client::transaction`] runs a closure in one and
//! tries it again where that may help, [`Client::begin`] leaves that to the caller. Rows that it changes, or reads with
//! [`Transaction::get_for_update`] or [`Transaction::get_for_share`], stay locked until it ends.
//!
//! [`Client::scan`] reads all rows of a table, or those that pass a filter, or aggregates of them: filter, selected columns
//! and aggregates are evaluated by the data nodes. [`Client::range`] reads those between two places of an ordered index, in its
//! order if that is wanted.
//!
//! Errors say by number what happened, where, and whether trying again may help. The client itself tries again what
//! may be tried again until the deadline (five seconds unless told otherwise); a write keeps its transaction id, so
//! that it happens at most once. A write whose fate is not known at the deadline ends in
//! [`ErrorCode::OutcomeUnknown`]; [`Client::resolve`] tells later what became of it.

// The derive macro names this crate, also when it is used in here.
extern crate self as duet_client;

mod address;
pub mod blocking;
mod builder;
mod client;
mod clock;
mod driver;
mod entropy;
mod input;
mod lookup;
mod management;
mod mapping;
mod network;
mod range;
mod row;
mod scan;
mod shared;
mod transaction;
mod typed;
mod users;

pub use builder::ClientBuilder;
pub use client::{Client, DEFAULT_DATABASE};
pub use duet_client_core::{
    Aggregate, AggregateQuery, Batch, Bound, ColumnName, ColumnValue, Condition, Date, DateTime, Decimal,
    EncodedKey, Ending, Error, Expectation, Json, Key, Limits, Lock, Outcome, Query, Reply,
    Table as TableInfo, Time, Timestamp, Written, avg, col, count, count_of, max, min, sum,
};
/// Makes a struct a row of a table; see [`TableRow`].
pub use duet_client_derive::Row;
pub use duet_protocol::error::ErrorCode;
pub use duet_protocol::ids::{RowVersion, TransactionId};
pub use duet_protocol::record::{
    ClusterState, ClusterStatus, LeaveRequest, Leaving, MAX_USER_CHARACTERS, ManagementChange,
    ManagementRole, ManagementStatus, Member, MemberState, NodeRecord, NodeStatus, UserChange, UserList,
    UserRecord, View,
};
pub use duet_protocol::row::RowView;
pub use duet_protocol::schema::{
    Column, ColumnType, CurrentTime, IndexDefinition, IndexKind, PrimaryKeyOrder, TableDefinition,
};
pub use duet_protocol::update::Assignment;
pub use duet_protocol::value::{Value, ValueRef};
pub use range::Range;
pub use row::{Row, RowValues};
pub use scan::{AggregateScan, Scan};
pub use shared::PooledBatch;
pub use transaction::{Transaction, TypedTransaction};
#[doc(hidden)]
pub use typed::with_length;
pub use typed::{RowField, TableRow, TypedRange, TypedScan, TypedTable};
pub use users::user_with_password;

/// A table as operations refer to it; cheap to clone. Get one from [`Client::table`] or [`Client::create_table`].
pub type Table = std::sync::Arc<TableInfo>;
/// What the client's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
