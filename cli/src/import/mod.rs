//! `duet import`: a Parquet or CSV file becomes rows of a table.

pub mod cell;
mod columnar;
pub mod definition;
pub mod profile;
pub mod rows;
pub mod source;
mod text;
