//! The native client of the Duet row store.
//!
//! ```no_run
//! use duet_client::{Client, ColumnType, Row, TableDefinition};
//!
//! # async fn example() -> Result<(), duet_client::Error> {
//! let client = Client::connect("127.0.0.1:4567").await?;
//! let definition = TableDefinition::builder("shop", "users")
//!     .required("id", ColumnType::BigInt)
//!     .required("name", ColumnType::Varchar { characters: 64 })
//!     .nullable("credit", ColumnType::Int)
//!     .primary_key(["id"])
//!     .build()?;
//! let users = client.create_table(definition).await?;
//! client.insert(&users, Row::new(&users).with("id", 7)?.with("name", "Ada")?).await?;
//! let user = client.get(&users, 7).await?.expect("just inserted");
//! assert_eq!(user.get::<String>("name")?, "Ada");
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is cheap to clone and safe to share: all tasks use one connection per data node, and operations
//! submitted at the same moment travel in one frame. Rows are dynamic ([`struct@Row`]) or typed (`#[derive(Row)]` and
//! [`TypedTable`]). Many operations at once go into a [`Batch`]. Programs without an asynchronous runtime use
//! [`blocking::Client`].
//!
//! Errors say by number what happened, where, and whether trying again may help. The client itself tries again what
//! may be tried again until the deadline (five seconds unless told otherwise); a write keeps its transaction id, so
//! that it happens at most once. A write whose fate is not known at the deadline ends in
//! [`ErrorCode::OutcomeUnknown`]; [`Client::resolve`] tells later what became of it.

// The derive macro names this crate, also when it is used in here.
extern crate self as duet_client;

pub mod blocking;
mod builder;
mod client;
mod driver;
mod entropy;
mod input;
mod mapping;
mod row;
mod scan;
mod shared;
mod typed;

pub use builder::ClientBuilder;
pub use client::{Client, DEFAULT_DATABASE};
pub use duet_client_core::{
    Batch, ColumnValue, Date, DateTime, Decimal, EncodedKey, Error, Expectation, Json, Key, Limits, Outcome,
    Reply, Table as TableInfo, Time, Timestamp, Written,
};
/// Makes a struct a row of a table; see [`TableRow`].
pub use duet_client_derive::Row;
pub use duet_protocol::error::ErrorCode;
pub use duet_protocol::ids::{RowVersion, TransactionId};
pub use duet_protocol::record::{ClusterState, ClusterStatus};
pub use duet_protocol::row::RowView;
pub use duet_protocol::schema::{Column, ColumnType, TableDefinition};
pub use duet_protocol::update::Assignment;
pub use duet_protocol::value::{Value, ValueRef};
pub use row::{Row, RowValues};
pub use scan::Scan;
#[doc(hidden)]
pub use typed::with_length;
pub use typed::{RowField, TableRow, TypedTable};

/// A table as operations refer to it; cheap to clone. Get one from [`Client::table`] or [`Client::create_table`].
pub type Table = std::sync::Arc<TableInfo>;
/// What the client's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
