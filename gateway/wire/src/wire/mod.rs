//! The MySQL protocol on the server's side: packets, handshake, results, parameters.

pub mod handshake;
pub mod packet;
pub mod parameters;
pub mod results;
