//! The same statements for MariaDB and for Duet, compared row by row: what Duet answers is MySQL's truth.
//!
//! MariaDB is the one of the system's package manager, started here with a directory and a socket of its own; without it the test says so
//! and does nothing. `DUET_DIFFERENCES=1` prints every difference in place of the first ones.

mod flights;
mod generator;
mod server;
mod transactions;
mod written;

use crate::cluster::Cluster;
use generator::Generator;
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};
use server::MariaDb;

/// Seed of the generated statements.
const SEED: u64 = 6;
/// How many are generated.
const GENERATED: usize = 3_000;
/// Most statements in a thousand that may be excluded.
const MOST_EXCLUDED_PER_MILLE: usize = 20;

/// Statements whose warnings are others, and why.
const OTHER_WARNINGS: &[(&str, &str)] = &[
    ("SELECT n FROM losses GROUP BY n HAVING", "MariaDB has none there"),
    ("SELECT n % 2 AS n, COUNT(*) FROM moved", "no warning of names that columns have as well"),
    ("SELECT ROUND('1x')", "aggregates tell of nothing"),
    ("SELECT CAST(-1 AS UNSIGNED)", "MySQL has no note there"),
    ("SELECT CAST(1e20", "MariaDB's number is 1916"),
    ("SELECT CAST(-1e20", "MariaDB's number is 1916"),
    ("SELECT CAST(-1.5", "MariaDB's number is 1916"),
    ("SELECT CAST('1e400'", "MariaDB tells of it three times"),
    ("SELECT LN(", "MySQL's number is 3020"),
    ("SELECT LOG(", "MySQL's number is 3020"),
    ("SELECT FROM_BASE64(", "MySQL has none there"),
    ("SELECT SHA2(", "no warning here"),
    ("SELECT id FROM losses WHERE", "a constant that is compared is told of once"),
    ("SELECT '' + 1", "MySQL has no notes for spaces"),
    ("SELECT -'abc'", "one text is told of once"),
];

/// What a statement gave.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Rows(Vec<Vec<String>>),
    Done(u64),
    Failed(u16, String),
}

fn shown(value: &Value) -> String {
    match value {
        Value::NULL => "NULL".to_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_sql(true).trim_matches('\'').to_owned(),
    }
}

fn ask(connection: &mut Conn, sql: &str) -> Answer {
    let answer = connection.query_iter(sql).and_then(|mut result| {
        if result.columns().as_ref().is_empty() {
            return Ok(Answer::Done(result.affected_rows()));
        }
        let mut rows = Vec::new();
        for row in result.by_ref() {
            let row: Row = row?;
            rows.push(row.unwrap().iter().map(shown).collect());
        }
        Ok(Answer::Rows(rows))
    });
    match answer {
        Ok(answer) => answer,
        Err(mysql::Error::MySqlError(error)) => Answer::Failed(error.code, error.message),
        Err(other) => panic!("{sql}: {other}"),
    }
}

/// Names of the columns of a query.
fn names(connection: &mut Conn, sql: &str) -> Option<Vec<String>> {
    let result = connection.query_iter(sql).ok()?;
    Some(result.columns().as_ref().iter().map(|column| column.name_str().into_owned()).collect())
}

/// Levels and codes of what SHOW WARNINGS tells of the last statement.
fn told(connection: &mut Conn) -> Vec<(String, u16)> {
    let rows = connection.query_map("SHOW WARNINGS", |(level, code, _): (String, u16, String)| (level, code));
    rows.expect("SHOW WARNINGS")
}

/// Two numbers that differ in the last digits of a double, or the same text.
fn same_value(a: &str, b: &str) -> bool {
    // MariaDB keeps the sign of a decimal zero.
    let unsigned = |text: &str| match text.strip_prefix('-') {
        Some(rest) if rest.trim_matches(['0', '.']).is_empty() => rest.to_owned(),
        _ => text.to_owned(),
    };
    if a == b || unsigned(a) == unsigned(b) {
        return true;
    }
    let is_double = |text: &str| text.contains(['.', 'e', 'E']) && text.parse::<f64>().is_ok();
    match (is_double(a) || is_double(b), a.parse::<f64>(), b.parse::<f64>()) {
        (true, Ok(a), Ok(b)) => (a - b).abs() <= 1e-12 * a.abs().max(b.abs()) && a.fract() != 0.0,
        _ => false,
    }
}

fn same_rows(a: &[Vec<String>], b: &[Vec<String>]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b)))
}

fn same(sql: &str, duet: &Answer, mariadb: &Answer) -> bool {
    match (duet, mariadb) {
        (Answer::Rows(a), Answer::Rows(b)) => {
            if sql.contains("ORDER BY") && generator::is_total_order(sql) {
                return same_rows(a, b);
            }
            let (mut a, mut b) = (a.clone(), b.clone());
            a.sort();
            b.sort();
            same_rows(&a, &b)
        }
        (Answer::Done(a), Answer::Done(b)) => a == b,
        // Both refuse it; the numbers of syntax errors and the like differ between MariaDB and MySQL as well.
        (Answer::Failed(..), Answer::Failed(..)) => true,
        _ => false,
    }
}

#[test]
fn duet_answers_as_mariadb_does() {
    let Some(server) = MariaDb::start() else {
        eprintln!("skipped: no MariaDB server is installed (apt-get install mariadb-server)");
        return;
    };
    let cluster = Cluster::start();
    let (mut duet, mut mariadb) = (cluster.connect(), server.connect());
    for connection in [&mut duet, &mut mariadb] {
        connection.query_drop("CREATE DATABASE truth").expect("created");
        connection.query_drop("USE truth").expect("there");
    }
    mariadb.query_drop("CREATE DATABASE none").expect("created");
    mariadb.query_drop("CREATE TABLE none.none (a INT)").expect("created");
    let all = std::env::var_os("DUET_DIFFERENCES").is_some();
    let mut generator = Generator::new(SEED);
    let mut statements = written::statements();
    let written = statements.len();
    statements.extend(generator.tables());
    statements.extend((0..GENERATED).map(|_| generator.statement()));
    let (mut compared, mut left_out) = (0, 0);
    let mut differences = Vec::new();
    let mut different = |difference: String| {
        if all {
            let cut: String = difference.chars().take(1_500).collect();
            eprintln!("{cut}");
        }
        differences.push(difference);
    };
    for (number, sql) in statements.iter().enumerate() {
        if number < written && sql.starts_with("SELECT") {
            let names = [&mut duet, &mut mariadb].map(|connection| names(connection, sql));
            if let [Some(ours), Some(theirs)] = names
                && ours != theirs
            {
                different(format!("columns of {sql}\n  Duet:    {ours:?}\n  MariaDB: {theirs:?}"));
            }
        }
        let (ours, theirs) = (ask(&mut duet, sql), ask(&mut mariadb, sql));
        if number < written {
            let [ours_told, theirs_told] = [&mut duet, &mut mariadb].map(told);
            let others = OTHER_WARNINGS.iter().any(|(beginning, _)| sql.starts_with(beginning));
            if !others && !matches!(ours, Answer::Failed(..)) && ours_told != theirs_told {
                different(format!("warnings of {sql}\n  Duet:    {ours_told:?}\n  MariaDB: {theirs_told:?}"));
            }
            // MariaDB keeps them while statements use no table.
            if !theirs_told.is_empty() {
                mariadb.query_drop("SELECT * FROM none.none").expect("nothing");
            }
        }
        if generator::excluded(sql).is_some() {
            left_out += 1;
            continue;
        }
        compared += 1;
        if !same(sql, &ours, &theirs) {
            different(format!("{sql}\n  Duet:    {ours:?}\n  MariaDB: {theirs:?}"));
        }
    }
    transactions::compare(&mut duet, &mut mariadb, &mut compared, &mut differences);
    flights::compare(&cluster, &mut duet, &mut mariadb, &mut compared, &mut differences);
    eprintln!("{compared} statements compared, {left_out} left out, {} differ", differences.len());
    assert!(differences.is_empty(), "{}", differences[..differences.len().min(10)].join("\n"));
    assert!(compared >= 3_000, "only {compared} statements were compared");
    assert!(left_out * 1_000 <= MOST_EXCLUDED_PER_MILLE * (compared + left_out), "{left_out} were left out");
}
