//! What clients do.

mod generator;
mod register_table;

pub use generator::{Generator, Intent};
pub use register_table::{DATABASE, RegisterTable, Shape};
