//! Files of rows: Parquet, Arrow and CSV, read in batches so that memory does not grow with the file.

use super::cell::Cell;
use super::columnar::declared;
use super::csv_input::CsvInput;
use super::profile::Declared;
use anyhow::{Context, Result, bail, ensure};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use bytes::Bytes;
use csv::ByteRecord;
use duet_featurestore::columnar::ArrowBatch;
use duet_protocol::value::ValueRef;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 4096;
/// The first bytes of an Arrow file; a stream of Arrow begins otherwise.
const ARROW_FILE: &[u8] = b"ARROW1";

/// Where the bytes of a source are.
#[derive(Clone, Debug)]
enum Origin {
    ParquetFile(PathBuf),
    ParquetBytes(Bytes),
    /// A file or a stream of Arrow's interprocess format.
    Arrow(PathBuf),
    Csv {
        path: PathBuf,
        nulls: Vec<String>,
    },
}

/// A file that can be read more than once.
#[derive(Clone, Debug)]
pub struct Source {
    origin: Origin,
    name: String,
    columns: Vec<(String, Declared)>,
    rows: Option<u64>,
}

impl Source {
    /// Opens a file by its ending: `.parquet`, `.csv`, or for Arrow `.arrow`, `.arrows`, `.feather` or `.ipc`, which may hold the
    /// format of files or that of streams. In CSV files the texts in `nulls` mean NULL.
    ///
    /// # Errors
    /// The file cannot be read, has another ending, no columns, or a column of a type that no table column can hold.
    pub fn open(path: &Path, nulls: &[String]) -> Result<Source> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let origin = match ending.to_ascii_lowercase().as_str() {
            "parquet" => Origin::ParquetFile(path.to_owned()),
            "csv" => Origin::Csv { path: path.to_owned(), nulls: nulls.to_vec() },
            "arrow" | "arrows" | "feather" | "ipc" => Origin::Arrow(path.to_owned()),
            _ => bail!("{} is neither a .parquet nor a .csv nor an .arrow file", path.display()),
        };
        Source::new(origin, path.display().to_string())
    }

    /// A Parquet file in memory.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Source> {
        Source::new(Origin::ParquetBytes(Bytes::from_static(bytes)), name.to_owned())
    }

    fn new(origin: Origin, name: String) -> Result<Source> {
        let mut source = Source { origin, name, columns: Vec::new(), rows: None };
        let context = format!("{} cannot be read", source.name);
        source.read_head().context(context)?;
        ensure!(!source.columns.is_empty(), "{} has no columns", source.name);
        Ok(source)
    }

    fn read_head(&mut self) -> Result<()> {
        let metadata = match &self.origin {
            Origin::ParquetFile(path) => ArrowReaderMetadata::load(&File::open(path)?, Default::default())?,
            Origin::ParquetBytes(bytes) => ArrowReaderMetadata::load(bytes, Default::default())?,
            Origin::Arrow(path) => {
                for field in ArrowReader::open(path)?.schema().fields() {
                    self.columns.push((field.name().clone(), declared(field)?));
                }
                return Ok(());
            }
            Origin::Csv { path, .. } => {
                let mut reader = csv_reader(path)?;
                for (index, name) in reader.headers()?.iter().enumerate() {
                    ensure!(!name.is_empty(), "column {} has no name in the first line", index + 1);
                    self.columns.push((name.to_owned(), Declared::Nothing));
                }
                return Ok(());
            }
        };
        self.rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).ok();
        for field in metadata.schema().fields() {
            self.columns.push((field.name().clone(), declared(field)?));
        }
        Ok(())
    }

    /// Name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names of the columns and what the file says about their types.
    pub fn columns(&self) -> &[(String, Declared)] {
        &self.columns
    }

    /// What the numbers of rows count.
    pub fn unit(&self) -> &'static str {
        match self.origin {
            Origin::ParquetFile(_) | Origin::ParquetBytes(_) | Origin::Arrow(_) => "row",
            Origin::Csv { .. } => "line",
        }
    }

    /// Number of rows, where the file says it.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Reads the file from its start.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn batches(&self) -> Result<Batches> {
        let reader = match &self.origin {
            Origin::ParquetFile(path) => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
                Reader::Parquet(builder.with_batch_size(BATCH_ROWS).build()?)
            }
            Origin::ParquetBytes(bytes) => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?;
                Reader::Parquet(builder.with_batch_size(BATCH_ROWS).build()?)
            }
            Origin::Arrow(path) => Reader::Arrow { reader: ArrowReader::open(path)?, rest: None },
            Origin::Csv { path, nulls } => Reader::Csv { reader: csv_reader(path)?, nulls: nulls.clone() },
        };
        Ok(Batches { reader, name: self.name.clone(), columns: self.columns.len(), next_row: 1 })
    }
}

type CsvReader = csv::Reader<CsvInput<File>>;

fn csv_reader(path: &Path) -> Result<CsvReader> {
    Ok(csv::ReaderBuilder::new().flexible(true).from_reader(CsvInput::new(File::open(path)?)))
}

enum Reader {
    Parquet(ParquetRecordBatchReader),
    Arrow {
        reader: ArrowReader,
        /// What is left of a batch, which may be as large as the file.
        rest: Option<RecordBatch>,
    },
    Csv {
        reader: CsvReader,
        nulls: Vec<String>,
    },
}

/// The batches of a source, in order.
pub struct Batches {
    reader: Reader,
    name: String,
    columns: usize,
    next_row: u64,
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        let content = match &mut self.reader {
            Reader::Parquet(reader) => match reader.next()? {
                Ok(batch) => ArrowBatch::new(&batch).map(Content::Arrow).map_err(Into::into),
                Err(error) => Err(error.into()),
            },
            Reader::Arrow { reader, rest } => match slice(reader, rest)? {
                Ok(batch) => ArrowBatch::new(&batch).map(Content::Arrow).map_err(Into::into),
                Err(error) => Err(error.into()),
            },
            Reader::Csv { reader, nulls } => read_records(reader).map(|records| Content::Text {
                records,
                nulls: nulls.clone(),
                columns: self.columns,
            }),
        };
        let first_row = self.next_row;
        match content {
            Ok(content) if content.rows() == 0 => None,
            Ok(content) => {
                self.next_row += content.rows() as u64;
                Some(Ok(Batch { content, first_row }))
            }
            Err(error) => {
                // The errors of CSV files name the line themselves.
                let place = match self.reader {
                    Reader::Parquet(_) | Reader::Arrow { .. } => format!(" behind row {}", first_row - 1),
                    Reader::Csv { .. } => String::new(),
                };
                Some(Err(error.context(format!("{} cannot be read{place}", self.name))))
            }
        }
    }
}

/// Both formats of Arrow between processes.
enum ArrowReader {
    File(FileReader<BufReader<File>>),
    Stream(StreamReader<BufReader<File>>),
}

impl ArrowReader {
    fn open(path: &Path) -> Result<ArrowReader> {
        let mut file = BufReader::new(File::open(path)?);
        let mut first = [0; ARROW_FILE.len()];
        let is_file = file.read_exact(&mut first).is_ok() && first == ARROW_FILE;
        file.rewind()?;
        Ok(match is_file {
            true => ArrowReader::File(FileReader::try_new(file, None)?),
            false => ArrowReader::Stream(StreamReader::try_new(file, None)?),
        })
    }

    fn schema(&self) -> SchemaRef {
        match self {
            ArrowReader::File(reader) => reader.schema(),
            ArrowReader::Stream(reader) => reader.schema(),
        }
    }
}

impl Iterator for ArrowReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        match self {
            ArrowReader::File(reader) => reader.next(),
            ArrowReader::Stream(reader) => reader.next(),
        }
    }
}

/// The next rows, not more than a batch has.
fn slice(
    reader: &mut ArrowReader,
    rest: &mut Option<RecordBatch>,
) -> Option<Result<RecordBatch, ArrowError>> {
    let batch = loop {
        let batch = match rest.take() {
            Some(batch) => batch,
            None => match reader.next()? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            },
        };
        if batch.num_rows() > 0 {
            break batch;
        }
    };
    let rows = batch.num_rows().min(BATCH_ROWS);
    if rows < batch.num_rows() {
        *rest = Some(batch.slice(rows, batch.num_rows() - rows));
    }
    Some(Ok(batch.slice(0, rows)))
}

fn read_records(reader: &mut CsvReader) -> Result<Vec<ByteRecord>> {
    let mut records = Vec::with_capacity(BATCH_ROWS);
    while records.len() < BATCH_ROWS {
        reader.get_mut().next_record();
        let mut record = ByteRecord::new();
        if !reader.read_byte_record(&mut record)? {
            break;
        }
        // The position that the reader notes is that of empty lines before the record; its end is certain.
        let breaks = record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        let mut start = reader.position().clone();
        start.set_line(start.line().saturating_sub(1 + breaks));
        record.set_position(Some(start));
        records.push(record);
    }
    Ok(records)
}

enum Content {
    Arrow(ArrowBatch),
    Text { records: Vec<ByteRecord>, nulls: Vec<String>, columns: usize },
}

impl Content {
    fn rows(&self) -> usize {
        match self {
            Content::Arrow(batch) => batch.rows(),
            Content::Text { records, .. } => records.len(),
        }
    }
}

/// Some rows of a source.
pub struct Batch {
    content: Content,
    first_row: u64,
}

impl Batch {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.content.rows()
    }

    /// Number of a row in the file, counted from 1; in a CSV file that of its first line, the header included.
    pub fn row_number(&self, row: usize) -> u64 {
        match &self.content {
            Content::Arrow(_) => self.first_row + row as u64,
            Content::Text { records, .. } => records[row].position().map_or(0, csv::Position::line),
        }
    }

    /// Why a row cannot be used at all, if so.
    pub fn problem(&self, row: usize) -> Option<String> {
        match &self.content {
            Content::Arrow(_) => None,
            Content::Text { records, columns, .. } => {
                let fields = records[row].len();
                (fields != *columns).then(|| format!("it has {fields} fields where the header has {columns}"))
            }
        }
    }

    /// The value of a column in a row.
    pub fn cell(&self, column: usize, row: usize) -> Cell<'_> {
        match &self.content {
            Content::Arrow(batch) => batch.cell(column, row).map_or_else(Cell::Invalid, Cell::Typed),
            Content::Text { records, nulls, .. } => match records[row].get(column).map(str::from_utf8) {
                None => Cell::Typed(ValueRef::Null),
                Some(Err(_)) => Cell::Invalid("the text is not valid UTF-8"),
                Some(Ok(text)) if nulls.iter().any(|null| null == text) => Cell::Typed(ValueRef::Null),
                Some(Ok(text)) => Cell::Untyped(text),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::csv_input::LONGEST_RECORD_BYTES;
    use super::*;

    fn csv_file(directory: &tempfile::TempDir, content: &[u8]) -> PathBuf {
        let path = directory.path().join("rows.csv");
        std::fs::write(&path, content).expect("writable");
        path
    }

    #[test]
    fn csv_fields_quotes_and_broken_rows() {
        let directory = tempfile::tempdir().expect("a directory");
        let content = b"a,b\n1,\"x, \"\"y\"\"\nz\"\n2\n,NA\n\xff,4\n";
        let path = csv_file(&directory, content);
        let source = Source::open(&path, &[String::new(), "NA".to_owned()]).expect("readable");
        assert_eq!(source.columns().len(), 2);
        let batches: Vec<Batch> = source.batches().expect("open").collect::<Result<_>>().expect("rows");
        let batch = &batches[0];
        assert_eq!((batches.len(), batch.rows(), batch.row_number(3)), (1, 4, 6));
        assert_eq!(batch.cell(1, 0), Cell::Untyped("x, \"y\"\nz"));
        assert!(batch.problem(0).is_none());
        assert!(batch.problem(1).expect("too short").contains("1 fields"));
        assert!(batch.cell(0, 2).is_null() && batch.cell(1, 2).is_null());
        assert!(matches!(batch.cell(0, 3), Cell::Invalid(_)));
    }

    #[test]
    fn rows_have_the_numbers_of_their_lines() {
        let directory = tempfile::tempdir().expect("a directory");
        for content in
            ["\na,b\n1,2\n\n\n3,\"x\n\ny\"\n5,6", "\r\na,b\r\n1,2\r\n\r\n\r\n3,\"x\r\n\r\ny\"\r\n5,6\r\n\r\n"]
        {
            let source = Source::open(&csv_file(&directory, content.as_bytes()), &[]).expect("readable");
            let batch = source.batches().expect("open").next().expect("a batch").expect("rows");
            assert_eq!((0..batch.rows()).map(|row| batch.row_number(row)).collect::<Vec<_>>(), [3, 6, 9]);
        }
    }

    #[test]
    fn an_unclosed_quote_ends_with_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut content = b"a,b\n1,\"never closed\n".to_vec();
        content.resize(3 * LONGEST_RECORD_BYTES, b'x');
        let source = Source::open(&csv_file(&directory, &content), &[]).expect("readable");
        let error = source.batches().expect("open").next().expect("an answer").err().expect("an error");
        assert!(format!("{error:#}").contains("the quote in line 2"), "{error:#}");
        let source = Source::open(&csv_file(&directory, b"a,b\n1,x\n2,\"y\n3,z\n"), &[]).expect("readable");
        let error = source.batches().expect("open").next().expect("an answer").err().expect("an error");
        assert!(format!("{error:#}").ends_with("line 3: a quote is opened and never closed"), "{error:#}");
    }

    #[test]
    fn long_files_of_short_records_are_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let content = "a\n".to_owned() + &"12345\n".repeat(400_000);
        let source = Source::open(&csv_file(&directory, content.as_bytes()), &[]).expect("readable");
        let rows: usize = source.batches().expect("open").map(|batch| batch.expect("rows").rows()).sum();
        assert_eq!(rows, 400_000);
    }

    #[test]
    fn arrow_files_and_streams_are_read_in_parts() {
        use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
        use arrow::ipc::writer::{FileWriter, StreamWriter};
        use std::sync::Arc;
        let rows = BATCH_ROWS as i64 * 2 + 5;
        let batch = |from: i64, to: i64| {
            let text = |number: i64| (number % 3 > 0).then(|| format!("n{number}"));
            let columns: [(&str, ArrayRef); 3] = [
                ("id", Arc::new(Int64Array::from_iter_values(from..to))),
                ("x", Arc::new(Float64Array::from_iter_values((from..to).map(|number| number as f64 / 2.0)))),
                ("name", Arc::new(StringArray::from_iter((from..to).map(text)))),
            ];
            RecordBatch::try_from_iter(columns).expect("a batch")
        };
        // One large batch, an empty one, and a small one.
        let batches = [batch(0, rows - 3), batch(0, 0), batch(rows - 3, rows)];
        let directory = tempfile::tempdir().expect("a directory");
        let paths = [directory.path().join("rows.feather"), directory.path().join("rows.arrows")];
        let schema = batches[0].schema();
        let mut file =
            FileWriter::try_new(File::create(&paths[0]).expect("a file"), &schema).expect("a writer");
        let mut stream =
            StreamWriter::try_new(File::create(&paths[1]).expect("a file"), &schema).expect("a writer");
        for batch in &batches {
            file.write(batch).expect("written");
            stream.write(batch).expect("written");
        }
        file.finish().expect("written");
        stream.finish().expect("written");
        for path in paths {
            let source = Source::open(&path, &[]).expect("readable");
            assert_eq!(source.columns().len(), 3);
            let mut next = 0;
            for batch in source.batches().expect("open") {
                let batch = batch.expect("rows");
                assert!(batch.rows() <= BATCH_ROWS);
                for row in 0..batch.rows() {
                    assert_eq!(batch.row_number(row), next as u64 + 1);
                    assert_eq!(batch.cell(0, row), Cell::Typed(ValueRef::Int(next)));
                    assert_eq!(batch.cell(1, row), Cell::Typed(ValueRef::Double(next as f64 / 2.0)));
                    assert_eq!(batch.cell(2, row).is_null(), next % 3 == 0);
                    next += 1;
                }
            }
            assert_eq!(next, rows);
        }
    }

    #[test]
    fn other_files_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(Source::open(&directory.path().join("missing.csv"), &[]).is_err());
        assert!(Source::open(&directory.path().join("rows.json"), &[]).is_err());
        let path = directory.path().join("broken.arrow");
        std::fs::write(&path, b"ARROW1 this is not Arrow").expect("writable");
        assert!(Source::open(&path, &[]).is_err());
        std::fs::write(&path, b"nor is this").expect("writable");
        assert!(Source::open(&path, &[]).is_err());
        let path = directory.path().join("broken.parquet");
        std::fs::write(&path, b"PAR1 this is not Parquet PAR1").expect("writable");
        assert!(Source::open(&path, &[]).is_err());
        assert!(Source::open(&csv_file(&directory, b""), &[]).is_err());
    }
}
