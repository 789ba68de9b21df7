//! What the SQL gateway reads from its clients and writes to them: packets, handshakes, parameters of prepared statements, the text
//! of statements, values.
//!
//! Everything that decodes bytes of strangers is here, apart from plans and their execution, so that it is built and fuzzed
//! without them.

pub mod accounts;
pub mod binary;
mod dialect;
pub mod error;
mod headings;
pub mod outline;
pub mod parse;
pub mod requests;
pub mod value;
pub mod wire;
