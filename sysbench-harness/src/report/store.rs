//! The file of results.

use super::head::RunHead;
use super::html;
use super::record::RunRecord;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Files of a directory of results.
#[derive(Debug, Clone)]
pub struct Results {
    directory: PathBuf,
}

impl Results {
    /// The results in `directory`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// One JSON line per run of a benchmark.
    #[must_use]
    pub fn lines<T: Line>(&self) -> PathBuf {
        self.directory.join(format!("{}.jsonl", T::NAME))
    }

    /// Adds a run and renders the tables of its benchmark anew.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn add<T: Line>(&self, run: &T) -> Result<()> {
        std::fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot create {}", self.directory.display()))?;
        append(&self.lines::<T>(), run)?;
        self.render_tables::<T>()
    }

    /// Renders the tables of a benchmark, if it has any results.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn render_tables<T: Line>(&self) -> Result<()> {
        let runs: Vec<T> = read_all(&self.lines::<T>())?;
        if !runs.is_empty() {
            self.write(&format!("{}.md", T::NAME), &T::render(&runs))?;
            if let Some(page) = T::plots(&runs) {
                self.write(&format!("{}.html", T::NAME), &page)?;
            }
        }
        Ok(())
    }

    /// Renders the plots of all runs of `duet bench keys`; returns the path of the report.
    ///
    /// # Errors
    /// There are no results, or a file cannot be read or written.
    pub fn render_report(&self) -> Result<PathBuf> {
        let lines = self.lines::<RunRecord>();
        let runs: Vec<RunRecord> = read_all(&lines)?;
        ensure!(!runs.is_empty(), "{} has no results; `duet bench keys` adds some", lines.display());
        self.write("report.html", &html::render(&runs))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// A result that is one line of a file.
pub trait Line: Serialize + DeserializeOwned {
    /// The benchmark, and the name of its files.
    const NAME: &'static str;
    /// The version of the schema that this program reads.
    const KNOWN: u32;

    /// What every record begins with.
    fn head(&self) -> &RunHead;

    /// All runs as tables for `NAME.md`, the newest first.
    fn render(runs: &[Self]) -> String;

    /// A page of plots for `NAME.html`, if this benchmark has one.
    fn plots(_runs: &[Self]) -> Option<String> {
        None
    }
}

/// Appends one line.
///
/// # Errors
/// The file cannot be written.
pub fn append(path: &Path, run: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_string(run).context("a result cannot be written as JSON")?;
    line.push('\n');
    let file = File::options().create(true).append(true).open(path);
    let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
    // One write, so that two runs at the same time do not mix their lines.
    file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads all lines, oldest first; a file that does not exist has none.
///
/// # Errors
/// The file cannot be read, or a line is no result of a known schema (the message has its number).
pub fn read_all<T: Line>(path: &Path) -> Result<Vec<T>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut runs = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}, line {}", path.display(), index + 1);
        let run: T = serde_json::from_str(line).with_context(place)?;
        let schema = run.head().schema;
        ensure!(schema == T::KNOWN, "{}: schema {schema} is not known", place());
        runs.push(run);
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::run;
    use super::*;

    fn run_at(time: &str) -> RunRecord {
        let mut run = run();
        time.clone_into(&mut run.head.time);
        run
    }

    #[test]
    fn lines_round_trip_and_are_rendered() {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::new(directory.path().join("new"));
        assert!(results.render_report().is_err());
        let first = run();
        let second = RunRecord { echo: None, ..run_at("2026-02-01T00:00:00Z") };
        results.add(&first).unwrap();
        results.add(&second).unwrap();
        assert_eq!(read_all::<RunRecord>(&results.lines::<RunRecord>()).unwrap(), [first, second]);
        let report = std::fs::read_to_string(results.render_report().unwrap()).unwrap();
        assert!(report.contains("2026-02-01T00:00:00Z") && report.contains("<svg"));
        assert!(report.contains("a &lt;fast&gt; CPU") && !report.contains("<fast>"));
        let tables = std::fs::read_to_string(directory.path().join("new/keys.md")).unwrap();
        assert!(tables.contains("| redis 1.2 |"), "{tables}");
    }

    #[test]
    fn a_bad_line_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys.jsonl");
        append(&path, &run()).unwrap();
        let mut newer = run();
        newer.head.schema = 99;
        append(&path, &newer).unwrap();
        assert!(format!("{:#}", read_all::<RunRecord>(&path).unwrap_err()).contains("line 2: schema 99"));
        std::fs::write(&path, "{}\n").unwrap();
        assert!(format!("{:#}", read_all::<RunRecord>(&path).unwrap_err()).contains("line 1"));
    }
}
