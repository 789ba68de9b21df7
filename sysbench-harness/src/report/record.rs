//! The schema of a line of `keys.jsonl`; described for readers in `bench-results/README.md`.

use super::figure::Figure;
use super::head::{CommonParameters, RunHead};
use super::statistics::median;
use super::store::Line;
use crate::driver::Measurement;
use crate::floor::EchoResult;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Version of the schema; a change that older readers would misread raises it.
pub const SCHEMA_VERSION: u32 = 1;

/// One run of `duet bench keys`: every target in every round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Which benchmark, when, of what, where.
    #[serde(flatten)]
    pub head: RunHead,
    /// What was asked.
    pub parameters: RunParameters,
    /// Bare blocking 64-byte round trip over TCP, if the yardstick server ran.
    pub echo: Option<EchoResult>,
    /// In the order in which they ran in every round.
    pub targets: Vec<TargetResult>,
    /// Ratios, and whether they are as asked.
    #[serde(default)]
    pub figures: Vec<Figure>,
}

/// What was asked, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunParameters {
    /// Table, rounds and placement.
    #[serde(flatten)]
    pub common: CommonParameters,
    /// `uniform`, `zipfian=THETA` or `hot`, several separated by commas.
    pub distribution: String,
    /// Such as `read=50,update=50`.
    pub mix: String,
    /// Threads of the generator.
    pub threads: u32,
    /// Operations in flight per thread.
    pub batch: usize,
    /// Concurrent callers with one operation each; 0 if batches were used.
    #[serde(default)]
    pub callers: u32,
    /// Operations per second of an open loop; `null` for a closed loop.
    pub rate: Option<f64>,
    /// Whether every target was also measured in an open loop at half its rate.
    #[serde(default)]
    pub half_load: bool,
    /// `unix` if everybody was reached through sockets of the Unix domain; `null` with TCP.
    #[serde(default)]
    pub links: Option<String>,
    /// Measured seconds per round; `null` if a number of operations was given.
    pub seconds: Option<f64>,
    /// Measured operations per round; `null` if a time was given.
    pub operations: Option<u64>,
    /// Data nodes of the Duet cluster.
    pub data_nodes: u32,
    /// Replicas of the Duet cluster.
    pub replicas: u32,
}

/// What one target did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetResult {
    /// Such as `duet`, `floor` or `redis`.
    pub name: String,
    /// Version that the server tells.
    pub version: String,
    /// Keys and load, if the run has several: such as `hot keys` or `half load`.
    #[serde(default)]
    pub variant: Option<String>,
    /// Median of every figure over the rounds.
    pub median: RoundResult,
    /// The rounds.
    pub rounds: Vec<RoundResult>,
}

impl TargetResult {
    /// Its name, with the variant if there are several.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.variant {
            None => self.name.clone(),
            Some(variant) => format!("{}, {variant}", self.name),
        }
    }
}

impl Line for RunRecord {
    const NAME: &'static str = "keys";
    const KNOWN: u32 = SCHEMA_VERSION;

    fn head(&self) -> &RunHead {
        &self.head
    }

    fn render(runs: &[Self]) -> String {
        super::markdown::render(runs)
    }
}

/// Figures of one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundResult {
    /// Operations that were answered.
    pub operations: u64,
    /// From the first start to the last answer.
    pub seconds: f64,
    /// Throughput.
    pub operations_per_second: f64,
    /// Latency of an operation from its call (closed loop) or intended start (open loop) to its answer.
    pub latency_ns: LatencySummary,
    /// CPU time of all server processes per operation.
    pub server_cpu_us_per_operation: f64,
    /// CPU time of the generator with the client in it, per operation.
    pub client_cpu_us_per_operation: f64,
    /// The servers' CPU time, process by process.
    pub server_processes: Vec<ProcessCpu>,
    /// Values that were compared byte for byte.
    pub verified: u64,
    /// Operations of an open loop that were due and never sent.
    pub unsent: u64,
}

/// Percentiles in nanoseconds, from an HDR histogram with three significant digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Longest.
    pub max: u64,
}

impl LatencySummary {
    /// The percentiles of a histogram of nanoseconds.
    #[must_use]
    pub fn of(latencies: &Histogram<u64>) -> Self {
        let quantile = |quantile| latencies.value_at_quantile(quantile);
        Self {
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: latencies.max(),
        }
    }

    /// The median of every percentile by itself.
    #[must_use]
    pub fn median_of(rounds: &[Self]) -> Self {
        let whole =
            |figure: &dyn Fn(&Self) -> u64| median(rounds.iter().map(|round| figure(round) as f64)) as u64;
        Self {
            p50: whole(&|round| round.p50),
            p90: whole(&|round| round.p90),
            p99: whole(&|round| round.p99),
            p999: whole(&|round| round.p999),
            max: whole(&|round| round.max),
        }
    }
}

/// CPU time of one process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessCpu {
    /// Such as `data node 1`.
    pub role: String,
    /// Per operation of the whole target.
    pub cpu_us_per_operation: f64,
}

fn per_operation(cpu: Duration, operations: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / operations.max(1) as f64
}

impl From<&Measurement> for RoundResult {
    fn from(measurement: &Measurement) -> Self {
        let operations = measurement.operations;
        let seconds = measurement.elapsed.as_secs_f64();
        let all: Duration = measurement.server_cpu.iter().map(|(_, cpu)| *cpu).sum();
        Self {
            operations,
            seconds,
            operations_per_second: if seconds > 0.0 { operations as f64 / seconds } else { 0.0 },
            latency_ns: LatencySummary::of(&measurement.latencies),
            server_cpu_us_per_operation: per_operation(all, operations),
            client_cpu_us_per_operation: per_operation(measurement.client_cpu, operations),
            server_processes: measurement
                .server_cpu
                .iter()
                .map(|(process, cpu)| ProcessCpu {
                    role: process.role.clone(),
                    cpu_us_per_operation: per_operation(*cpu, operations),
                })
                .collect(),
            verified: measurement.answers.verified,
            unsent: measurement.unsent,
        }
    }
}

impl RoundResult {
    /// The median of every figure by itself; `rounds` is not empty and all have the same processes.
    #[must_use]
    pub fn median_of(rounds: &[RoundResult]) -> Self {
        let float = |figure: &dyn Fn(&RoundResult) -> f64| median(rounds.iter().map(figure));
        let whole = |figure: &dyn Fn(&RoundResult) -> u64| float(&|round| figure(round) as f64) as u64;
        let latencies: Vec<LatencySummary> = rounds.iter().map(|round| round.latency_ns).collect();
        let processes = rounds.first().map_or(&[][..], |round| &round.server_processes);
        Self {
            operations: whole(&|round| round.operations),
            seconds: float(&|round| round.seconds),
            operations_per_second: float(&|round| round.operations_per_second),
            latency_ns: LatencySummary::median_of(&latencies),
            server_cpu_us_per_operation: float(&|round| round.server_cpu_us_per_operation),
            client_cpu_us_per_operation: float(&|round| round.client_cpu_us_per_operation),
            server_processes: processes
                .iter()
                .enumerate()
                .map(|(index, process)| ProcessCpu {
                    role: process.role.clone(),
                    cpu_us_per_operation: float(&|round| {
                        round.server_processes.get(index).map_or(0.0, |process| process.cpu_us_per_operation)
                    }),
                })
                .collect(),
            verified: whole(&|round| round.verified),
            unsent: whole(&|round| round.unsent),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::machine::MachineFacts;
    use super::*;

    /// A round whose figures follow from one number.
    pub(crate) fn round(scale: u64) -> RoundResult {
        RoundResult {
            operations: 1000 * scale,
            seconds: 2.0,
            operations_per_second: 500.0 * scale as f64,
            latency_ns: LatencySummary {
                p50: 10_000 * scale,
                p90: 20_000 * scale,
                p99: 30_000 * scale,
                p999: 40_000 * scale,
                max: 50_000 * scale,
            },
            server_cpu_us_per_operation: 0.5 * scale as f64,
            client_cpu_us_per_operation: 0.25 * scale as f64,
            server_processes: vec![ProcessCpu {
                role: "data node 1".to_owned(),
                cpu_us_per_operation: 0.5 * scale as f64,
            }],
            verified: 0,
            unsent: 0,
        }
    }

    pub(crate) fn head(benchmark: &str, schema: u32) -> RunHead {
        RunHead {
            schema,
            benchmark: benchmark.to_owned(),
            time: "2026-01-31T12:00:00Z".to_owned(),
            revision: "0123456789abcdef-dirty".to_owned(),
            build: "release".to_owned(),
            machine: MachineFacts {
                cpus: 2,
                cpu_model: "a <fast> CPU".to_owned(),
                kernel: "6.1".to_owned(),
                memory_bytes: 1 << 34,
            },
        }
    }

    pub(crate) fn common() -> CommonParameters {
        CommonParameters {
            rows: 4_000_000,
            key_bytes: 8,
            columns: 5,
            column_bytes: 20,
            warm_up_seconds: 1.0,
            rounds: 3,
            verify: false,
            seed: 1,
            server_cpus: Some("0".to_owned()),
            client_cpus: None,
            io: None,
        }
    }

    /// A run of two targets, the second twice as slow.
    pub(crate) fn run() -> RunRecord {
        let target = |name: &str, scale| {
            let rounds = vec![round(scale), round(3 * scale), round(2 * scale)];
            let median = RoundResult::median_of(&rounds);
            TargetResult { name: name.to_owned(), version: "1.2".to_owned(), variant: None, median, rounds }
        };
        RunRecord {
            head: head("keys", SCHEMA_VERSION),
            parameters: RunParameters {
                common: common(),
                distribution: "uniform".to_owned(),
                mix: "read=100".to_owned(),
                threads: 1,
                batch: 128,
                callers: 0,
                rate: None,
                half_load: false,
                links: None,
                seconds: Some(5.0),
                operations: None,
                data_nodes: 2,
                replicas: 2,
            },
            echo: Some(EchoResult { round_trips: 100, p50_ns: 15_000, p99_ns: 20_000 }),
            targets: vec![target("duet", 1), target("redis", 2)],
            figures: vec![Figure::new("a figure", 1.5, "µs", None)],
        }
    }

    /// A line written before records had figures, variants and half loads.
    #[test]
    fn older_lines_can_be_read() {
        let mut line = serde_json::to_value(run()).unwrap();
        line.as_object_mut().unwrap().remove("figures");
        line["parameters"].as_object_mut().unwrap().remove("half_load");
        line["targets"][0].as_object_mut().unwrap().remove("variant");
        assert_eq!(line["schema"], 1);
        assert_eq!(line["parameters"]["rows"], 4_000_000);
        let read: RunRecord = serde_json::from_value(line).unwrap();
        assert_eq!(read, RunRecord { figures: Vec::new(), ..run() });
    }

    #[test]
    fn every_figure_has_its_own_median() {
        let median = run().targets[0].median.clone();
        assert_eq!(median, round(2));
    }
}
