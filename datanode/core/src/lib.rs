//! The blocks of a Duet data node as plain state machines.
