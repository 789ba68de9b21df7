//! Options of `duet bench scan`.

use crate::options::{ServerRunArguments, check_rows, check_times};
use anyhow::{Result, ensure};

const MOST_FRAGMENTS: usize = 64;

/// Measure scans that filter and aggregate at the data node: rows per second of one core that owns data.
#[derive(Debug, Clone, clap::Args)]
pub struct ScanArguments {
    /// Rows of 8 + 100 bytes in the table.
    #[arg(long, default_value_t = 5_000_000)]
    pub rows: u64,
    /// Groups of the case with many of them.
    #[arg(long, default_value_t = 150_000)]
    pub groups: u64,
    /// Fragments that are read at the same time.
    #[arg(long, default_value_t = 8)]
    pub fragments: usize,
    /// Seconds per round of reading ranges of 100 rows, in one partition and then in all.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Rounds, CPUs, and what is recorded.
    #[command(flatten)]
    pub run: ServerRunArguments,
}

impl ScanArguments {
    /// Refuses values that make no sense, before anything is started.
    pub(super) fn check(&self) -> Result<()> {
        check_rows(self.rows)?;
        self.run.check()?;
        ensure!((1..=self.rows).contains(&self.groups), "--groups lies between 1 and --rows");
        ensure!(self.groups <= 1_000_000, "--groups is at most 1000000");
        check_times(self.seconds, 0.0)?;
        let fragments = 1..=MOST_FRAGMENTS;
        ensure!(fragments.contains(&self.fragments), "--fragments lies between 1 and {MOST_FRAGMENTS}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        scan: ScanArguments,
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_option() {
        let check = |text: &str| {
            let line = Line::try_parse_from(std::iter::once("scan").chain(text.split_whitespace()));
            let line = line.map_err(|error| error.to_string())?;
            line.scan.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(""), Ok(()));
        for (text, word) in [
            ("--rows 0", "--rows"),
            ("--groups 0", "--groups"),
            ("--rows 10 --groups 11", "--groups"),
            ("--fragments 65", "--fragments"),
            ("--seconds 0", "--seconds"),
            ("--rounds 0", "--rounds"),
        ] {
            let error = check(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
