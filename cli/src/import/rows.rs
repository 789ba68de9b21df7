//! From the cells of a file to rows of a table; what does not fit is kept back with its reason.

use super::definition::Origin;
use super::source::Batch;
use anyhow::Result;
use duet_protocol::layout::TableLayout;
use duet_protocol::schema::TableDefinition;
use duet_protocol::value::Value;
use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};
use xxhash_rust::xxh3::xxh3_128;

/// How many bad rows are kept for the report; all are counted.
const REPORTED_ROWS: usize = 20;

/// Rows that were not loaded.
#[derive(Clone, Debug, Default)]
pub struct BadRows {
    /// How many.
    pub count: u64,
    /// Number in the file and reason of the first ones.
    pub first: Vec<(u64, String)>,
}

impl BadRows {
    /// Adds a row.
    pub fn add(&mut self, row: u64, reason: String) {
        self.count += 1;
        if self.first.len() < REPORTED_ROWS {
            self.first.push((row, reason));
        }
    }
}

/// A row that fits its table.
#[derive(Clone, Debug, PartialEq)]
pub struct GoodRow {
    /// Number in the file, as [`Batch::row_number`] counts.
    pub number: u64,
    /// Values of all columns of the table.
    pub values: Vec<Value>,
}

/// Converts the rows of a source for one table.
pub struct Converter {
    definition: TableDefinition,
    layout: TableLayout,
    origins: Vec<Origin>,
    /// XXH3-128 of the keys seen: 16 bytes per row find every duplicate; a false one is out of reach.
    seen: HashSet<u128, rustc_hash::FxBuildHasher>,
    key: Vec<u8>,
    image: Vec<u8>,
    /// What columns have that take the current time and that the source lacks, in microseconds since 1970: all rows the same.
    now: i64,
}

impl Converter {
    /// A converter for one pass over a source.
    ///
    /// # Errors
    /// The definition is not valid.
    pub fn new(definition: TableDefinition, origins: Vec<Origin>) -> Result<Converter> {
        let layout = TableLayout::new(&definition)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Converter {
            definition,
            layout,
            origins,
            seen: HashSet::default(),
            key: Vec::new(),
            image: Vec::new(),
            now: i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        })
    }

    /// The rows of `batch` that fit, in order; the others go to `bad`. Of rows with the same key the first one counts.
    pub fn convert(&mut self, batch: &Batch, bad: &mut BadRows) -> Vec<GoodRow> {
        let mut good = Vec::with_capacity(batch.rows());
        for row in 0..batch.rows() {
            let number = batch.row_number(row);
            match self.row(batch, row) {
                Ok(values) => good.push(GoodRow { number, values }),
                Err(reason) => bad.add(number, reason),
            }
        }
        good
    }

    fn row(&mut self, batch: &Batch, row: usize) -> Result<Vec<Value>, String> {
        if let Some(problem) = batch.problem(row) {
            return Err(problem);
        }
        let mut values = Vec::with_capacity(self.origins.len());
        for (column, origin) in self.definition.columns.iter().zip(&self.origins) {
            values.push(match origin {
                Origin::File(index) => batch
                    .cell(*index, row)
                    .to_value(column.column_type)
                    .map_err(|reason| format!("column '{}': {reason}", column.name))?,
                Origin::Default => column.default_at(|| self.now).unwrap_or(Value::Null),
            });
        }
        self.key.clear();
        self.image.clear();
        self.layout
            .encode_row(&values, &mut self.key, &mut self.image)
            .map_err(|error| format!("error {}: {error}", error.code()))?;
        if !self.seen.insert(xxh3_128(&self.key)) {
            return Err(format!("an earlier row has the same key {}", self.key_text(&values)));
        }
        Ok(values)
    }

    /// The key columns of a row, for people.
    pub fn key_text(&self, values: &[Value]) -> String {
        let parts = self.key_values(values);
        let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
        format!("({})", parts.join(", "))
    }

    /// The values of the key columns, in key order.
    pub fn key_values(&self, values: &[Value]) -> Vec<Value> {
        self.definition.primary_key.iter().map(|index| values[usize::from(*index)].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::{existing_table, new_table, profile};
    use super::super::source::Source;
    use super::*;
    use duet_protocol::schema::ColumnType;

    fn source(directory: &tempfile::TempDir, content: &str) -> Source {
        let path = directory.path().join("rows.csv");
        std::fs::write(&path, content).expect("writable");
        Source::open(&path, &[String::new()]).expect("readable")
    }

    fn convert(source: &Source, definition: TableDefinition) -> (Vec<GoodRow>, BadRows) {
        let origins = existing_table(&definition, source, &[]).expect("the columns fit");
        let mut converter = Converter::new(definition, origins).expect("valid");
        let (mut good, mut bad) = (Vec::new(), BadRows::default());
        for batch in source.batches().expect("open") {
            good.extend(converter.convert(&batch.expect("rows"), &mut bad));
        }
        (good, bad)
    }

    #[test]
    fn a_file_becomes_a_table_and_rows() {
        let directory = tempfile::tempdir().expect("a directory");
        let source = source(&directory, "id,name,delay\n1,Ann,5.0\n2,,\n3,Eve,-7.0\n");
        let profiles = profile(&source, |_| {}).expect("readable");
        let name = "people".parse().expect("a name");
        let definition = new_table(&name, &source, &profiles, &["ID".to_owned()]).expect("fits");
        let types: Vec<_> =
            definition.columns.iter().map(|column| (column.column_type, column.nullable)).collect();
        let text = ColumnType::Varchar { characters: 16 };
        assert_eq!(types, [(ColumnType::Int, false), (text, true), (ColumnType::TinyInt, true)]);
        let (good, bad) = convert(&source, definition);
        assert_eq!(bad.count, 0);
        assert_eq!(good[1].values, [Value::Int(2), Value::Null, Value::Null]);
        assert_eq!(good[2].values[2], Value::Int(-7));
    }

    #[test]
    fn bad_rows_are_named_and_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let content = "id,name\n1,Ann\n,Bob\n1,Cid\n2\nx,Dan\n3,a name that is too long\n4,Eve\n";
        let source = source(&directory, content);
        let definition = TableDefinition::builder("main", "people")
            .required("id", ColumnType::Int)
            .nullable("name", ColumnType::Varchar { characters: 16 })
            .primary_key(["id"])
            .build()
            .expect("valid");
        let (good, bad) = convert(&source, definition);
        assert_eq!(good.iter().map(|row| row.number).collect::<Vec<_>>(), [2, 8]);
        assert_eq!(bad.count, 5);
        let reason =
            |row: u64| bad.first.iter().find(|(number, _)| *number == row).expect("reported").1.clone();
        assert!(reason(3).contains("error 155") && reason(3).contains("'id'"), "{}", reason(3));
        assert!(reason(4).contains("same key (1)"), "{}", reason(4));
        assert!(reason(5).contains("1 fields"), "{}", reason(5));
        assert!(reason(6).contains("\"x\" is not a value of type INT"), "{}", reason(6));
        assert!(reason(7).contains("error 154"), "{}", reason(7));
    }

    #[test]
    fn files_that_do_not_fit_a_table_are_refused_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let source = source(&directory, "id,extra\n1,2\n");
        let table = |builder: duet_protocol::schema::TableBuilder| {
            let builder = builder.required("id", ColumnType::Int).primary_key(["id"]);
            existing_table(&builder.build().expect("valid"), &source, &[])
        };
        let start = || TableDefinition::builder("main", "t");
        assert!(table(start()).is_err(), "the table lacks a column");
        let with_extra = || start().nullable("extra", ColumnType::Int);
        assert!(table(with_extra()).is_ok());
        assert!(table(with_extra().required("more", ColumnType::Int)).is_err(), "the file lacks a column");
        assert!(table(with_extra().nullable("more", ColumnType::Int)).is_ok());
    }
}
