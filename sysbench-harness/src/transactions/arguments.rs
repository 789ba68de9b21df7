//! Options of `duet bench transactions`.

use crate::driver::{Length, Plan};
use crate::options::{ServerRunArguments, check_rows, check_times};
use crate::workload::{Distribution, Mix, ValueShape, Workload};
use anyhow::{Result, ensure};
use std::time::Duration;

const SHAPE: ValueShape = ValueShape { columns: 5, column_bytes: 20 };
/// Operations in flight of the cases that are compared with recorded runs of `duet bench keys`.
pub(super) const KEYS_BATCH: usize = 128;
const MOST_IN_FLIGHT: u32 = 4_096;
const MOST_OPERATIONS: usize = 16;

/// Compare transactions of updates in different partitions with as many updates that are committed one by one.
#[derive(Debug, Clone, clap::Args)]
pub struct TransactionsArguments {
    /// Rows of 8 + 5 × 20 bytes in the table.
    #[arg(long, default_value_t = 4_000_000)]
    pub rows: u64,
    /// Updates of a transaction, each in a partition of its own.
    #[arg(long, default_value_t = 4)]
    pub updates: usize,
    /// Transactions in flight, and groups of as many updates that are committed one by one.
    #[arg(long, default_value_t = 32)]
    pub in_flight: u32,
    /// Measured seconds per round and case.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Seconds before every measurement.
    #[arg(long, default_value_t = 0.5)]
    pub warm_up: f64,
    /// Rounds, CPUs, and what is recorded.
    #[command(flatten)]
    pub run: ServerRunArguments,
}

impl TransactionsArguments {
    /// Refuses values that make no sense, before anything is started.
    pub(super) fn check(&self) -> Result<()> {
        check_rows(self.rows)?;
        self.run.check()?;
        check_times(self.seconds, self.warm_up)?;
        let flight = 1..=MOST_IN_FLIGHT;
        ensure!(flight.contains(&self.in_flight), "--in-flight lies between 1 and {MOST_IN_FLIGHT}");
        let updates = 1..=MOST_OPERATIONS;
        ensure!(updates.contains(&self.updates), "--updates lies between 1 and {MOST_OPERATIONS}");
        let held = u64::from(self.in_flight) * self.updates as u64;
        ensure!(self.rows >= held * 16, "--rows is at least 16 × --in-flight × --updates");
        Ok(())
    }

    /// The table of `duet bench keys`, and operations of one kind.
    pub(super) fn workload(&self, mix: Mix) -> Workload {
        let distribution = Distribution::Uniform;
        Workload { rows: self.rows, shape: SHAPE, distribution, mix, seed: self.run.seed }
    }

    /// As `duet bench keys` drives by default.
    pub(super) fn plan(&self) -> Plan {
        Plan {
            threads: 1,
            batch: KEYS_BATCH,
            callers: 0,
            rate: None,
            whole_batches: false,
            length: Length::Time(Duration::from_secs_f64(self.seconds)),
            warm_up: Duration::from_secs_f64(self.warm_up),
            verify: self.run.verify,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        transactions: TransactionsArguments,
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_option() {
        let check = |text: &str| {
            let line = Line::try_parse_from(std::iter::once("transactions").chain(text.split_whitespace()));
            let line = line.map_err(|error| error.to_string())?;
            line.transactions.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(""), Ok(()));
        for (text, word) in [
            ("--rows 100", "--rows"),
            ("--updates 17", "--updates"),
            ("--in-flight 0", "--in-flight"),
            ("--seconds 0", "--seconds"),
            ("--rounds 0", "--rounds"),
        ] {
            let error = check(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
