//! The `duet` command: every role, tool and demo of the Duet row store.

pub mod admin;
mod command;
pub mod connection;
pub mod demo;
pub mod features;
pub mod import;
mod output;
mod progress;
mod shell;

pub use command::main;

/// The example of the README, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
