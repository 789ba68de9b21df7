//! The same statements for MariaDB and for Duet, compared row by row: what Duet answers is MySQL's truth.
//!
//! MariaDB is the one of the system's package manager, started here with a directory and a socket of its own; without it the test says so
//! and does nothing. `DUET_DIFFERENCES=1` prints every difference in place of the first ones.

mod flights;
mod generator;
mod server;
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
    let all = std::env::var_os("DUET_DIFFERENCES").is_some();
    let mut generator = Generator::new(SEED);
    let mut statements = written::statements();
    statements.extend(generator.tables());
    statements.extend((0..GENERATED).map(|_| generator.statement()));
    let (mut compared, mut left_out) = (0, 0);
    let mut differences = Vec::new();
    for sql in &statements {
        let (ours, theirs) = (ask(&mut duet, sql), ask(&mut mariadb, sql));
        if generator::excluded(sql).is_some() {
            left_out += 1;
            continue;
        }
        compared += 1;
        if !same(sql, &ours, &theirs) {
            let difference = format!("{sql}\n  Duet:    {ours:?}\n  MariaDB: {theirs:?}");
            if all {
                let cut: String = difference.chars().take(1_500).collect();
                eprintln!("{cut}");
            }
            differences.push(difference);
        }
    }
    flights::compare(&cluster, &mut duet, &mut mariadb, &mut compared, &mut differences);
    eprintln!("{compared} statements compared, {left_out} left out, {} differ", differences.len());
    assert!(differences.is_empty(), "{}", differences[..differences.len().min(10)].join("\n"));
    assert!(compared >= 3_000, "only {compared} statements were compared");
    assert!(left_out * 1_000 <= MOST_EXCLUDED_PER_MILLE * (compared + left_out), "{left_out} were left out");
}
