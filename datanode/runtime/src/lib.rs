//! Threads, links and clocks under the Duet data node.
