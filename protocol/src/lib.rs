//! Every byte that leaves a Duet process: frames, signals, keys, rows and records.
//!
//! Nothing here does input or output, keeps time or holds state; nothing outside this crate knows byte
//! offsets. `docs/protocol.md` describes the same formats for people who write a client in another language.

pub mod error;
pub mod frame;
pub mod hash;
pub mod ids;
pub mod key;
pub mod layout;
pub mod local;
pub mod record;
pub mod row;
pub mod scan_program;
pub mod schema;
pub mod signal;
pub mod unique;
pub mod update;
pub mod value;
