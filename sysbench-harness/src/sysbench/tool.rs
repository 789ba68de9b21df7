//! The program sysbench: one run of a script against a server, and what it says of it.

use super::workload::{LIST_KEYS, SysbenchWorkload};
use anyhow::{Context, Result, bail, ensure};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PROGRAM: &str = "sysbench";
/// Our own script.
const IN_LIST: &str = include_str!("in_list.lua");
/// Percentile of the latency that is asked for.
const PERCENTILE: u32 = 95;
/// Most of its output that an error shows.
const SHOWN_BYTES: usize = 1_500;

/// sysbench, and the table that it works on.
pub(super) struct Sysbench {
    /// Its version as it prints it.
    pub(super) version: String,
    tables: u32,
    rows: u64,
    in_list: PathBuf,
}

/// A server as sysbench reaches it.
#[derive(Debug, Clone)]
pub(super) struct SqlAddress {
    pub(super) address: SocketAddr,
    pub(super) user: &'static str,
    pub(super) database: &'static str,
}

/// What sysbench says of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Said {
    pub(super) transactions: u64,
    pub(super) queries: u64,
    pub(super) transactions_per_second: f64,
    pub(super) queries_per_second: f64,
    pub(super) ignored_errors: u64,
    pub(super) reconnects: u64,
    pub(super) p95_ms: f64,
}

impl Sysbench {
    /// Finds the program; its scripts are kept in `directory`.
    pub(super) fn find(tables: u32, rows: u64, directory: &Path) -> Result<Self> {
        let shown = Command::new(PROGRAM).arg("--version").output();
        let shown = shown.context("`sysbench` cannot be started: install it (apt-get install sysbench)")?;
        let version = String::from_utf8_lossy(&shown.stdout).trim().to_owned();
        ensure!(shown.status.success() && !version.is_empty(), "`sysbench --version` failed");
        let in_list = directory.join("in_list.lua");
        std::fs::write(&in_list, IN_LIST).context("cannot write a script")?;
        Ok(Self { version, tables, rows, in_list })
    }

    fn call(&self, script: &str, server: &SqlAddress, options: &[String], verb: &str) -> Result<String> {
        let mut command = Command::new(PROGRAM);
        command
            .arg(script)
            .arg("--db-driver=mysql")
            .arg(format!("--mysql-host={}", server.address.ip()))
            .arg(format!("--mysql-port={}", server.address.port()))
            .arg(format!("--mysql-user={}", server.user))
            .arg(format!("--mysql-db={}", server.database))
            .arg(format!("--tables={}", self.tables))
            .arg(format!("--table-size={}", self.rows))
            .args(options)
            .arg(verb)
            .stdin(Stdio::null());
        let output = command.output().context("cannot start sysbench")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() || text.contains("FATAL") {
            let whole = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
            let important: Vec<&str> =
                whole.lines().filter(|line| line.contains("FATAL") || line.contains("rror")).collect();
            let shown = if important.is_empty() { whole } else { important.join("\n") };
            let end = shown.floor_char_boundary(SHOWN_BYTES.min(shown.len()));
            bail!("`sysbench {script} {verb}` failed ({}):\n{}", output.status, &shown[..end]);
        }
        Ok(text)
    }

    /// Rows of all tables at first.
    pub(super) fn rows(&self) -> u64 {
        self.rows * u64::from(self.tables)
    }

    /// Creates and fills the tables, after dropping those that are there.
    pub(super) fn prepare(&self, server: &SqlAddress) -> Result<()> {
        self.call("oltp_read_write", server, &[], "cleanup")?;
        self.call("oltp_read_write", server, &[], "prepare")?;
        Ok(())
    }

    /// Runs a workload for some seconds.
    pub(super) fn run(
        &self,
        workload: SysbenchWorkload,
        server: &SqlAddress,
        threads: u32,
        seconds: u32,
    ) -> Result<Said> {
        let mut options = vec![
            format!("--threads={threads}"),
            format!("--time={seconds}"),
            "--events=0".to_owned(),
            format!("--percentile={PERCENTILE}"),
        ];
        let own = self.in_list.to_string_lossy();
        let script = match workload {
            SysbenchWorkload::InList => {
                options.push(format!("--keys={LIST_KEYS}"));
                &own
            }
            standard => standard.name(),
        };
        let text = self.call(script, server, &options, "run")?;
        Said::parse(&text).with_context(|| format!("sysbench printed what is not understood:\n{text}"))
    }
}

impl Said {
    /// Reads the report of a run.
    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let line = text.lines().map(str::trim).find(|line| line.starts_with(name))?;
            line.strip_prefix(name).map(str::trim)
        };
        let counted = |name: &str| -> Option<(u64, f64)> {
            let (count, rate) = value(name)?.split_once('(')?;
            let rate = rate.trim_end_matches(')').trim_end_matches("per sec.").trim();
            Some((count.trim().parse().ok()?, rate.parse().ok()?))
        };
        let (transactions, transactions_per_second) = counted("transactions:")?;
        let (queries, queries_per_second) = counted("queries:")?;
        let (ignored_errors, _) = counted("ignored errors:")?;
        let (reconnects, _) = counted("reconnects:")?;
        let p95_ms = value("95th percentile:")?.parse().ok()?;
        Some(Self {
            transactions,
            queries,
            transactions_per_second,
            queries_per_second,
            ignored_errors,
            reconnects,
            p95_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_run_is_understood() {
        let text = "SQL statistics:
    queries performed:
        read:                            70
        total:                           100
    transactions:                        5      (49.64 per sec.)
    queries:                             100    (992.71 per sec.)
    ignored errors:                      2      (0.00 per sec.)
    reconnects:                          1      (0.00 per sec.)

Latency (ms):
         min:                                    1.33
         95th percentile:                        2.39
";
        let said = Said::parse(text).expect("a report");
        assert_eq!((said.transactions, said.queries), (5, 100));
        assert_eq!((said.ignored_errors, said.reconnects), (2, 1));
        assert!((said.queries_per_second - 992.71).abs() < 1e-9 && (said.p95_ms - 2.39).abs() < 1e-9);
        assert!((said.transactions_per_second - 49.64).abs() < 1e-9);
        assert_eq!(Said::parse("something else"), None);
    }
}
