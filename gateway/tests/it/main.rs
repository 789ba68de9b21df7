//! Tests of the gateway with real processes.

mod access;
mod clients;
mod cluster;
mod failover;
mod introspection;
mod large;
mod mariadb;
mod moments;
mod protocol;
mod queries;
mod statements;
