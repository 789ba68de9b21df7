//! The demo's data: all flights that left New York City in 2013, inside the executable.

use crate::import::source::Source;
use anyhow::Result;

/// One table of the demo.
#[derive(Clone, Copy, Debug)]
pub struct DemoTable {
    /// Name of the table.
    pub name: &'static str,
    /// Primary key.
    pub key: &'static [&'static str],
    /// The Parquet file.
    parquet: &'static [u8],
}

/// Database of the demo's tables.
pub const DEMO_DATABASE: &str = "nyc";

/// All tables, small ones first.
pub const TABLES: [DemoTable; 5] = [
    DemoTable {
        name: "airlines",
        key: &["carrier"],
        parquet: include_bytes!("../../../demo-data/airlines.parquet"),
    },
    DemoTable {
        name: "airports",
        key: &["faa"],
        parquet: include_bytes!("../../../demo-data/airports.parquet"),
    },
    DemoTable {
        name: "planes",
        key: &["tailnum"],
        parquet: include_bytes!("../../../demo-data/planes.parquet"),
    },
    DemoTable {
        name: "weather",
        key: &["origin", "time_hour"],
        parquet: include_bytes!("../../../demo-data/weather.parquet"),
    },
    DemoTable {
        name: "flights",
        key: &["time_hour", "carrier", "flight"],
        parquet: include_bytes!("../../../demo-data/flights.parquet"),
    },
];

impl DemoTable {
    /// The rows.
    ///
    /// # Errors
    /// The embedded file is damaged.
    pub fn source(&self) -> Result<Source> {
        Source::embedded(self.name, self.parquet)
    }

    /// The key's columns.
    pub fn key_columns(&self) -> Vec<String> {
        self.key.iter().map(|column| (*column).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::definition::{TableName, existing_table, new_table, profile};
    use crate::import::rows::{BadRows, Converter};

    fn columns(table: &DemoTable) -> Vec<String> {
        let source = table.source().expect("readable");
        let profiles = profile(&source, |_| {}).expect("readable");
        let name = TableName { database: DEMO_DATABASE.to_owned(), table: table.name.to_owned() };
        let definition = new_table(&name, &source, &profiles, &table.key_columns()).expect("fits");
        let columns = definition.columns.iter().map(|column| {
            let null = if column.nullable { "" } else { " NOT NULL" };
            format!("{} {}{null}", column.name, column.column_type)
        });
        let columns = columns.collect();
        let origins = existing_table(&definition, &source, &table.key_columns()).expect("the same columns");
        let mut converter = Converter::new(definition, origins).expect("valid");
        let (mut good, mut bad) = (0, BadRows::default());
        for batch in source.batches().expect("open") {
            good += converter.convert(&batch.expect("rows"), &mut bad).len() as u64;
        }
        assert_eq!((bad.count, Some(good)), (0, source.rows()), "{:?}", bad.first);
        columns
    }

    #[test]
    fn every_row_fits_an_honest_type() {
        for table in &TABLES[..3] {
            columns(table);
        }
        assert_eq!(
            columns(&TABLES[3]),
            [
                "origin VARCHAR(16) NOT NULL",
                "year INT",
                "month INT",
                "day INT",
                "hour INT",
                "temp DOUBLE",
                "dewp DOUBLE",
                "humid DOUBLE",
                "wind_dir SMALLINT",
                "wind_speed DOUBLE",
                "wind_gust DOUBLE",
                "precip DOUBLE",
                "pressure DOUBLE",
                "visib DOUBLE",
                "time_hour TIMESTAMP NOT NULL",
            ]
        );
        assert_eq!(
            columns(&TABLES[4]),
            [
                "year INT",
                "month INT",
                "day INT",
                "dep_time SMALLINT",
                "sched_dep_time INT",
                "dep_delay SMALLINT",
                "arr_time SMALLINT",
                "sched_arr_time INT",
                "arr_delay SMALLINT",
                "carrier VARCHAR(16) NOT NULL",
                "flight INT NOT NULL",
                "tailnum VARCHAR(16)",
                "origin VARCHAR(16)",
                "dest VARCHAR(16)",
                "air_time SMALLINT",
                "distance INT",
                "hour INT",
                "minute INT",
                "time_hour TIMESTAMP NOT NULL",
            ]
        );
    }
}
