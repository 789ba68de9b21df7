//! Options of `duet bench hot`.

use crate::options::{ServerRunArguments, check_rows, check_times};
use anyhow::{Result, ensure};

const MOST_CLIENTS: u32 = 1_024;
const MOST_ROWS: u64 = 1_000_000;

/// Measure increments of few rows by many clients, and verify that none is lost.
#[derive(Debug, Clone, clap::Args)]
pub struct HotArguments {
    /// Rows that are incremented.
    #[arg(long, default_value_t = 8)]
    pub rows: u64,
    /// Clients, each with one increment in flight.
    #[arg(long, default_value_t = 64)]
    pub clients: u32,
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

impl HotArguments {
    /// Refuses values that make no sense, before anything is started.
    pub(super) fn check(&self) -> Result<()> {
        check_rows(self.rows)?;
        ensure!(self.rows <= MOST_ROWS, "--rows is at most {MOST_ROWS}");
        ensure!((1..=MOST_CLIENTS).contains(&self.clients), "--clients lies between 1 and {MOST_CLIENTS}");
        self.run.check()?;
        check_times(self.seconds, self.warm_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        hot: HotArguments,
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_option() {
        let check = |text: &str| {
            let line = Line::try_parse_from(std::iter::once("hot").chain(text.split_whitespace()));
            let line = line.map_err(|error| error.to_string())?;
            line.hot.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(""), Ok(()));
        for (text, word) in [
            ("--rows 0", "--rows"),
            ("--rows 1000001", "--rows"),
            ("--clients 0", "--clients"),
            ("--seconds 0", "--seconds"),
            ("--rounds 0", "--rounds"),
        ] {
            let error = check(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
