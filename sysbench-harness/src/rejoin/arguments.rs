//! Options of `duet bench rejoin`.

use crate::options::RecordArguments;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

const MOST_BYTES: u64 = 1 << 40;
const MOST_SECONDS: f64 = 86_400.0;

/// Measure how long a data node needs that comes back without its memory, and what is left for clients meanwhile.
#[derive(Debug, Clone, clap::Args)]
pub struct RejoinArguments {
    /// Bytes of all keys and values, such as 64MiB or 1GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, default_value = "1GiB")]
    pub rows_bytes: u64,
    /// Bytes of the value of a row.
    #[arg(long, default_value_t = 100)]
    pub value_bytes: usize,
    /// Callers, each with one batch in flight.
    #[arg(long, default_value_t = 4)]
    pub callers: u32,
    /// Operations of a batch: half of them reads, half updates, of random keys.
    #[arg(long, default_value_t = 32)]
    pub batch: usize,
    /// Measured seconds before the node is killed, while it is away, and after it has come back.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Seed of keys.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The duet executable that runs the servers [default: this one].
    #[arg(long, hide = true)]
    pub executable: Option<PathBuf>,
    /// Whether and where it is recorded.
    #[command(flatten)]
    pub record: RecordArguments,
}

impl RejoinArguments {
    /// Refuses values that make no sense, before anything is started.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(
            (1 << 16..=MOST_BYTES).contains(&self.rows_bytes),
            "--rows-bytes lies between 64KiB and 1024GiB"
        );
        ensure!((1..=8_000).contains(&self.value_bytes), "--value-bytes lies between 1 and 8000");
        ensure!((1..=1_024).contains(&self.callers), "--callers lies between 1 and 1024");
        ensure!((2..=4_096).contains(&self.batch), "--batch lies between 2 and 4096");
        let possible = self.seconds.is_finite() && self.seconds > 0.0 && self.seconds <= MOST_SECONDS;
        ensure!(possible, "--seconds lies above 0 and at most at a day");
        Ok(())
    }

    pub(super) fn executable(&self) -> Result<PathBuf> {
        match &self.executable {
            Some(path) => Ok(path.clone()),
            None => std::env::current_exe().context("cannot find this executable"),
        }
    }
}

/// Bytes with a binary unit.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(format!("'{text}' is no size; write for example 64MiB or 1GiB")),
    };
    let number: u64 = number.parse().map_err(|_| format!("'{text}' is no size; write for example 1GiB"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is more than any machine has"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        rejoin: RejoinArguments,
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_option() {
        let check = |text: &str| {
            let line = Line::try_parse_from(std::iter::once("rejoin").chain(text.split_whitespace()));
            let line = line.map_err(|error| error.to_string())?;
            line.rejoin.check().map_err(|error| error.to_string())?;
            Ok::<u64, String>(line.rejoin.rows_bytes)
        };
        assert_eq!(check(""), Ok(1 << 30));
        assert_eq!(check("--rows-bytes 3MiB"), Ok(3 << 20));
        for (text, word) in [
            ("--rows-bytes 5", "--rows-bytes"),
            ("--rows-bytes 1.5GiB", "size"),
            ("--rows-bytes 99999999999GiB", "machine"),
            ("--value-bytes 0", "--value-bytes"),
            ("--callers 0", "--callers"),
            ("--batch 1", "--batch"),
            ("--seconds 0", "--seconds"),
        ] {
            let error = check(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
