//! Options of `duet bench keys`.

use crate::cpu::CpuList;
use crate::driver::{Length, Plan};
use crate::local_cluster::LocalClusterOptions;
use crate::peer::PeerKind;
use crate::report::RunParameters;
use crate::workload::{Distribution, KEY_BYTES, Mix, ValueShape, Workload};
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest batch; more would overflow socket buffers of servers that answer only after reading all of it.
const MOST_BATCH: usize = 1024;
const MOST_THREADS: u32 = 1024;
const MOST_DATA_NODES: u32 = 64;
/// Keys are written in 48 bits where they must be printable.
const MOST_ROWS: u64 = 1 << 32;
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
    /// How keys are drawn: uniform, zipfian, zipfian=EXPONENT or hot (a single key).
    #[arg(long, default_value = "uniform")]
    pub keys: Distribution,
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
    /// Measured seconds per round and target.
    #[arg(long, default_value_t = 5.0, conflicts_with = "operations")]
    pub seconds: f64,
    /// Measured operations per round and target, instead of a time.
    #[arg(long)]
    pub operations: Option<u64>,
    /// Seconds before the measurement of every round.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Rounds; the table shows medians over them.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Compare every value that is read byte for byte.
    #[arg(long)]
    pub verify: bool,
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
    /// How the data nodes of the Duet cluster talk to their links [default: their own choice].
    #[arg(long, value_parser = ["auto", "epoll", "uring"])]
    pub io: Option<String>,
    /// Also measure the bare yardstick server and a bare TCP round trip.
    #[arg(long)]
    pub floor: bool,
    /// Also measure other stores; may be repeated or a list.
    #[arg(long = "peer", value_delimiter = ',')]
    pub peers: Vec<PeerKind>,
    /// CPUs of all servers, such as 0 or 0,2-3 [default: the first half].
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
    /// Directory of results; one JSON line is appended to its keys.jsonl.
    #[arg(long, default_value = "bench-results")]
    pub results: PathBuf,
    /// Record nothing.
    #[arg(long)]
    pub no_record: bool,
    /// The duet executable that runs the servers [default: this one].
    #[arg(long, hide = true)]
    pub executable: Option<PathBuf>,
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
        ensure!((1..=1000).contains(&self.rounds), "--rounds lies between 1 and 1000");
        let time = |seconds: f64| seconds.is_finite() && (0.0..=86_400.0).contains(&seconds);
        ensure!(time(self.seconds) && self.seconds > 0.0, "--seconds lies above 0 and at most at a day");
        ensure!(time(self.warm_up), "--warm-up lies between 0 and a day");
        ensure!(self.operations != Some(0), "--operations is at least 1");
        if let Some(rate) = self.rate {
            ensure!(rate.is_finite() && rate > 0.0 && rate <= 1e9, "--rate lies above 0 and at most at 10^9");
        }
        let mut peers: Vec<&str> = self.peers.iter().map(|peer| peer.name()).collect();
        peers.sort_unstable();
        ensure!(peers.windows(2).all(|pair| pair[0] != pair[1]), "a peer is named twice");
        Ok(())
    }

    /// The table and the stream of operations.
    pub(super) fn workload(&self) -> Result<Workload> {
        ensure!((1..=MOST_ROWS).contains(&self.rows), "--rows lies between 1 and {MOST_ROWS}");
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
        Ok(Workload { rows: self.rows, shape, distribution: self.keys, mix: self.mix, seed: self.seed })
    }

    /// How each round is driven.
    pub(super) fn plan(&self) -> Plan {
        Plan {
            threads: self.threads,
            batch: self.batch,
            callers: self.callers.unwrap_or(0),
            rate: self.rate,
            length: match self.operations {
                Some(operations) => Length::Operations(operations),
                None => Length::Time(Duration::from_secs_f64(self.seconds)),
            },
            warm_up: Duration::from_secs_f64(self.warm_up),
            verify: self.verify,
        }
    }

    /// CPUs of the servers and of the generator; `None` where nothing is pinned.
    pub(super) fn placement(&self) -> Result<(Option<CpuList>, Option<CpuList>)> {
        CpuList::placement(self.server_cpus.as_ref(), self.client_cpus.as_ref(), self.no_pin)
    }

    /// Replicas of the Duet cluster.
    pub(super) fn replicas(&self) -> u32 {
        self.replicas.unwrap_or(self.data_nodes.min(2))
    }

    /// The command that runs the yardstick server.
    pub(super) fn floor_command(&self) -> Result<Vec<OsString>> {
        Ok(vec![self.executable()?.into(), "bench".into(), "floor-server".into()])
    }

    /// The `duet` executable.
    pub(super) fn executable(&self) -> Result<PathBuf> {
        match &self.executable {
            Some(path) => Ok(path.clone()),
            None => std::env::current_exe().context("cannot find this executable"),
        }
    }

    /// The Duet cluster to start, but for its memory and CPUs.
    pub(super) fn cluster(&self) -> Result<LocalClusterOptions> {
        let mut options = LocalClusterOptions::new(self.executable()?);
        options.data_nodes = self.data_nodes;
        options.replicas = Some(self.replicas());
        options.partitions = self.partitions;
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
        workload: &Workload,
        server_cpus: Option<&CpuList>,
        client_cpus: Option<&CpuList>,
    ) -> RunParameters {
        RunParameters {
            rows: workload.rows,
            key_bytes: KEY_BYTES,
            columns: workload.shape.columns,
            column_bytes: workload.shape.column_bytes,
            distribution: workload.distribution.to_string(),
            mix: workload.mix.to_string(),
            threads: self.threads,
            batch: self.batch,
            callers: self.callers.unwrap_or(0),
            rate: self.rate,
            seconds: self.operations.is_none().then_some(self.seconds),
            operations: self.operations,
            warm_up_seconds: self.warm_up,
            rounds: self.rounds,
            verify: self.verify,
            seed: self.seed,
            server_cpus: server_cpus.map(ToString::to_string),
            client_cpus: client_cpus.map(ToString::to_string),
            data_nodes: if self.no_duet { 0 } else { self.data_nodes },
            replicas: if self.no_duet { 0 } else { self.replicas() },
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
        keys: KeysArguments,
    }

    fn parse(text: &str) -> std::result::Result<KeysArguments, String> {
        let line = Line::try_parse_from(std::iter::once("keys").chain(text.split_whitespace()));
        let keys = line.map_err(|error| error.to_string())?.keys;
        keys.workload()
            .and_then(|_| keys.check())
            .and_then(|()| keys.placement())
            .map_err(|it| it.to_string())?;
        Ok(keys)
    }

    #[test]
    fn defaults_are_the_published_shape() {
        let keys = parse("").unwrap();
        assert_eq!(keys.workload().unwrap().shape.value_bytes(), 100);
        assert_eq!((keys.rows, keys.batch, keys.rounds), (4_000_000, 128, 3));
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
            ("--server-cpus 5000", "--server-cpus"),
            ("--operations 5 --seconds 3", "--operations"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
