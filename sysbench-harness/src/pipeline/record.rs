//! The schema of a line of `pipeline.jsonl`; described for readers in `bench-results/README.md`.

use super::table;
use crate::driver::Measurement;
use crate::report::{CommonParameters, Figure, LatencySummary, Line, RunHead, median};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Version of the schema; a change that older readers would misread raises it.
pub const PIPELINE_SCHEMA_VERSION: u32 = 1;

/// One run of `duet bench pipeline`: every plan with every batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineRecord {
    /// Which benchmark, when, of what, where.
    #[serde(flatten)]
    pub head: RunHead,
    /// What was asked.
    pub parameters: PipelineParameters,
    /// By batch size, and in it by plan.
    pub results: Vec<PipelineResult>,
    /// What a hop costs, and whether that is as asked.
    #[serde(default)]
    pub figures: Vec<Figure>,
}

impl Line for PipelineRecord {
    const NAME: &'static str = "pipeline";
    const KNOWN: u32 = PIPELINE_SCHEMA_VERSION;

    fn head(&self) -> &RunHead {
        &self.head
    }

    fn render(runs: &[Self]) -> String {
        table::render_markdown(runs)
    }
}

/// What was asked, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineParameters {
    /// Table, rounds and placement.
    #[serde(flatten)]
    pub common: CommonParameters,
    /// Such as `read=50,update=50`.
    pub mix: String,
    /// Measured seconds per round, plan and batch size.
    pub seconds: f64,
}

/// What one plan did with one batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineResult {
    /// As `duet datanode --threads` takes it.
    pub plan: String,
    /// Operations in flight.
    pub batch: usize,
    /// Threads that run stages.
    pub threads: usize,
    /// Lanes of the cluster: threads that own data.
    pub lanes: usize,
    /// CPUs that the node may use.
    pub usable_cpus: usize,
    /// Whether there are more threads than usable CPUs: then threads wait for each other, and latency and throughput say
    /// little of the plan. CPU time per operation stays comparable.
    pub oversubscribed: bool,
    /// CPU time per operation of the node beyond that of the batch plan with the same batch size, in nanoseconds;
    /// `null` if the batch plan did not run, and for itself.
    pub hops_cpu_ns_per_operation: Option<f64>,
    /// Median of every figure over the rounds.
    pub median: PipelineRound,
    /// The rounds.
    pub rounds: Vec<PipelineRound>,
}

/// Figures of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineRound {
    /// Operations that were answered.
    pub operations: u64,
    /// From the first start to the last answer.
    pub seconds: f64,
    /// Throughput.
    pub operations_per_second: f64,
    /// Latency of an operation from its call to its answer.
    pub latency_ns: LatencySummary,
    /// CPU time of all threads of the data node, per operation.
    pub node_cpu_ns_per_operation: f64,
    /// The same by kind of thread, in the order of their start; also threads that are no stage.
    pub stages: Vec<StageCpu>,
    /// CPU time of the generator with the client in it, per operation.
    pub client_cpu_ns_per_operation: f64,
}

/// CPU time of the threads of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageCpu {
    /// Name of the threads without their number, such as `ldm`.
    pub name: String,
    /// How many there are.
    pub threads: usize,
    /// CPU time of all of them per operation of the node.
    pub cpu_ns_per_operation: f64,
}

fn per_operation(cpu: Duration, operations: u64) -> f64 {
    cpu.as_nanos() as f64 / operations.max(1) as f64
}

/// CPU time per operation that a plan costs beyond the batch plan, which calls its stages directly: sections, mailboxes
/// and wake-ups. Negative if the plan is cheaper.
#[must_use]
pub fn hop_cost(plan_ns: f64, batch_plan_ns: Option<f64>) -> Option<f64> {
    batch_plan_ns.map(|batch_plan_ns| plan_ns - batch_plan_ns)
}

impl From<&Measurement> for PipelineRound {
    /// The first server process is the data node.
    fn from(measurement: &Measurement) -> Self {
        let operations = measurement.operations;
        let seconds = measurement.elapsed.as_secs_f64();
        let groups = measurement.server_threads.first().map_or(&[][..], Vec::as_slice);
        Self {
            operations,
            seconds,
            operations_per_second: if seconds > 0.0 { operations as f64 / seconds } else { 0.0 },
            latency_ns: LatencySummary::of(&measurement.latencies),
            node_cpu_ns_per_operation: per_operation(groups.iter().map(|group| group.cpu).sum(), operations),
            stages: groups
                .iter()
                .map(|group| StageCpu {
                    name: group.name.clone(),
                    threads: group.threads,
                    cpu_ns_per_operation: per_operation(group.cpu, operations),
                })
                .collect(),
            client_cpu_ns_per_operation: per_operation(measurement.client_cpu, operations),
        }
    }
}

impl PipelineRound {
    /// The median of every figure by itself.
    #[must_use]
    pub fn median_of(rounds: &[Self]) -> Self {
        let float = |figure: &dyn Fn(&Self) -> f64| median(rounds.iter().map(figure));
        let latencies: Vec<LatencySummary> = rounds.iter().map(|round| round.latency_ns).collect();
        let stages = rounds.first().map_or(&[][..], |round| &round.stages);
        let of_stage = |name: &str| {
            median(rounds.iter().filter_map(|round| {
                round.stages.iter().find(|stage| stage.name == name).map(|stage| stage.cpu_ns_per_operation)
            }))
        };
        Self {
            operations: float(&|round| round.operations as f64) as u64,
            seconds: float(&|round| round.seconds),
            operations_per_second: float(&|round| round.operations_per_second),
            latency_ns: LatencySummary::median_of(&latencies),
            node_cpu_ns_per_operation: float(&|round| round.node_cpu_ns_per_operation),
            stages: stages
                .iter()
                .map(|stage| StageCpu { cpu_ns_per_operation: of_stage(&stage.name), ..stage.clone() })
                .collect(),
            client_cpu_ns_per_operation: float(&|round| round.client_cpu_ns_per_operation),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A round of the four-stage plan whose figures follow from one number.
    pub(crate) fn round(scale: u64) -> PipelineRound {
        let figure = 100.0 * scale as f64;
        let stage = |name: &str, threads, cpu_ns_per_operation| StageCpu {
            name: name.to_owned(),
            threads,
            cpu_ns_per_operation,
        };
        let microseconds = 1000 * scale;
        PipelineRound {
            operations: 1000 * scale,
            seconds: 2.0,
            operations_per_second: 500.0 * scale as f64,
            latency_ns: LatencySummary {
                p50: microseconds,
                p90: 2 * microseconds,
                p99: 3 * microseconds,
                p999: 4 * microseconds,
                max: 5 * microseconds,
            },
            node_cpu_ns_per_operation: 4.0 * figure,
            stages: vec![stage("duet", 1, 0.0), stage("recv", 1, figure), stage("ldm", 2, 3.0 * figure)],
            client_cpu_ns_per_operation: 2.0 * figure,
        }
    }

    #[test]
    fn every_figure_and_every_stage_has_its_own_median() {
        let mut last = round(3);
        // A thread that one round did not see does not shift the others.
        last.stages.remove(0);
        assert_eq!(PipelineRound::median_of(&[round(1), round(2), last]), round(2));
    }

    #[test]
    fn hops_are_what_a_plan_costs_beyond_the_batch_plan() {
        assert_eq!(hop_cost(450.0, Some(300.0)), Some(150.0));
        assert_eq!(hop_cost(250.0, Some(300.0)), Some(-50.0));
        assert_eq!(hop_cost(450.0, None), None);
    }
}
