//! Composition root of the Duet data node.
