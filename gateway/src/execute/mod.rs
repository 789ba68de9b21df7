//! Statements at work.

pub mod alone;
pub mod explain;
pub mod insert;
pub mod locked;
pub mod packed;
pub mod read;
pub mod select;
pub mod transaction;
pub mod write;
