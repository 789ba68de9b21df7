//! Options of `duet bench latency`.

use super::record::LatencyParameters;
use crate::options::{Placement, ServerRunArguments, check_rows, check_times};
use crate::workload::{Distribution, Mix, ValueShape, Workload};
use anyhow::{Result, ensure};
use std::time::Duration;

const SHAPE: ValueShape = ValueShape { columns: 5, column_bytes: 20 };
const LONGEST_IDLE_MS: u64 = 10_000;

/// Compare the latency of one synchronous caller, with and without idling before every operation, with a bare round trip.
#[derive(Debug, Clone, clap::Args)]
pub struct LatencyArguments {
    /// Rows of 8 + 5 × 20 bytes in the table.
    #[arg(long, default_value_t = 1_000_000)]
    pub rows: u64,
    /// Milliseconds that the caller sleeps before each operation of the cases with idling.
    #[arg(long, default_value_t = 10)]
    pub idle_ms: u64,
    /// Measured seconds per round and case.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Seconds before every measurement.
    #[arg(long, default_value_t = 0.2)]
    pub warm_up: f64,
    /// Rounds, CPUs, and what is recorded.
    #[command(flatten)]
    pub run: ServerRunArguments,
}

impl LatencyArguments {
    /// Refuses values that make no sense, before anything is started.
    pub(super) fn check(&self) -> Result<()> {
        check_rows(self.rows)?;
        self.run.check()?;
        check_times(self.seconds, self.warm_up)?;
        let idle = 1..=LONGEST_IDLE_MS;
        ensure!(idle.contains(&self.idle_ms), "--idle-ms lies between 1 and {LONGEST_IDLE_MS}");
        Ok(())
    }

    /// The table, and operations of one kind.
    pub(super) fn workload(&self, mix: Mix) -> Workload {
        let distribution = Distribution::Uniform;
        Workload { rows: self.rows, shape: SHAPE, distribution, mix, seed: self.run.seed }
    }

    /// The pause before each operation of the cases with idling.
    pub(super) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }

    /// The parameters as they are recorded.
    pub(super) fn parameters(&self, placement: &Placement) -> LatencyParameters {
        LatencyParameters {
            common: self.run.parameters(self.rows, SHAPE, self.warm_up, placement),
            seconds: self.seconds,
            idle_ms: self.idle_ms,
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
        latency: LatencyArguments,
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_option() {
        let check = |text: &str| {
            let line = Line::try_parse_from(std::iter::once("latency").chain(text.split_whitespace()));
            let line = line.map_err(|error| error.to_string())?;
            line.latency.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(""), Ok(()));
        for (text, word) in [
            ("--rows 0", "--rows"),
            ("--idle-ms 0", "--idle-ms"),
            ("--seconds 0", "--seconds"),
            ("--rounds 0", "--rounds"),
            ("--no-pin --client-cpus 0", "--no-pin"),
        ] {
            let error = check(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
