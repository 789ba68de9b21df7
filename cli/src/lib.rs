//! The `duet` command: every role, tool and demo of the Duet row store.

pub mod admin;
mod command;
pub mod connection;
pub mod demo;
pub mod import;
mod progress;

pub use command::main;
