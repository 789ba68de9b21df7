//! Questions about the flights of the demonstration data.

use super::{Answer, ask, same};
use crate::cluster::Cluster;
use mysql::Conn;
use mysql::prelude::Queryable;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use std::fs::File;
use std::path::PathBuf;

/// Flights that are compared: all of them would take a test build minutes to insert.
const FLIGHTS: usize = 20_000;
/// Rows of an INSERT.
const ROWS: usize = 500;

const QUESTIONS: &[&str] = &[
    "SELECT carrier, COUNT(*), SUM(distance), MIN(dep_time), MAX(arr_time) FROM flights GROUP BY carrier",
    "SELECT origin, month, COUNT(*), AVG(distance) FROM flights GROUP BY origin, month",
    "SELECT a.name, COUNT(*) AS n FROM flights f JOIN airlines a ON a.carrier = f.carrier GROUP BY a.name",
    "SELECT /* total */ p.manufacturer, COUNT(*) AS n FROM flights f JOIN planes p ON p.tailnum = f.tailnum GROUP BY p.manufacturer ORDER BY n DESC, p.manufacturer LIMIT 10",
    "SELECT COUNT(*) FROM flights f LEFT JOIN planes p ON p.tailnum = f.tailnum WHERE p.tailnum IS NULL",
    "SELECT f.dest, ap.name, COUNT(*) FROM flights f LEFT JOIN airports ap ON ap.faa = f.dest GROUP BY f.dest, ap.name HAVING COUNT(*) > 300",
    "SELECT carrier, AVG(distance) FROM flights WHERE distance > (SELECT AVG(distance) FROM flights) GROUP BY carrier",
    "SELECT carrier FROM airlines WHERE carrier NOT IN (SELECT carrier FROM flights)",
    "SELECT /* total */ day, carrier, n, RANK() OVER (PARTITION BY day ORDER BY n DESC) AS place FROM (SELECT day, carrier, COUNT(*) AS n FROM flights GROUP BY day, carrier) t ORDER BY day, place, carrier LIMIT 100",
    "SELECT COUNT(*) FROM flights WHERE dep_delay > 60 AND carrier IN ('UA', 'AA') OR dest LIKE 'S%'",
    "SELECT tailnum, COUNT(DISTINCT dest) FROM flights WHERE origin = 'JFK' GROUP BY tailnum HAVING COUNT(DISTINCT dest) > 8",
    "SELECT a.faa FROM airports a WHERE EXISTS (SELECT 1 FROM flights f WHERE f.dest = a.faa AND f.distance > 2000)",
    "SELECT origin, COUNT(*) FROM flights WHERE dep_delay IS NULL GROUP BY origin",
    "SELECT /* total */ flight, carrier, distance FROM flights ORDER BY distance DESC, flight, carrier, number LIMIT 20",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../demo-data")
}

fn literal(field: &Field) -> String {
    match field {
        Field::Null => "NULL".to_owned(),
        Field::Str(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        Field::TimestampMicros(_) | Field::TimestampMillis(_) | Field::Date(_) => {
            format!("'{}'", field.to_string().trim_matches('"').trim_end_matches(" +00:00"))
        }
        other => other.to_string(),
    }
}

/// The rows of a file as literals, with the names of the columns.
fn read(name: &str, most: usize) -> (Vec<String>, Vec<Vec<String>>) {
    let file = File::open(folder().join(format!("{name}.parquet"))).expect("the data is there");
    let reader = SerializedFileReader::new(file).expect("a Parquet file");
    let columns =
        reader.metadata().file_metadata().schema().get_fields().iter().map(|field| field.name().to_owned());
    let columns = columns.collect();
    let rows = reader.get_row_iter(None).expect("rows").take(most);
    let rows =
        rows.map(|row| row.expect("a row").get_column_iter().map(|(_, field)| literal(field)).collect());
    (columns, rows.collect())
}

/// Statements that make a table of a file: numbers as DOUBLE or INT, everything else as text.
fn table(name: &str, key: Option<&str>, most: usize) -> Vec<String> {
    let (columns, rows) = read(name, most);
    let kind = |index: usize| {
        let values: Vec<&str> =
            rows.iter().map(|row| row[index].as_str()).filter(|value| *value != "NULL").collect();
        if values.iter().all(|value| value.parse::<i64>().is_ok()) {
            "INT"
        } else if values.iter().all(|value| value.parse::<f64>().is_ok()) {
            "DOUBLE"
        } else {
            "VARCHAR(60)"
        }
    };
    let mut definitions: Vec<String> =
        columns.iter().enumerate().map(|(index, column)| format!("`{column}` {}", kind(index))).collect();
    let numbered = key.is_none();
    if numbered {
        definitions.insert(0, "number INT".to_owned());
    }
    definitions.push(format!("PRIMARY KEY ({})", key.unwrap_or("number")));
    let definitions = definitions.join(", ").replace(
        &format!("`{}` VARCHAR(60)", key.unwrap_or("")),
        &format!("`{}` VARCHAR(60) NOT NULL", key.unwrap_or("")),
    );
    let mut statements = vec![format!("CREATE TABLE {name} ({definitions})")];
    for (chunk, rows) in rows.chunks(ROWS).enumerate() {
        let tuples: Vec<String> = rows
            .iter()
            .enumerate()
            .map(|(index, row)| match numbered {
                true => format!("({}, {})", chunk * ROWS + index, row.join(", ")),
                false => format!("({})", row.join(", ")),
            })
            .collect();
        statements.push(format!("INSERT INTO {name} VALUES {}", tuples.join(", ")));
    }
    statements
}

/// Asks both.
pub fn compare(
    _: &Cluster,
    duet: &mut Conn,
    mariadb: &mut Conn,
    compared: &mut usize,
    differences: &mut Vec<String>,
) {
    let mut statements = table("airlines", Some("carrier"), usize::MAX);
    statements.extend(table("airports", Some("faa"), usize::MAX));
    statements.extend(table("planes", Some("tailnum"), usize::MAX));
    statements.extend(table("flights", None, FLIGHTS));
    for sql in statements {
        for connection in [&mut *duet, &mut *mariadb] {
            let shown: String = sql.chars().take(300).collect();
            connection.query_drop(&sql).unwrap_or_else(|error| panic!("{shown}: {error}"));
        }
    }
    for sql in QUESTIONS {
        let (ours, theirs): (Answer, Answer) = (ask(duet, sql), ask(mariadb, sql));
        *compared += 1;
        if !same(sql, &ours, &theirs) {
            differences.push(format!("{sql}\n  Duet:    {ours:?}\n  MariaDB: {theirs:?}"));
        }
    }
}
