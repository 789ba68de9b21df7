//! Management nodes driven in memory: elections, registration, schema jobs, crashes, lagging and wiped members.

mod bad_input;
mod chaos;
mod cluster;
mod harness;
mod jobs;
mod members;
mod users;
