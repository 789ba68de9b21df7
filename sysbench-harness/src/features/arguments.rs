//! Options of `duet bench features`.

use crate::options::{ServerRunArguments, check_rows, check_times};
use anyhow::{Result, ensure};

const MOST_ROWS: u64 = 10_000_000;
const MOST_CONNECTIONS: u32 = 256;

/// Measure feature vectors: over HTTP in the grid of Feast's benchmark, with the native client, and ingestion.
#[derive(Debug, Clone, clap::Args)]
pub struct FeaturesArguments {
    /// Entities in every feature group.
    #[arg(long, default_value_t = 10_000)]
    pub rows: u64,
    /// Entities of a request over HTTP.
    #[arg(long, value_delimiter = ',', default_value = "1,10,50,100")]
    pub entities: Vec<u64>,
    /// Features of a request over HTTP.
    #[arg(long, value_delimiter = ',', default_value = "50,150,250")]
    pub features: Vec<u32>,
    /// Requests over HTTP that are started per second.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000")]
    pub rates: Vec<f64>,
    /// Connections that requests over HTTP are spread over.
    #[arg(long, default_value_t = 16)]
    pub connections: u32,
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

/// Features of the widest group of the grid.
pub(super) const WIDEST: u32 = 250;

impl FeaturesArguments {
    /// Refuses values that make no sense, before anything is started.
    pub(super) fn check(&self) -> Result<()> {
        check_rows(self.rows)?;
        ensure!(self.rows <= MOST_ROWS, "--rows is at most {MOST_ROWS}");
        let entities = 1..=self.rows.min(1_000);
        ensure!(
            self.entities.iter().all(|count| entities.contains(count)),
            "--entities lie between 1 and the rows, at most 1000"
        );
        let features = 1..=WIDEST;
        ensure!(
            self.features.iter().all(|count| features.contains(count)),
            "--features lie between 1 and {WIDEST}"
        );
        ensure!(
            self.rates.iter().all(|rate| rate.is_finite() && (1.0..=1e6).contains(rate)),
            "--rates lie between 1 and a million"
        );
        let connections = 1..=MOST_CONNECTIONS;
        ensure!(
            connections.contains(&self.connections),
            "--connections lies between 1 and {MOST_CONNECTIONS}"
        );
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
        features: FeaturesArguments,
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_option() {
        let check = |text: &str| {
            let line = Line::try_parse_from(std::iter::once("features").chain(text.split_whitespace()));
            let line = line.map_err(|error| error.to_string())?;
            line.features.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(""), Ok(()));
        for (text, word) in [
            ("--rows 0", "--rows"),
            ("--entities 0", "--entities"),
            ("--features 251", "--features"),
            ("--rates 0", "--rates"),
            ("--connections 0", "--connections"),
            ("--seconds 0", "--seconds"),
        ] {
            let error = check(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
