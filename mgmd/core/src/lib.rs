//! Raft-replicated cluster state of Duet, without IO.
