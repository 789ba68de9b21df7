//! `duet bench sysbench`: unmodified sysbench against the SQL gateway, a MariaDB server and a semi-synchronous pair of them, in turn
//! and on the same processors.

mod arguments;
mod duet;
mod figures;
mod mariadb;
mod record;
mod table;
mod tool;
mod workload;

pub use arguments::SysbenchArguments;
pub use record::{
    LongCase, SYSBENCH_SCHEMA_VERSION, SysbenchCase, SysbenchParameters, SysbenchRecord, SysbenchRound,
};
pub use workload::{SqlTarget, SysbenchWorkload};

use crate::cpu::process_cpu_time;
use crate::keys::progress_bar;
use crate::options::{Say, warn_of_debug_build};
use crate::report::{Results, RunHead};
use crate::target::ServerProcess;
use anyhow::{Context, Result};
use duet::{DATA_NODES, DuetSql, REPLICAS};
use mariadb::MariaDb;
use std::collections::BTreeMap;
use std::time::Duration;
use tool::{Said, SqlAddress, Sysbench};

/// Threads of the long case.
const LONG_THREADS: u32 = 64;
/// Share of the rows that must be there when deletions begin: others find nothing, which is less work.
const LEAST_ROWS: f64 = 0.75;

/// Runs the benchmark and prints its table.
///
/// # Errors
/// A program is missing, a server could not be started or failed, or sysbench met an error that it does not ignore; results that cannot be
/// written.
pub fn run(arguments: &SysbenchArguments, say: Say<'_>) -> Result<()> {
    arguments.check()?;
    warn_of_debug_build();
    let head = RunHead::begin("sysbench", SYSBENCH_SCHEMA_VERSION);
    let scratch = tempfile::Builder::new().prefix("duet-bench-").tempdir();
    let scratch = scratch.context("cannot create a scratch directory")?;
    let sysbench = Sysbench::find(arguments.tables, arguments.table_size, scratch.path())?;
    let mut subjects = Vec::new();
    for target in arguments.chosen_targets() {
        let bar = progress_bar(&format!("{} loads", target.name()), 1);
        let server = match target {
            SqlTarget::Duet => {
                let (threads, memory) = (arguments.gateway_threads, arguments.node_memory());
                Server::Duet(Box::new(DuetSql::start(arguments.executable()?, threads, memory)?))
            }
            SqlTarget::Mariadb => {
                Server::MariaDb(Box::new(MariaDb::start(false, arguments.flush_log, scratch.path())?))
            }
            SqlTarget::SemiSync => {
                Server::MariaDb(Box::new(MariaDb::start(true, arguments.flush_log, scratch.path())?))
            }
        };
        let mut subject = Subject { target, server, rows_left: 1.0 };
        subject.prepare(&sysbench)?;
        bar.finish_and_clear();
        subjects.push(subject);
    }
    let cases = cases(arguments, &sysbench, &mut subjects)?;
    let long = long_case(arguments, &sysbench, &mut subjects)?;
    let figures = figures::figures(&cases, long.as_ref());
    let parameters = parameters(arguments, &sysbench, &subjects);
    let run = SysbenchRecord { head, parameters, cases, long, figures };
    say(format_args!("{}", table::render_terminal(&run)))?;
    if let Some(directory) = arguments.record.directory() {
        let results = Results::new(directory);
        results.add(&run)?;
        say(format_args!("added to {}", results.lines::<SysbenchRecord>().display()))?;
    }
    Ok(())
}

fn parameters(
    arguments: &SysbenchArguments,
    sysbench: &Sysbench,
    subjects: &[Subject],
) -> SysbenchParameters {
    let mariadb = subjects.iter().find_map(|subject| match &subject.server {
        Server::MariaDb(server) => Some(server.version.clone()),
        Server::Duet(_) => None,
    });
    let settings = |target: SqlTarget, pair| {
        let asked = subjects.iter().any(|subject| subject.target == target);
        asked.then(|| MariaDb::settings(pair, arguments.flush_log))
    };
    SysbenchParameters {
        table_size: arguments.table_size,
        tables: arguments.tables,
        seconds: arguments.seconds,
        rounds: arguments.rounds,
        sysbench: sysbench.version.clone(),
        mariadb,
        mariadb_settings: settings(SqlTarget::Mariadb, false),
        semi_sync_settings: settings(SqlTarget::SemiSync, true),
        data_nodes: DATA_NODES,
        replicas: REPLICAS,
        gateway_threads: arguments.gateway_threads,
    }
}

/// Measures everything, everybody in turn.
fn cases(
    arguments: &SysbenchArguments,
    sysbench: &Sysbench,
    subjects: &mut [Subject],
) -> Result<Vec<SysbenchCase>> {
    let mut rounds: BTreeMap<(usize, usize, SqlTarget), Vec<SysbenchRound>> = BTreeMap::new();
    let workloads = arguments.chosen_workloads();
    for round in 1..=arguments.rounds {
        for (number, workload) in workloads.iter().enumerate() {
            for (place, threads) in arguments.threads.iter().enumerate() {
                for subject in subjects.iter_mut().filter(|subject| subject.target.takes(*workload)) {
                    let measured = subject
                        .measure(sysbench, *workload, *threads, arguments.seconds)
                        .with_context(|| format!("round {round}/{}", arguments.rounds))?;
                    rounds.entry((number, place, subject.target)).or_default().push(measured);
                }
            }
        }
    }
    let case = |((number, place, target), rounds): ((usize, usize, SqlTarget), Vec<SysbenchRound>)| {
        let median = SysbenchRound::median_of(&rounds);
        SysbenchCase {
            workload: workloads[number],
            threads: arguments.threads[place],
            target,
            median,
            rounds,
        }
    };
    Ok(rounds.into_iter().map(case).collect())
}

/// Runs transactions of all kinds for a long time, if that is wanted.
fn long_case(
    arguments: &SysbenchArguments,
    sysbench: &Sysbench,
    subjects: &mut [Subject],
) -> Result<Option<LongCase>> {
    let duet = subjects.iter_mut().find(|subject| subject.target == SqlTarget::Duet);
    let (Some(duet), 1..) = (duet, arguments.long_seconds) else { return Ok(None) };
    let workload = SysbenchWorkload::OltpReadWrite;
    let result =
        duet.measure(sysbench, workload, LONG_THREADS, arguments.long_seconds).context("the long case")?;
    Ok(Some(LongCase { workload, threads: LONG_THREADS, seconds: arguments.long_seconds, result }))
}

enum Server {
    Duet(Box<DuetSql>),
    MariaDb(Box<MariaDb>),
}

/// Somebody who is asked.
struct Subject {
    target: SqlTarget,
    server: Server,
    /// Share of the rows that deletions have left.
    rows_left: f64,
}

impl Subject {
    fn address(&self) -> SqlAddress {
        match &self.server {
            Server::Duet(server) => server.address(),
            Server::MariaDb(server) => server.address(),
        }
    }

    fn processes(&self) -> Vec<ServerProcess> {
        match &self.server {
            Server::Duet(server) => server.processes(),
            Server::MariaDb(server) => server.processes(),
        }
    }

    fn prepare(&mut self, sysbench: &Sysbench) -> Result<()> {
        sysbench.prepare(&self.address()).with_context(|| self.target.name().to_owned())?;
        self.rows_left = 1.0;
        self.settle()
    }

    /// Waits for what goes on behind the answers, and fails if a process has ended.
    fn settle(&mut self) -> Result<()> {
        match &mut self.server {
            Server::Duet(server) => server.check(),
            Server::MariaDb(server) => server.settle(),
        }
    }

    fn measure(
        &mut self,
        sysbench: &Sysbench,
        workload: SysbenchWorkload,
        threads: u32,
        seconds: u32,
    ) -> Result<SysbenchRound> {
        let name = format!("{} {}, {threads} thread(s)", self.target.name(), workload.name());
        // Where rows are gone others find less work, and transactions that delete and insert them collide.
        let least = if workload == SysbenchWorkload::OltpDelete { LEAST_ROWS } else { 1.0 };
        if self.rows_left < least {
            self.prepare(sysbench)?;
        }
        let bar = progress_bar(&name, 1);
        let processes = self.processes();
        let before = cpu_times(&processes)?;
        let said = sysbench.run(workload, &self.address(), threads, seconds).with_context(|| name.clone())?;
        let after = cpu_times(&processes)?;
        bar.finish_and_clear();
        if workload == SysbenchWorkload::OltpDelete {
            // Each deletes a row that all others leave with this probability, or less where keys are not chosen evenly.
            let rows = f64::from(u32::try_from(sysbench.rows()).unwrap_or(u32::MAX));
            self.rows_left *= (-(said.queries as f64) / rows).exp();
        }
        self.settle().with_context(|| name)?;
        Ok(round(&said, &before, &after))
    }
}

/// CPU time of each role; that of management nodes and data nodes by themselves.
fn cpu_times(processes: &[ServerProcess]) -> Result<BTreeMap<String, Duration>> {
    let time = |process: &ServerProcess| Ok((process.role.clone(), process_cpu_time(process.process_id)?));
    processes.iter().map(time).collect()
}

fn round(
    said: &Said,
    before: &BTreeMap<String, Duration>,
    after: &BTreeMap<String, Duration>,
) -> SysbenchRound {
    let per_query = |(role, time): (&String, &Duration)| {
        let begun = before.get(role).copied().unwrap_or_default();
        let spent = time.saturating_sub(begun).as_secs_f64();
        (role.clone(), spent * 1e6 / said.queries.max(1) as f64)
    };
    SysbenchRound {
        queries_per_second: said.queries_per_second,
        transactions_per_second: said.transactions_per_second,
        p95_ms: said.p95_ms,
        ignored_errors: said.ignored_errors,
        reconnects: said.reconnects,
        cpu_us_per_query: after.iter().map(per_query).collect(),
    }
}
