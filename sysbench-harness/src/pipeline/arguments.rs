//! Options of `duet bench pipeline`.

use super::plan::{STUDY, ThreadPlan};
use super::record::PipelineParameters;
use crate::cpu::CpuList;
use crate::driver::{Length, Plan};
use crate::local_cluster::LocalClusterOptions;
use crate::workload::{Distribution, KEY_BYTES, Mix, ValueShape, Workload};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MOST_BATCH: usize = 1024;
/// Every plan has a cluster of its own, and all hold the table at the same time.
const MOST_PLANS: usize = 32;
const MOST_ROWS: u64 = 1 << 32;
const SHAPE: ValueShape = ValueShape { columns: 5, column_bytes: 20 };

/// Compare thread plans of a data node: operations per second, and CPU time per operation and stage.
#[derive(Debug, Clone, clap::Args)]
pub struct PipelineArguments {
    /// Thread plans of the data node, separated by spaces, as duet datanode --threads takes them.
    #[arg(long, num_args = 1.., value_name = "PLAN", default_values = STUDY)]
    pub plans: Vec<ThreadPlan>,
    /// Operations in flight.
    #[arg(long, value_delimiter = ',', default_value = "1,16,128")]
    pub batches: Vec<usize>,
    /// Rows of 8 + 5 × 20 bytes in the table.
    #[arg(long, default_value_t = 1_000_000)]
    pub rows: u64,
    /// Percentages of operations, such as read=50,update=50.
    #[arg(long, default_value = "read=100")]
    pub mix: Mix,
    /// Measured seconds per round, plan and batch size.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Seconds before every measurement.
    #[arg(long, default_value_t = 0.5)]
    pub warm_up: f64,
    /// Rounds, each over all plans; the table shows medians over them.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Compare every value that is read byte for byte.
    #[arg(long)]
    pub verify: bool,
    /// CPUs of the cluster, such as 0 or 0,2-3 [default: the first half].
    #[arg(long)]
    pub server_cpus: Option<CpuList>,
    /// CPUs of the generator [default: the other half].
    #[arg(long)]
    pub client_cpus: Option<CpuList>,
    /// Leave the choice of CPUs to the kernel.
    #[arg(long, conflicts_with_all = ["server_cpus", "client_cpus"])]
    pub no_pin: bool,
    /// Seed of keys and kinds of operations.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Directory of results; one JSON line is appended to its pipeline.jsonl.
    #[arg(long, default_value = "bench-results")]
    pub results: PathBuf,
    /// How the data node talks to its links [default: its own choice].
    #[arg(long, value_parser = ["auto", "epoll", "uring"])]
    pub io: Option<String>,
    /// Record nothing.
    #[arg(long)]
    pub no_record: bool,
    /// The duet executable that runs the cluster [default: this one].
    #[arg(long, hide = true)]
    pub executable: Option<PathBuf>,
}

impl PipelineArguments {
    /// Refuses values that make no sense, before anything is started.
    pub(super) fn check(&self) -> Result<()> {
        ensure!((1..=MOST_PLANS).contains(&self.plans.len()), "--plans names 1 to {MOST_PLANS} plans");
        let mut names: Vec<String> = self.plans.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        ensure!(names.windows(2).all(|pair| pair[0] != pair[1]), "--plans names a plan twice");
        let valid = self.batches.iter().all(|batch| (1..=MOST_BATCH).contains(batch));
        ensure!(valid && !self.batches.is_empty(), "--batches lie between 1 and {MOST_BATCH}");
        let mut batches = self.batches.clone();
        batches.sort_unstable();
        ensure!(batches.windows(2).all(|pair| pair[0] != pair[1]), "--batches names a size twice");
        ensure!((1..=MOST_ROWS).contains(&self.rows), "--rows lies between 1 and {MOST_ROWS}");
        ensure!((1..=1000).contains(&self.rounds), "--rounds lies between 1 and 1000");
        let time = |seconds: f64| seconds.is_finite() && (0.0..=86_400.0).contains(&seconds);
        ensure!(time(self.seconds) && self.seconds > 0.0, "--seconds lies above 0 and at most at a day");
        ensure!(time(self.warm_up), "--warm-up lies between 0 and a day");
        Ok(())
    }

    /// The table and the stream of operations.
    pub(super) fn workload(&self) -> Workload {
        let distribution = Distribution::Uniform;
        Workload { rows: self.rows, shape: SHAPE, distribution, mix: self.mix, seed: self.seed }
    }

    /// How a measurement is driven.
    pub(super) fn drive(&self, batch: usize) -> Plan {
        Plan {
            threads: 1,
            batch,
            callers: 0,
            rate: None,
            length: Length::Time(Duration::from_secs_f64(self.seconds)),
            warm_up: Duration::from_secs_f64(self.warm_up),
            verify: self.verify,
        }
    }

    /// CPUs of the cluster and of the generator; `None` where nothing is pinned.
    pub(super) fn placement(&self) -> Result<(Option<CpuList>, Option<CpuList>)> {
        CpuList::placement(self.server_cpus.as_ref(), self.client_cpus.as_ref(), self.no_pin)
    }

    /// One data node with these threads, but for its memory and CPUs.
    pub(super) fn cluster(&self, plan: &ThreadPlan) -> Result<LocalClusterOptions> {
        let executable = match &self.executable {
            Some(path) => path.clone(),
            None => std::env::current_exe().context("cannot find this executable")?,
        };
        let mut options = LocalClusterOptions::new(executable);
        options.data_nodes = 1;
        options.replicas = Some(1);
        options.lanes = Some(u32::try_from(plan.managers()).context("too many ldm threads")?);
        options.threads = Some(plan.to_string());
        options.io = self.io.clone();
        Ok(options)
    }

    /// Where the run is recorded, if it is.
    pub(super) fn results_directory(&self) -> Option<&Path> {
        (!self.no_record).then_some(self.results.as_path())
    }

    /// The parameters as they are recorded.
    pub(super) fn parameters(
        &self,
        server_cpus: Option<&CpuList>,
        client_cpus: Option<&CpuList>,
    ) -> PipelineParameters {
        PipelineParameters {
            rows: self.rows,
            key_bytes: KEY_BYTES,
            columns: SHAPE.columns,
            column_bytes: SHAPE.column_bytes,
            mix: self.mix.to_string(),
            seconds: self.seconds,
            warm_up_seconds: self.warm_up,
            rounds: self.rounds,
            verify: self.verify,
            seed: self.seed,
            server_cpus: server_cpus.map(ToString::to_string),
            client_cpus: client_cpus.map(ToString::to_string),
            io: self.io.clone(),
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
        pipeline: PipelineArguments,
    }

    fn parse(text: &str) -> std::result::Result<PipelineArguments, String> {
        let line = Line::try_parse_from(std::iter::once("pipeline").chain(text.split_whitespace()));
        let pipeline = line.map_err(|error| error.to_string())?.pipeline;
        pipeline.check().map_err(|error| error.to_string())?;
        Ok(pipeline)
    }

    #[test]
    fn defaults_are_the_study() {
        let pipeline = parse("").unwrap();
        let plans: Vec<String> = pipeline.plans.iter().map(ToString::to_string).collect();
        assert_eq!(plans, STUDY);
        assert_eq!(pipeline.batches, [1, 16, 128]);
        assert_eq!(pipeline.workload().shape.value_bytes(), 100);
        let options = pipeline.cluster(&pipeline.plans[5]).unwrap();
        assert_eq!((options.data_nodes, options.replicas, options.lanes), (1, Some(1), Some(2)));
        let chosen = parse("--plans batch recv+tc=1,ldm=2 --batches 8").unwrap();
        assert_eq!((chosen.plans.len(), chosen.batches), (2, vec![8]));
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_option() {
        for (text, word) in [
            ("--plans", "--plans"),
            ("--plans auto", "--plans"),
            ("--plans batch batch", "--plans"),
            ("--batches 0", "--batches"),
            ("--batches 1,5000", "--batches"),
            ("--batches 4,4", "--batches"),
            ("--rows 0", "--rows"),
            ("--rounds 0", "--rounds"),
            ("--seconds NaN", "--seconds"),
            ("--warm-up=-1", "--warm-up"),
            ("--mix read=5", "--mix"),
        ] {
            let error = parse(text).err().unwrap_or_else(|| panic!("{text} is refused"));
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
