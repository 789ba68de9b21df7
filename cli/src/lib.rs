//! The `duet` command: every role, tool and demo of the Duet row store.

pub mod demo;
pub mod import;
