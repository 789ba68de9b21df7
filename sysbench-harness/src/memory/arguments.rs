//! Options of `duet bench memory`.

use super::record::MemoryParameters;
use super::subject::{Configuration, VALUE_BYTES};
use crate::options::{RecordArguments, check_rounds, check_rows};
use crate::workload::KEY_BYTES;
use anyhow::{Result, ensure};

const MOST_BATCH: usize = 1024;
const MOST_LOOKUPS: u64 = 1 << 32;
const MOST_FRAGMENTS: usize = 1024;
const MOST_CONFIGURATIONS: usize = 16;
/// Fewer rows cannot be split into slices of growth.
const FEWEST_ROWS: u64 = 1000;

/// Measure arenas and hash indexes of a data node by themselves, in one thread: bytes per row, growth, lookups.
#[derive(Debug, Clone, clap::Args)]
pub struct MemoryArguments {
    /// Rows of 8 + 100 bytes in each configuration, all of which are in memory at the same time.
    #[arg(long, default_value_t = 4_000_000)]
    pub rows: u64,
    /// Fragments that the rows are spread over, each with an index of its own, in one arena; several are compared. The first one is
    /// also measured without huge pages, and with an ordered index of random keys.
    #[arg(long, value_delimiter = ',', default_value = "1,2,8")]
    pub fragments: Vec<usize>,
    /// Lookups that go through their stages together.
    #[arg(long, default_value_t = 128)]
    pub batch: usize,
    /// Lookups per round, configuration and way.
    #[arg(long, default_value_t = 1_000_000)]
    pub lookups: u64,
    /// Slices of growth, and rounds of lookups; the table shows medians over them.
    #[arg(long, default_value_t = 8)]
    pub rounds: u32,
    /// Seed of the keys that are looked up.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Whether and where it is recorded.
    #[command(flatten)]
    pub record: RecordArguments,
}

impl MemoryArguments {
    /// Refuses values that make no sense, before memory is taken.
    pub(super) fn check(&self) -> Result<()> {
        check_rows(self.rows)?;
        ensure!(self.rows >= FEWEST_ROWS, "--rows is at least {FEWEST_ROWS}");
        check_rounds(self.rounds)?;
        ensure!(u64::from(self.rounds) <= self.rows / 100, "--rounds is at most a hundredth of --rows");
        ensure!((1..=MOST_BATCH).contains(&self.batch), "--batch lies between 1 and {MOST_BATCH}");
        ensure!((1..=MOST_LOOKUPS).contains(&self.lookups), "--lookups lies between 1 and {MOST_LOOKUPS}");
        let mut counts = self.fragments.clone();
        counts.sort_unstable();
        ensure!(counts.windows(2).all(|pair| pair[0] != pair[1]), "--fragments names a number twice");
        ensure!(
            counts.len() < MOST_CONFIGURATIONS,
            "--fragments names fewer than {MOST_CONFIGURATIONS} numbers"
        );
        ensure!(
            !counts.is_empty() && counts.iter().all(|count| (1..=MOST_FRAGMENTS).contains(count)),
            "--fragments lie between 1 and {MOST_FRAGMENTS}"
        );
        Ok(())
    }

    /// What is compared: the first one is what the others are multiples of.
    pub(super) fn configurations(&self) -> Vec<Configuration> {
        let huge = |&fragments| Configuration { huge_pages: true, fragments, ordered: false };
        let mut all: Vec<Configuration> = self.fragments.iter().map(huge).collect();
        if let Some(first) = all.first().copied() {
            all.insert(1, Configuration { huge_pages: false, ..first });
            all.push(Configuration { ordered: true, ..first });
        }
        all
    }

    /// The parameters as they are recorded.
    pub(super) fn parameters(&self) -> MemoryParameters {
        MemoryParameters {
            rows: self.rows,
            key_bytes: KEY_BYTES,
            value_bytes: VALUE_BYTES,
            batch: self.batch,
            lookups: self.lookups,
            rounds: self.rounds,
            seed: self.seed,
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
        memory: MemoryArguments,
    }

    fn parse(text: &str) -> std::result::Result<MemoryArguments, String> {
        let line = Line::try_parse_from(std::iter::once("memory").chain(text.split_whitespace()));
        let memory = line.map_err(|error| error.to_string())?.memory;
        memory.check().map_err(|error| error.to_string())?;
        Ok(memory)
    }

    #[test]
    fn every_number_of_fragments_has_huge_pages_and_the_first_also_small_ones_and_an_ordered_index() {
        let all = parse("").unwrap().configurations();
        let all: Vec<_> = all.iter().map(|it| (it.huge_pages, it.fragments, it.ordered)).collect();
        let expected =
            [(true, 1, false), (false, 1, false), (true, 2, false), (true, 8, false), (true, 1, true)];
        assert_eq!(all, expected);
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_option() {
        for (text, word) in [
            ("--rows 5", "--rows"),
            ("--fragments 0", "--fragments"),
            ("--fragments 2,2", "--fragments"),
            ("--batch 0", "--batch"),
            ("--lookups 0", "--lookups"),
            ("--rounds 0", "--rounds"),
            ("--rounds 100 --rows 1000", "--rounds"),
        ] {
            let error = parse(text).err().unwrap_or_else(|| panic!("{text} is refused"));
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
