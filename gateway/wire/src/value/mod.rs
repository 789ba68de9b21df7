//! Values with MySQL's meaning: how they read and print, compare, calculate, and fit columns.

pub mod arithmetic;
pub mod calendar;
pub mod compare;
pub mod format;
pub mod literal;
pub mod number;
pub mod store;
