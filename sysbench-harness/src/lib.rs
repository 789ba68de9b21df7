//! Benchmarks, peers and reports of Duet.
