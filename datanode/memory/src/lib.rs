//! Arenas, row slots and the hash index of a Duet data node.
