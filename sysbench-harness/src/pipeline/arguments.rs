//! Options of `duet bench pipeline`.

use super::plan::{STUDY, ThreadPlan};
use super::record::PipelineParameters;
use crate::connection::Links;
use crate::driver::{Length, Plan};
use crate::local_cluster::LocalClusterOptions;
use crate::options::{Placement, ServerRunArguments, check_rows, check_times};
use crate::workload::{Distribution, Mix, ValueShape, Workload};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

const MOST_BATCH: usize = 1024;
/// Every plan has a cluster of its own, and all hold the table at the same time.
const MOST_PLANS: usize = 32;
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
    /// Rounds, CPUs, and what is recorded.
    #[command(flatten)]
    pub run: ServerRunArguments,
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
        check_rows(self.rows)?;
        self.run.check()?;
        check_times(self.seconds, self.warm_up)?;
        Ok(())
    }

    /// The table and the stream of operations.
    pub(super) fn workload(&self) -> Workload {
        let distribution = Distribution::Uniform;
        Workload { rows: self.rows, shape: SHAPE, distribution, mix: self.mix, seed: self.run.seed }
    }

    /// How a measurement is driven.
    pub(super) fn drive(&self, batch: usize) -> Plan {
        Plan {
            threads: 1,
            batch,
            callers: 0,
            rate: None,
            whole_batches: false,
            length: Length::Time(Duration::from_secs_f64(self.seconds)),
            warm_up: Duration::from_secs_f64(self.warm_up),
            verify: self.run.verify,
        }
    }

    /// One data node with these threads, but for its memory and CPUs.
    pub(super) fn cluster(&self, plan: &ThreadPlan) -> Result<LocalClusterOptions> {
        let mut options = self.run.cluster(1, 1, Links::Tcp)?;
        options.lanes = Some(u32::try_from(plan.managers()).context("too many ldm threads")?);
        options.threads = Some(plan.to_string());
        Ok(options)
    }

    /// The parameters as they are recorded.
    pub(super) fn parameters(&self, placement: &Placement) -> PipelineParameters {
        PipelineParameters {
            common: self.run.parameters(self.rows, SHAPE, self.warm_up, placement),
            mix: self.mix.to_string(),
            seconds: self.seconds,
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
