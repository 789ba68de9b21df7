//! What clients do.

mod bank_table;
mod column_table;
mod expiring_table;
mod generator;
mod list_table;
mod member_table;
mod register_table;
mod registry;

pub use bank_table::{
    BANK, BankRow, FIRST_BALANCE, FIRST_SAVINGS, SAVINGS, bank_definition, bank_keys, bank_program,
    bank_values, read_bank,
};
pub use column_table::{
    ADDED_COLUMNS, COLUMN_OF_NUMBER, COLUMN_OF_TIME, COLUMNS, FIRST_COLUMNS, FIRST_SHARED, SHARED_ROWS,
    added_column, columns_definition, default_of, is_number, value_of,
};
pub use expiring_table::{EVENT_TIME, EXPIRING, NUMBER, event_time, expiring_definition, wall_clock};
pub use generator::{Generator, Intent};
pub use list_table::{LISTS, LONGEST_LIST, list_bytes, list_definition, list_values, read_list};
pub use member_table::{
    BADGE, BY_BADGE, BY_SEAT, COUNTERS, FIRST_COUNTER, FIRST_GUEST, GUEST_BADGES, GUESTS, HOLDERS, MEMBERS,
    TOKENS, counter_badge, first_members, member, member_definition,
};
pub use register_table::{Content, DATABASE, KeyBound, PASSING_INDEX, RegisterTable, Shape};
pub use registry::{WORKLOADS, Workload, workload};

/// Tables of their own workloads: not those of the registers.
pub const OTHER_TABLES: &[&str] = &[BANK, LISTS, MEMBERS, EXPIRING, COLUMNS];
