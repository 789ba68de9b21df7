//! The file of results.

use super::record::{RunRecord, SCHEMA_VERSION};
use super::{html, markdown};
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

    /// One JSON line per run.
    #[must_use]
    pub fn lines(&self) -> PathBuf {
        self.directory.join("keys.jsonl")
    }

    /// Adds a run and renders the tables anew.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn add(&self, run: &RunRecord) -> Result<()> {
        std::fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot create {}", self.directory.display()))?;
        append(&self.lines(), run)?;
        self.write("keys.md", &markdown::render(&read_all(&self.lines())?))?;
        Ok(())
    }

    /// Renders tables and plots of all runs; returns the path of the report.
    ///
    /// # Errors
    /// There are no results, or a file cannot be read or written.
    pub fn render(&self) -> Result<PathBuf> {
        let runs: Vec<RunRecord> = read_all(&self.lines())?;
        ensure!(!runs.is_empty(), "{} has no results; `duet bench keys` adds some", self.lines().display());
        self.write("keys.md", &markdown::render(&runs))?;
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
    /// The version of the schema that this program reads.
    const KNOWN: u32;

    /// The version of the schema that it was written in.
    fn schema(&self) -> u32;
}

impl Line for RunRecord {
    const KNOWN: u32 = SCHEMA_VERSION;

    fn schema(&self) -> u32 {
        self.schema
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
        ensure!(run.schema() == T::KNOWN, "{}: schema {} is not known", place(), run.schema());
        runs.push(run);
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::run;
    use super::*;

    #[test]
    fn lines_round_trip_and_are_rendered() {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::new(directory.path().join("new"));
        assert!(results.render().is_err());
        let first = run();
        let second = RunRecord { time: "2026-02-01T00:00:00Z".to_owned(), echo: None, ..run() };
        results.add(&first).unwrap();
        results.add(&second).unwrap();
        assert_eq!(read_all::<RunRecord>(&results.lines()).unwrap(), [first, second]);
        let report = std::fs::read_to_string(results.render().unwrap()).unwrap();
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
        append(&path, &RunRecord { schema: 99, ..run() }).unwrap();
        assert!(format!("{:#}", read_all::<RunRecord>(&path).unwrap_err()).contains("line 2: schema 99"));
        std::fs::write(&path, "{}\n").unwrap();
        assert!(format!("{:#}", read_all::<RunRecord>(&path).unwrap_err()).contains("line 1"));
    }
}
