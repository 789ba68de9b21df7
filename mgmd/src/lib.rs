//! The Duet management node.
