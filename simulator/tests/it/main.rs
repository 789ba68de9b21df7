//! Tests of the simulator as a whole: it finds nothing where nothing is wrong, it finds planted bugs, and it repeats itself.

mod determinism;
mod faults;
mod planted_bugs;
mod second_opinion;
mod seeds;
mod workloads;
