//! Options of `duet bench keys`.

use super::variant::Variant;
use crate::connection::Links;
use crate::driver::{Length, Plan};
use crate::local_cluster::LocalClusterOptions;
use crate::options::{Placement, ServerRunArguments, check_rows, check_times};
use crate::peer::PeerKind;
use crate::report::RunParameters;
use crate::workload::{Distribution, Mix, ValueShape, Workload};
use anyhow::{Result, ensure};
use std::ffi::OsString;
use std::time::Duration;

/// Largest batch; more would overflow socket buffers of servers that answer only after reading all of it.
const MOST_BATCH: usize = 1024;
const MOST_THREADS: u32 = 1024;
const MOST_DATA_NODES: u32 = 64;
const MOST_COLUMNS: usize = 64;
const MOST_VALUE_BYTES: usize = 16 * 1024;

/// Compare key operations of Duet, a bare yardstick server and other stores, in alternating rounds.
#[derive(Debug, Clone, clap::Args)]
pub struct KeysArguments {
    /// Rows in the table.
    #[arg(long, default_value_t = 4_000_000)]
    pub rows: u64,
    /// Value columns beside the 8-byte key.
    #[arg(long, default_value_t = 5)]
    pub columns: usize,
    /// Bytes of each value column.
    #[arg(long, default_value_t = 20)]
    pub column_bytes: usize,
    /// How keys are drawn: uniform, zipfian, zipfian=EXPONENT or hot (a single key); several separated by commas are measured
    /// in turn.
    #[arg(long, value_delimiter = ',', default_value = "uniform")]
    pub keys: Vec<Distribution>,
    /// Percentages of operations, such as read=50,update=50.
    #[arg(long, default_value = "read=100")]
    pub mix: Mix,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1)]
    pub threads: u32,
    /// Operations in flight per call.
    #[arg(long, default_value_t = 128)]
    pub batch: usize,
    /// Concurrent callers with one operation in flight each, instead of threads and batches. Duet's share one client.
    #[arg(long, conflicts_with_all = ["threads", "batch", "rate"])]
    pub callers: Option<u32>,
    /// Operations per second of an open loop; latency counts from the intended start. Without it the loop is closed.
    #[arg(long)]
    pub rate: Option<f64>,
    /// After every round also measure an open loop at half the rate of that round, in whole batches of --batch operations.
    #[arg(long, conflicts_with_all = ["rate", "callers"])]
    pub half_load: bool,
    /// Measured seconds per round and target.
    #[arg(long, default_value_t = 5.0, conflicts_with = "operations")]
    pub seconds: f64,
    /// Measured operations per round and target, instead of a time.
    #[arg(long)]
    pub operations: Option<u64>,
    /// Seconds before the measurement of every round.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Do not measure Duet.
    #[arg(long)]
    pub no_duet: bool,
    /// Data nodes of the Duet cluster.
    #[arg(long, default_value_t = 2)]
    pub data_nodes: u32,
    /// Replicas of the Duet cluster [default: 2, or 1 with a single data node].
    #[arg(long)]
    pub replicas: Option<u32>,
    /// Partitions of the Duet cluster [default: its own].
    #[arg(long)]
    pub partitions: Option<u32>,
    /// What everybody is reached through.
    #[arg(long, value_enum, default_value_t = Links::Tcp)]
    pub links: Links,
    /// Also measure the bare yardstick server and a bare TCP round trip.
    #[arg(long)]
    pub floor: bool,
    /// Also measure other stores; may be repeated or a list.
    #[arg(long = "peer", value_delimiter = ',')]
    pub peers: Vec<PeerKind>,
    /// Rounds, CPUs, and what is recorded.
    #[command(flatten)]
    pub run: ServerRunArguments,
}

impl KeysArguments {
    /// Refuses values that make no sense, before anything is started.
    pub(super) fn check(&self) -> Result<()> {
        ensure!((1..=MOST_THREADS).contains(&self.threads), "--threads lies between 1 and {MOST_THREADS}");
        ensure!((1..=MOST_BATCH).contains(&self.batch), "--batch lies between 1 and {MOST_BATCH}");
        if let Some(callers) = self.callers {
            ensure!((1..=MOST_THREADS).contains(&callers), "--callers lies between 1 and {MOST_THREADS}");
        }
        ensure!(
            (1..=MOST_DATA_NODES).contains(&self.data_nodes),
            "--data-nodes lies between 1 and {MOST_DATA_NODES}"
        );
        ensure!(
            (1..=self.data_nodes.min(2)).contains(&self.replicas()),
            "--replicas is 1 or 2, and not more than --data-nodes"
        );
        self.run.check()?;
        check_times(self.seconds, self.warm_up)?;
        ensure!(self.operations != Some(0), "--operations is at least 1");
        if let Some(rate) = self.rate {
            ensure!(rate.is_finite() && rate > 0.0 && rate <= 1e9, "--rate lies above 0 and at most at 10^9");
        }
        let mut keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        keys.sort_unstable();
        ensure!(keys.windows(2).all(|pair| pair[0] != pair[1]), "--keys names a distribution twice");
        let mut peers: Vec<&str> = self.peers.iter().map(|peer| peer.name()).collect();
        peers.sort_unstable();
        ensure!(peers.windows(2).all(|pair| pair[0] != pair[1]), "a peer is named twice");
        Ok(())
    }

    /// The table and the stream of operations, with keys drawn in the first way.
    pub(super) fn workload(&self) -> Result<Workload> {
        check_rows(self.rows)?;
        ensure!((1..=MOST_COLUMNS).contains(&self.columns), "--columns lies between 1 and {MOST_COLUMNS}");
        ensure!(
            (1..=MOST_VALUE_BYTES).contains(&self.column_bytes),
            "--column-bytes lies between 1 and {MOST_VALUE_BYTES}"
        );
        let shape = ValueShape { columns: self.columns, column_bytes: self.column_bytes };
        let least = ValueShape::least_value_bytes();
        ensure!(
            (least..=MOST_VALUE_BYTES).contains(&shape.value_bytes()),
            "--columns times --column-bytes lies between {least} and {MOST_VALUE_BYTES}"
        );
        let distribution = *self.keys.first().unwrap_or(&Distribution::Uniform);
        Ok(Workload { rows: self.rows, shape, distribution, mix: self.mix, seed: self.run.seed })
    }

    /// What every target is asked in each round, in this order.
    pub(super) fn variants(&self) -> Vec<Variant> {
        let loads = if self.half_load { &[false, true][..] } else { &[false][..] };
        let of = |keys: Distribution| loads.iter().map(move |&half_load| Variant { keys, half_load });
        self.keys.iter().copied().flat_map(of).collect()
    }

    /// How each round is driven.
    pub(super) fn plan(&self) -> Plan {
        Plan {
            threads: self.threads,
            batch: self.batch,
            callers: self.callers.unwrap_or(0),
            rate: self.rate,
            whole_batches: false,
            length: match self.operations {
                Some(operations) => Length::Operations(operations),
                None => Length::Time(Duration::from_secs_f64(self.seconds)),
            },
            warm_up: Duration::from_secs_f64(self.warm_up),
            verify: self.run.verify,
        }
    }

    /// Replicas of the Duet cluster.
    pub(super) fn replicas(&self) -> u32 {
        self.replicas.unwrap_or(self.data_nodes.min(2))
    }

    /// The command that runs the yardstick server.
    pub(super) fn floor_command(&self) -> Result<Vec<OsString>> {
        Ok(vec![self.run.executable()?.into(), "bench".into(), "floor-server".into()])
    }

    /// The Duet cluster to start, but for its memory and CPUs.
    pub(super) fn cluster(&self) -> Result<LocalClusterOptions> {
        let mut options = self.run.cluster(self.data_nodes, self.replicas(), self.links)?;
        options.partitions = self.partitions;
        Ok(options)
    }

    /// The parameters as they are recorded.
    pub(super) fn parameters(&self, workload: &Workload, placement: &Placement) -> RunParameters {
        let distributions: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        RunParameters {
            common: self.run.parameters(workload.rows, workload.shape, self.warm_up, placement),
            distribution: distributions.join(","),
            mix: workload.mix.to_string(),
            threads: self.threads,
            batch: self.batch,
            callers: self.callers.unwrap_or(0),
            rate: self.rate,
            half_load: self.half_load,
            links: (self.links == Links::Unix).then(|| "unix".to_owned()),
            seconds: self.operations.is_none().then_some(self.seconds),
            operations: self.operations,
            data_nodes: if self.no_duet { 0 } else { self.data_nodes },
            replicas: if self.no_duet { 0 } else { self.replicas() },
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
        keys: KeysArguments,
    }

    fn parse(text: &str) -> std::result::Result<KeysArguments, String> {
        let line = Line::try_parse_from(std::iter::once("keys").chain(text.split_whitespace()));
        let keys = line.map_err(|error| error.to_string())?.keys;
        keys.workload()
            .and_then(|_| keys.check())
            .and_then(|()| keys.run.placement())
            .map_err(|it| it.to_string())?;
        Ok(keys)
    }

    #[test]
    fn defaults_are_the_published_shape() {
        let keys = parse("").unwrap();
        assert_eq!(keys.workload().unwrap().shape.value_bytes(), 100);
        assert_eq!((keys.rows, keys.batch, keys.run.rounds), (4_000_000, 128, 3));
        assert_eq!(keys.variants(), [Variant { keys: Distribution::Uniform, half_load: false }]);
        assert_eq!(parse("--keys uniform,hot --half-load").unwrap().variants().len(), 4);
        assert_eq!(parse("--peer redis,memcached --peer valkey").unwrap().peers.len(), 3);
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_option() {
        for (text, word) in [
            ("--rows 0", "--rows"),
            ("--columns 1 --column-bytes 8", "--columns times"),
            ("--threads 0", "--threads"),
            ("--batch 100000", "--batch"),
            ("--rate=-1", "--rate"),
            ("--callers 0", "--callers"),
            ("--callers 5 --batch 5", "--callers"),
            ("--data-nodes 0", "--data-nodes"),
            ("--data-nodes 1 --replicas 2", "--replicas"),
            ("--rate NaN", "--rate"),
            ("--seconds 0", "--seconds"),
            ("--warm-up=-1", "--warm-up"),
            ("--operations 0", "--operations"),
            ("--rounds 0", "--rounds"),
            ("--peer redis,redis", "twice"),
            ("--peer mongo", "mongo"),
            ("--mix read=10", "--mix"),
            ("--keys normal", "--keys"),
            ("--io select", "--io"),
            ("--keys hot,hot", "--keys"),
            ("--half-load --rate 5", "--half-load"),
            ("--half-load --callers 5", "--half-load"),
            ("--server-cpus 5000", "--server-cpus"),
            ("--operations 5 --seconds 3", "--operations"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
