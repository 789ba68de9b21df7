//! Options of `duet bench sysbench`.

use super::workload::{SqlTarget, SysbenchWorkload};
use crate::options::{RecordArguments, check_rounds};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

const MOST_ROWS: u64 = 100_000_000;
const MOST_THREADS: u32 = 256;
const MOST_SECONDS: u32 = 86_400;
/// Bytes of a row on one data node with its indexes, generously, and those of a node beside its rows.
const ROW_BYTES: u64 = 700;
const NODE_BYTES: u64 = 1 << 30;

/// Run unmodified sysbench against the SQL gateway, a MariaDB server and a semi-synchronous pair, in turn on the same processors.
///
/// Needs the packages sysbench and mariadb-server, and the executable `duet-gateway` beside this one.
#[derive(Debug, Clone, clap::Args)]
pub struct SysbenchArguments {
    /// Rows of a table.
    #[arg(long, default_value_t = 1_000_000)]
    pub table_size: u64,
    /// Tables.
    #[arg(long, default_value_t = 1)]
    pub tables: u32,
    /// Threads of sysbench, each with a connection.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 64])]
    pub threads: Vec<u32>,
    /// What is done [default: everything].
    #[arg(long, value_delimiter = ',')]
    pub workloads: Vec<SysbenchWorkload>,
    /// Who is asked [default: everybody].
    #[arg(long, value_delimiter = ',')]
    pub targets: Vec<SqlTarget>,
    /// Seconds of a case.
    #[arg(long, default_value_t = 3)]
    pub seconds: u32,
    /// Rounds, each over everything; the table shows medians over them.
    #[arg(long, default_value_t = 2)]
    pub rounds: u32,
    /// Seconds of the long case of 64 threads that shall see no error; 0 leaves it out.
    #[arg(long, default_value_t = 60)]
    pub long_seconds: u32,
    /// `innodb_flush_log_at_trx_commit` of MariaDB: 2 writes the log at a commit, 0 once in a second. Neither forces it to the disk.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub flush_log: u8,
    /// Threads of the gateway [default: its own choice].
    #[arg(long)]
    pub gateway_threads: Option<usize>,
    /// The duet executable that runs the servers [default: this one].
    #[arg(long, hide = true)]
    pub executable: Option<PathBuf>,
    /// Whether and where it is recorded.
    #[command(flatten)]
    pub record: RecordArguments,
}

impl SysbenchArguments {
    /// Refuses values that make no sense, before anything is started.
    pub(super) fn check(&self) -> Result<()> {
        check_rounds(self.rounds)?;
        let rows = 100..=MOST_ROWS;
        ensure!(rows.contains(&self.table_size), "--table-size lies between 100 and {MOST_ROWS}");
        ensure!((1..=100).contains(&self.tables), "--tables lies between 1 and 100");
        let threads = |count: &u32| (1..=MOST_THREADS).contains(count);
        ensure!(!self.threads.is_empty(), "--threads names no number");
        ensure!(self.threads.iter().all(threads), "--threads lie between 1 and {MOST_THREADS}");
        ensure!((1..=MOST_SECONDS).contains(&self.seconds), "--seconds lies between 1 and a day");
        ensure!(self.long_seconds <= MOST_SECONDS, "--long-seconds is at most a day");
        Ok(())
    }

    /// The `duet` executable.
    pub(super) fn executable(&self) -> Result<PathBuf> {
        match &self.executable {
            Some(path) => Ok(path.clone()),
            None => std::env::current_exe().context("cannot find this executable"),
        }
    }

    /// What is done, in the order in which it runs.
    pub(super) fn chosen_workloads(&self) -> Vec<SysbenchWorkload> {
        let chosen =
            |workload: &SysbenchWorkload| self.workloads.is_empty() || self.workloads.contains(workload);
        SysbenchWorkload::ALL.into_iter().filter(chosen).collect()
    }

    /// Who is asked, in the order in which that happens.
    pub(super) fn chosen_targets(&self) -> Vec<SqlTarget> {
        let chosen = |target: &SqlTarget| self.targets.is_empty() || self.targets.contains(target);
        SqlTarget::ALL.into_iter().filter(chosen).collect()
    }

    /// Memory of a data node that is enough for the tables and what is inserted.
    pub(super) fn node_memory(&self) -> u64 {
        NODE_BYTES + self.table_size * u64::from(self.tables) * ROW_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sysbench: SysbenchArguments,
    }

    fn parsed(text: &str) -> Result<SysbenchArguments, String> {
        let line = Line::try_parse_from(std::iter::once("sysbench").chain(text.split_whitespace()));
        let line = line.map_err(|error| error.to_string())?;
        line.sysbench.check().map_err(|error| error.to_string())?;
        Ok(line.sysbench)
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_option() {
        assert!(parsed("").is_ok());
        for (text, word) in [
            ("--table-size 1", "--table-size"),
            ("--tables 0", "--tables"),
            ("--threads 0", "--threads"),
            ("--threads 4,1000", "--threads"),
            ("--seconds 0", "--seconds"),
            ("--rounds 0", "--rounds"),
            ("--flush-log 3", "--flush-log"),
            ("--workloads nothing", "--workloads"),
        ] {
            let error = parsed(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_chosen_keeps_its_order() {
        let arguments = parsed("--workloads oltp_delete,oltp_point_select --targets mariadb,duet").unwrap();
        let (delete, select) = (SysbenchWorkload::OltpDelete, SysbenchWorkload::OltpPointSelect);
        assert_eq!(arguments.chosen_workloads(), [select, delete]);
        assert_eq!(arguments.chosen_targets(), [SqlTarget::Duet, SqlTarget::Mariadb]);
        assert_eq!(parsed("").unwrap().chosen_workloads().len(), SysbenchWorkload::ALL.len());
    }
}
