//! Share of reads and updates.

use anyhow::{Context, bail, ensure};
use std::fmt;
use std::str::FromStr;

/// Percentages of the kinds of operations; they sum to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    /// Percentage of committed reads.
    pub read: u8,
    /// Percentage of updates of all value columns.
    pub update: u8,
}

impl Mix {
    /// Nothing but reads.
    pub const READS: Self = Self { read: 100, update: 0 };
    /// Nothing but updates.
    pub const UPDATES: Self = Self { read: 0, update: 100 };
}

impl FromStr for Mix {
    type Err = anyhow::Error;

    /// Reads `read=50,update=50`; a kind that is not named has 0 percent.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut mix = Self { read: 0, update: 0 };
        for part in text.split(',') {
            let (name, percent) =
                part.split_once('=').with_context(|| format!("`{part}` is not of the form kind=percent"))?;
            let percent: u8 =
                percent.trim().parse().with_context(|| format!("`{percent}` is not a whole percentage"))?;
            match name.trim() {
                "read" => mix.read = percent,
                "update" => mix.update = percent,
                other => bail!("unknown kind of operation `{other}`; known are read and update"),
            }
        }
        let sum = u32::from(mix.read) + u32::from(mix.update);
        ensure!(sum == 100, "the percentages of `{text}` sum to {sum}, not 100");
        Ok(mix)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.read, self.update) {
            (read, 0) => write!(formatter, "read={read}"),
            (0, update) => write!(formatter, "update={update}"),
            (read, update) => write!(formatter, "read={read},update={update}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for text in ["read=100", "update=100", "read=95,update=5"] {
            assert_eq!(text.parse::<Mix>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_does_not_sum_to_100() {
        for text in ["read=50", "read=50,update=51", "delete=100", "read", "read=-1", "", "read=300"] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }
}
