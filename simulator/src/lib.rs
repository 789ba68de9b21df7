//! The whole Duet cluster in one thread, with faults, workloads and checkers.
