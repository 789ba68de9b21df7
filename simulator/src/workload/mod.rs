//! What clients do.

mod bank_table;
mod generator;
mod register_table;
mod registry;

pub use bank_table::{
    BANK, BankRow, FIRST_BALANCE, FIRST_SAVINGS, SAVINGS, bank_definition, bank_keys, bank_program,
    bank_values, read_bank,
};
pub use generator::{Generator, Intent};
pub use register_table::{Content, DATABASE, KeyBound, RegisterTable, Shape};
pub use registry::{WORKLOADS, Workload, workload};
