//! `duet features ingest`: files into a feature group.

use super::{TIMEOUT, open};
use crate::connection::{Connection, block_on};
use crate::import::cell::Cell;
use crate::import::definition::{TableName, profile};
use crate::import::source::{Batch, Source};
use crate::output::say;
use crate::progress::{count_text, rows_bar};
use anyhow::{Context, Result, ensure};
use duet_client::{ColumnType, Value};
use duet_featurestore::{
    Feature, FeatureStore, FeatureType, GroupDefinition, GroupWriter, Reason, RowOutcome, Versioned,
};
use indicatif::ProgressBar;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::task::{JoinHandle, block_in_place};
use xxhash_rust::xxh3::xxh3_128;

/// Batches under way at once, where the event time says which row counts.
const BATCHES: usize = 4;
/// After how many batches the progress is noted.
const NOTE_BATCHES: u64 = 16;
/// Bad rows told on standard error.
const TOLD: u64 = 20;

/// Options of `duet features ingest`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Parquet, Arrow or CSV files with the same columns
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Feature group
    #[arg(long, value_name = "STORE.NAME")]
    group: TableName,
    /// Version of the group
    #[arg(long, value_name = "VERSION", default_value_t = 1)]
    group_version: i32,
    /// Columns of the primary key, separated by commas; for a group that does not exist yet
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    key: Vec<String>,
    /// Column of the event time; for a group that does not exist yet
    #[arg(long, value_name = "COLUMN")]
    event_time: Option<String>,
    /// Seconds after which a row is gone; for a group that does not exist yet
    #[arg(long, value_name = "SECONDS")]
    ttl_seconds: Option<u64>,
    /// File for the bad rows and what is wrong with each, as CSV
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Begin anew instead of going on where an earlier ingestion of the file ended
    #[arg(long)]
    from_start: bool,
    /// Text that means NULL in a CSV file; may be given several times [default: the empty text]
    #[arg(long = "null", value_name = "TEXT")]
    nulls: Vec<String>,
    /// Where the cluster is
    #[command(flatten)]
    connection: Connection,
}

/// What came of the files.
#[derive(Default)]
struct Totals {
    written: u64,
    older: u64,
    skipped: u64,
    bad: u64,
}

/// Where bad rows are told.
struct BadRows {
    report: Option<BufWriter<File>>,
    told: u64,
}

impl BadRows {
    fn add(&mut self, file: &Path, unit: &str, row: u64, reason: &str, bar: &ProgressBar) -> Result<()> {
        if let Some(report) = &mut self.report {
            let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            writeln!(report, "{},{row},{}", quoted(&file.display().to_string()), quoted(reason))?;
        }
        if self.told < TOLD {
            self.told += 1;
            bar.suspend(|| eprintln!("  {} {unit} {row}: {reason}", file.display()));
        }
        Ok(())
    }
}

/// Loads the files; whether every row of them was good.
///
/// # Errors
/// A sentence: a file cannot be read, does not fit the group, or the cluster refused.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let nulls = if arguments.nulls.is_empty() { vec![String::new()] } else { arguments.nulls.clone() };
    let sources =
        arguments.files.iter().map(|file| Source::open(file, &nulls)).collect::<Result<Vec<_>>>()?;
    let report = arguments.report.as_ref().map(|path| {
        let mut report = BufWriter::new(
            File::create(path).with_context(|| format!("cannot write the report {}", path.display()))?,
        );
        writeln!(report, "file,row,reason")?;
        anyhow::Ok(report)
    });
    let mut bad = BadRows { report: report.transpose()?, told: 0 };
    block_on(async {
        let store = open(&arguments.connection, TIMEOUT).await?;
        let writer = Arc::new(open_group(&store, arguments, &sources).await?);
        let start = Instant::now();
        let mut totals = Totals::default();
        for (file, source) in arguments.files.iter().zip(&sources) {
            let ingestion = Ingestion::new(&store, &writer, file, source)?;
            let from = if arguments.from_start { 0 } else { store.progress(&ingestion.name).await? };
            let bar = rows_bar(&arguments.group.to_string(), source.rows());
            let done = ingestion.run(from, &mut totals, &mut bad, &bar).await;
            bar.finish_and_clear();
            done?;
        }
        if let Some(report) = &mut bad.report {
            report.flush()?;
        }
        let seconds = start.elapsed().as_secs_f64().max(1e-9);
        say(format_args!(
            "{} rows into {} in {seconds:.1} s ({} rows/s); {} dropped for newer events, {} loaded before, {} bad",
            count_text(totals.written),
            writer.group().definition.versioned(),
            count_text((totals.written as f64 / seconds) as u64),
            count_text(totals.older),
            count_text(totals.skipped),
            count_text(totals.bad),
        ))?;
        Ok(totals.bad == 0)
    })
}

/// The group, created from what the first file holds when there is none.
async fn open_group(store: &FeatureStore, arguments: &Arguments, sources: &[Source]) -> Result<GroupWriter> {
    let name = Versioned::new(&arguments.group.database, &arguments.group.table, arguments.group_version);
    match store.writer(&name).await {
        Err(error) if matches!(error.reason, Reason::GroupMissing | Reason::StoreMissing) => {}
        opened => return Ok(opened?),
    }
    let Some(source) = sources.first() else { anyhow::bail!("no file is given") };
    ensure!(!arguments.key.is_empty(), "group {name} is new; --key names its primary key");
    let bar = rows_bar("looking at the columns", source.rows());
    let profiles = profile(source, |rows| bar.inc(rows));
    bar.finish_and_clear();
    let features = source.columns().iter().zip(profiles?).map(|((column, _), profile)| Feature {
        name: column.to_ascii_lowercase(),
        feature_type: FeatureType::of_column(profile.column_type()),
    });
    let definition = GroupDefinition {
        store: name.store.clone(),
        name: name.name.clone(),
        version: name.version,
        primary_key: arguments.key.iter().map(|key| key.to_ascii_lowercase()).collect(),
        event_time: arguments.event_time.as_ref().map(|name| name.to_ascii_lowercase()),
        ttl_seconds: arguments.ttl_seconds,
        features: features.collect(),
    };
    store.create_group(&definition).await?;
    say(format_args!("created feature group {name}"))?;
    Ok(store.writer(&name).await?)
}

/// The value of a cell. Event times are instants: a time without zone is taken as UTC.
fn value_of(cell: &Cell<'_>, column: ColumnType) -> Result<Value, std::borrow::Cow<'static, str>> {
    match cell.to_value(column) {
        Ok(Value::DateTime(time)) if column == ColumnType::Timestamp => Ok(Value::Timestamp(time)),
        Err(reason) if column == ColumnType::Timestamp => match cell.to_value(ColumnType::DateTime) {
            Ok(Value::DateTime(time)) => Ok(Value::Timestamp(time)),
            Ok(_) | Err(_) => Err(reason),
        },
        value => value,
    }
}

/// One file on its way.
struct Ingestion<'i> {
    store: &'i FeatureStore,
    writer: &'i Arc<GroupWriter>,
    file: &'i Path,
    source: &'i Source,
    /// Columns of the group in the order of the file.
    columns: Arc<Vec<u16>>,
    /// Names this version of the file and the group in the table of progress.
    name: String,
}

/// Rows of a batch: their numbers in the file, and what became of them.
type Written = JoinHandle<Result<(Vec<u64>, Vec<RowOutcome>), duet_featurestore::FeatureError>>;

impl<'i> Ingestion<'i> {
    fn new(
        store: &'i FeatureStore,
        writer: &'i Arc<GroupWriter>,
        file: &'i Path,
        source: &'i Source,
    ) -> Result<Ingestion<'i>> {
        let names: Vec<String> =
            source.columns().iter().map(|(column, _)| column.to_ascii_lowercase()).collect();
        let columns = writer.columns(names.iter().map(String::as_str));
        let columns = columns.with_context(|| format!("{} does not fit the group", file.display()))?;
        let metadata = std::fs::metadata(file)?;
        let path = std::fs::canonicalize(file)?;
        let group = writer.group();
        let identity = format!(
            "{path:?} {} {:?} {} {}",
            metadata.len(),
            metadata.modified().ok(),
            group.table.id(),
            group.id
        );
        let name = format!("{:032x}", xxh3_128(identity.as_bytes()));
        Ok(Ingestion { store, writer, file, source, columns: Arc::new(columns), name })
    }

    /// Writes all rows behind the first `from`. Batches end in the order of the file, so that what is noted as done is done.
    async fn run(&self, from: u64, totals: &mut Totals, bad: &mut BadRows, bar: &ProgressBar) -> Result<()> {
        let most = if self.writer.group().definition.event_time.is_some() { BATCHES } else { 1 };
        let mut under_way: VecDeque<(u64, Written)> = VecDeque::new();
        let mut batches = self.source.batches()?;
        let (mut read, mut settled) = (0, 0);
        while let Some(batch) = block_in_place(|| batches.next()) {
            let batch = batch?;
            let rows = batch.rows() as u64;
            read += rows;
            if read <= from {
                totals.skipped += rows;
                bar.inc(rows);
                continue;
            }
            let (numbers, good) = block_in_place(|| self.convert(&batch, totals, bad, bar))?;
            while under_way.len() >= most {
                settled += 1;
                self.settle(&mut under_way, totals, bad, bar, settled % NOTE_BATCHES == 0).await?;
            }
            let (writer, columns) = (Arc::clone(self.writer), Arc::clone(&self.columns));
            let written = tokio::spawn(async move {
                let report = writer.upsert(&columns, &good).await?;
                Ok((numbers, report.outcomes))
            });
            under_way.push_back((read, written));
            bar.inc(rows);
        }
        while !under_way.is_empty() {
            self.settle(&mut under_way, totals, bad, bar, false).await?;
        }
        Ok(self.store.forget_progress(&self.name).await?)
    }

    /// Waits for the oldest batch; with `note` everything up to its end is noted as done.
    async fn settle(
        &self,
        under_way: &mut VecDeque<(u64, Written)>,
        totals: &mut Totals,
        bad: &mut BadRows,
        bar: &ProgressBar,
        note: bool,
    ) -> Result<()> {
        let Some((upto, written)) = under_way.pop_front() else { return Ok(()) };
        let (numbers, outcomes) = written.await.context("a task of the ingestion ended")??;
        for (number, outcome) in numbers.into_iter().zip(outcomes) {
            match outcome {
                RowOutcome::Written => totals.written += 1,
                RowOutcome::Older => totals.older += 1,
                RowOutcome::NotFound => {}
                // A cluster that is away for longer ends the ingestion; it goes on from here when it is started again.
                RowOutcome::Failed(error) if error.reason == Reason::Database => return Err(error.into()),
                RowOutcome::Failed(error) => {
                    totals.bad += 1;
                    bad.add(self.file, self.source.unit(), number, &error.to_string(), bar)?;
                }
            }
        }
        if note {
            self.store.note_progress(&self.name, upto).await?;
        }
        Ok(())
    }

    /// The rows of a batch that can be read, with their numbers in the file.
    fn convert(
        &self,
        batch: &Batch,
        totals: &mut Totals,
        bad: &mut BadRows,
        bar: &ProgressBar,
    ) -> Result<(Vec<u64>, Vec<Vec<Value>>)> {
        let definition = self.writer.group().table.definition();
        let (mut numbers, mut good) = (Vec::with_capacity(batch.rows()), Vec::with_capacity(batch.rows()));
        for row in 0..batch.rows() {
            let values = match batch.problem(row) {
                Some(problem) => Err(problem),
                None => {
                    let value = |(index, column): (usize, &u16)| {
                        let column = &definition.columns[usize::from(*column)];
                        let value = value_of(&batch.cell(index, row), column.column_type);
                        value.map_err(|reason| format!("column '{}': {reason}", column.name))
                    };
                    self.columns.iter().enumerate().map(value).collect::<Result<Vec<Value>, String>>()
                }
            };
            match values {
                Ok(values) => {
                    numbers.push(batch.row_number(row));
                    good.push(values);
                }
                Err(reason) => {
                    totals.bad += 1;
                    bad.add(self.file, self.source.unit(), batch.row_number(row), &reason, bar)?;
                }
            }
        }
        Ok((numbers, good))
    }
}
