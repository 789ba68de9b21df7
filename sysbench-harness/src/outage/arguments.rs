//! Options of `duet bench outage`.

use super::fault::Fault;
use crate::options::RecordArguments;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

const MOST_RUNS: u32 = 10_000;
const MOST_SECONDS: f64 = 86_400.0;
const MOST_KEYS: u32 = 64;

/// Measure how long a client's keys are not served when something fails, and judge every answer.
///
/// Each run strikes a cluster of child processes once, and heals it again. Faults that drop packets happen in network namespaces of
/// their own: for those the command starts itself again in a new one, by `unshare`; `ip` and `nft` must be there.
#[derive(Debug, Clone, clap::Args)]
pub struct OutageArguments {
    /// Runs of every fault.
    #[arg(long, default_value_t = 100)]
    pub runs: u32,
    /// Faults, each in a cluster of its own [default: all but busy].
    #[arg(long, value_enum, value_delimiter = ',')]
    pub faults: Vec<Fault>,
    /// Management nodes, 1 or 3; kill-with-leader always has 3.
    #[arg(long, default_value_t = 3)]
    pub management_nodes: u32,
    /// Keys that each data node leads, each read by one client and incremented by another, every millisecond.
    #[arg(long, default_value_t = 2)]
    pub keys: u32,
    /// How long loss and delay last.
    #[arg(long, default_value_t = 2.0)]
    pub fault_seconds: f64,
    /// Share of packets that loss drops, in percent.
    #[arg(long, default_value_t = 10)]
    pub loss_percent: u32,
    /// What delay adds in each direction.
    #[arg(long, default_value_t = 20)]
    pub delay_ms: u32,
    /// What delay adds at most on top of that, at random.
    #[arg(long, default_value_t = 20)]
    pub jitter_ms: u32,
    /// How long busy lasts.
    #[arg(long, default_value_t = 600.0)]
    pub busy_seconds: f64,
    /// Processes that compute during busy [default: one per CPU].
    #[arg(long)]
    pub busy_processes: Option<u32>,
    /// Directory that keeps the logs of all processes [default: deleted].
    #[arg(long)]
    pub logs: Option<PathBuf>,
    /// The duet executable that runs the servers [default: this one].
    #[arg(long, hide = true)]
    pub executable: Option<PathBuf>,
    /// Whether it was started again in a network namespace of its own.
    #[arg(long, hide = true)]
    pub in_namespace: bool,
    /// Whether and where it is recorded.
    #[command(flatten)]
    pub record: RecordArguments,
}

impl OutageArguments {
    /// Refuses values that make no sense, before anything is started.
    pub(super) fn check(&self) -> Result<()> {
        ensure!((1..=MOST_RUNS).contains(&self.runs), "--runs lies between 1 and {MOST_RUNS}");
        ensure!(matches!(self.management_nodes, 1 | 3), "--management-nodes is 1 or 3");
        ensure!((1..=MOST_KEYS).contains(&self.keys), "--keys lies between 1 and {MOST_KEYS}");
        for (name, seconds) in [("fault", self.fault_seconds), ("busy", self.busy_seconds)] {
            let possible = seconds.is_finite() && seconds > 0.0 && seconds <= MOST_SECONDS;
            ensure!(possible, "--{name}-seconds lies above 0 and at most at a day");
        }
        ensure!((1..=90).contains(&self.loss_percent), "--loss-percent lies between 1 and 90");
        ensure!(
            self.delay_ms <= 10_000 && self.jitter_ms <= 10_000,
            "delay and jitter are at most 10 seconds"
        );
        let processes = self.busy_processes.unwrap_or(1);
        ensure!((1..=1_000).contains(&processes), "--busy-processes lies between 1 and 1000");
        Ok(())
    }

    /// The faults that are wanted, each once.
    pub(super) fn wanted(&self) -> Vec<Fault> {
        let mut wanted: Vec<Fault> = Vec::new();
        let named = if self.faults.is_empty() { &Fault::SHORT[..] } else { &self.faults };
        for fault in named {
            if !wanted.contains(fault) {
                wanted.push(*fault);
            }
        }
        wanted
    }

    pub(super) fn executable(&self) -> Result<PathBuf> {
        match &self.executable {
            Some(path) => Ok(path.clone()),
            None => std::env::current_exe().context("cannot find this executable"),
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
        outage: OutageArguments,
    }

    fn parse(text: &str) -> Result<OutageArguments, String> {
        let line = Line::try_parse_from(std::iter::once("outage").chain(text.split_whitespace()));
        let line = line.map_err(|error| error.to_string())?;
        line.outage.check().map_err(|error| error.to_string())?;
        Ok(line.outage)
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_option() {
        for (text, word) in [
            ("--runs 0", "--runs"),
            ("--management-nodes 2", "--management-nodes"),
            ("--keys 0", "--keys"),
            ("--fault-seconds 0", "--fault-seconds"),
            ("--busy-seconds nan", "--busy-seconds"),
            ("--loss-percent 100", "--loss-percent"),
            ("--delay-ms 10001", "delay"),
            ("--busy-processes 0", "--busy-processes"),
            ("--faults fire", "fire"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn faults_are_named_once_each() {
        let wanted = parse("--faults stop,kill,stop").expect("valid").wanted();
        assert_eq!(wanted, [Fault::Stop, Fault::Kill]);
        assert_eq!(parse("").expect("valid").wanted(), Fault::SHORT);
    }
}
