//! The stream of operations of one client.

use crate::history::{Action, Fingerprint, Register};
use crate::plan::WorkloadPlan;
use crate::random::{Purpose, Random};
use duet_protocol::ids::RowVersion;
use std::collections::BTreeMap;

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Read a row.
    Read(Register),
    /// Write a row.
    Write(Register, Action),
    /// Read all rows of a table.
    Scan(u32),
}

/// Draws the operations of one client.
#[derive(Clone, Debug)]
pub struct Generator {
    /// The client's randomness; also for what the client itself decides.
    pub random: Random,
    /// The workload.
    pub plan: WorkloadPlan,
    client: u32,
    writes: u64,
    versions: BTreeMap<Register, RowVersion>,
}

impl Generator {
    /// The stream of client number `client`.
    pub fn new(seed: u64, client: u32, plan: WorkloadPlan) -> Generator {
        let random = Random::new(seed, Purpose::Client(client));
        Generator { random, plan, client, writes: 0, versions: BTreeMap::new() }
    }

    /// A fingerprint that no other write of the run has.
    pub fn fingerprint(&mut self) -> Fingerprint {
        self.writes += 1;
        (u64::from(self.client) + 1) << 40 | self.writes
    }

    /// The client has seen this version of a row; later compare-and-sets expect it.
    pub fn seen(&mut self, register: Register, version: RowVersion) {
        self.versions.insert(register, version);
    }

    /// Draws the next operation on one of `tables`, which must not be empty.
    pub fn next(&mut self, tables: &[u32]) -> Intent {
        let register = if self.random.chance(self.plan.hot_per_million) {
            Register { table: tables[0], key: 0 }
        } else {
            Register { table: *self.random.pick(tables), key: self.random.below(self.plan.keys) }
        };
        let total: u32 = self.plan.weights.iter().sum();
        let mut draw = self.random.below(u64::from(total)) as u32;
        let mut choice = 0;
        while draw >= self.plan.weights[choice] {
            draw -= self.plan.weights[choice];
            choice += 1;
        }
        let counter = self.random.below(1000) as i64;
        match choice {
            0 => Intent::Read(register),
            1 => Intent::Write(register, Action::Insert { counter }),
            2 => Intent::Write(register, Action::Upsert { counter }),
            3 => Intent::Write(register, Action::Set),
            4 => Intent::Write(register, Action::Increment),
            5 => match self.versions.get(&register) {
                Some(expected) => Intent::Write(register, Action::CompareAndSet { expected: *expected }),
                None => Intent::Read(register),
            },
            6 => Intent::Write(register, Action::Delete),
            // Scans are much larger than other operations.
            _ if self.random.chance(30_000) => Intent::Scan(register.table),
            _ => Intent::Read(register),
        }
    }
}
