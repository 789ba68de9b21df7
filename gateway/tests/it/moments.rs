//! Columns that take the current time: by default, on update, in what tells of them, and added to rows that exist.

use crate::cluster::Cluster;
use crate::statements::{code, rows};
use mysql::prelude::Queryable;
use mysql::{Conn, Params};
use std::time::Duration;

fn one(connection: &mut Conn, sql: &str) -> String {
    rows(connection, sql).join("\n")
}

fn done(connection: &mut Conn, sql: &str) {
    connection.query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Until the clock has moved on by more than a microsecond.
fn a_moment() {
    std::thread::park_timeout(Duration::from_millis(3));
}

#[test]
fn columns_take_the_current_time() {
    let mut cluster = Cluster::start();
    let mut connection = cluster.connect();
    done(&mut connection, "CREATE DATABASE shop");
    done(&mut connection, "USE shop");
    shown_as_they_were_defined(&mut connection);
    what_cannot_be_is_refused(&mut connection);
    rows_of_one_statement_have_one_time(&mut connection);
    changes_are_noticed(&mut connection);
    columns_are_added(&mut connection);
    // What one gateway defined another one keeps to.
    let other = cluster.add_gateway("");
    let options = cluster.options().tcp_port(cluster.port(other)).db_name(Some("shop"));
    let mut other = Conn::new(options).expect("connected");
    done(&mut other, "INSERT INTO orders (id) VALUES (100)");
    assert_eq!(
        one(&mut other, "SELECT created > '2020-01-01', touched FROM orders WHERE id = 100"),
        "1|NULL"
    );
    changes_of_one_gateway_reach_others(&mut connection, &mut other);
}

/// Done by a gateway that may learn only now that another one has changed the table: at the second try at the latest.
fn done_after_change(connection: &mut Conn, sql: &str) {
    if let Err(error) = connection.query_drop(sql) {
        assert!(error.to_string().contains("1412"), "{sql}: {error}");
        done(connection, sql);
    }
}

fn changes_of_one_gateway_reach_others(here: &mut Conn, there: &mut Conn) {
    done(here, "CREATE TABLE shared (id INT PRIMARY KEY, n INT)");
    done(there, "INSERT INTO shared VALUES (1, 1)");
    done(
        here,
        "ALTER TABLE shared ADD COLUMN seen TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
    );
    a_moment();
    done_after_change(there, "INSERT INTO shared (id, n) VALUES (2, 2)");
    let later = "SELECT (SELECT seen FROM shared WHERE id = 2) > (SELECT seen FROM shared WHERE id = 1)";
    assert_eq!(one(here, later), "1");
    let before = one(here, "SELECT seen FROM shared WHERE id = 1");
    done(there, "UPDATE shared SET n = 3 WHERE id = 1");
    assert_ne!(one(here, "SELECT seen FROM shared WHERE id = 1"), before);
    done(here, "TRUNCATE TABLE shared");
    done_after_change(there, "INSERT INTO shared (id, n) VALUES (1, 1)");
    done(here, "DROP TABLE shared");
    done(here, "CREATE TABLE shared (name VARCHAR(10) PRIMARY KEY)");
    assert!(matches!(code(there, "INSERT INTO shared (id, n) VALUES (2, 1)"), 1_412 | 1_054));
    done_after_change(there, "INSERT INTO shared VALUES ('a')");
    assert_eq!(one(here, "SELECT name FROM shared"), "a");
    done(here, "DROP TABLE shared");
}

fn shown_as_they_were_defined(connection: &mut Conn) {
    done(
        connection,
        "CREATE TABLE orders (id INT PRIMARY KEY, amount INT NOT NULL DEFAULT 0, note VARCHAR(20),
         created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
         updated DATETIME(6) NOT NULL DEFAULT NOW(6) ON UPDATE CURRENT_TIMESTAMP(6),
         touched TIMESTAMP NULL ON UPDATE LOCALTIMESTAMP(),
         millis DATETIME(3) DEFAULT (LOCALTIME(3)))",
    );
    let expected = "CREATE TABLE `orders` (\n  `id` int NOT NULL,\n  `amount` int NOT NULL DEFAULT '0',\n  \
        `note` varchar(20) DEFAULT NULL,\n  \
        `created` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,\n  \
        `updated` datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),\n  \
        `touched` timestamp NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP,\n  \
        `millis` datetime(3) DEFAULT CURRENT_TIMESTAMP(3),\n  \
        PRIMARY KEY (`id`)\n) ENGINE=ndbcluster DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";
    assert_eq!(one(connection, "SHOW CREATE TABLE orders"), format!("orders|{expected}"));
    // It can be executed again.
    done(connection, "DROP TABLE orders");
    done(connection, expected);
    assert_eq!(one(connection, "SHOW CREATE TABLE orders"), format!("orders|{expected}"));
    assert_eq!(
        rows(connection, "DESCRIBE orders")[3..],
        [
            "created|timestamp|NO||CURRENT_TIMESTAMP|DEFAULT_GENERATED",
            "updated|datetime(6)|NO||CURRENT_TIMESTAMP(6)|DEFAULT_GENERATED on update CURRENT_TIMESTAMP(6)",
            "touched|timestamp|YES||NULL|on update CURRENT_TIMESTAMP",
            "millis|datetime(3)|YES||CURRENT_TIMESTAMP(3)|DEFAULT_GENERATED",
        ]
    );
    let told = rows(
        connection,
        "SELECT column_name, column_default, data_type, datetime_precision, column_type, extra FROM information_schema.columns
         WHERE table_name = 'orders' AND column_name IN ('created', 'updated') ORDER BY ordinal_position",
    );
    assert_eq!(
        told,
        [
            "created|CURRENT_TIMESTAMP|timestamp|0|timestamp|DEFAULT_GENERATED",
            "updated|CURRENT_TIMESTAMP(6)|datetime|6|datetime(6)|DEFAULT_GENERATED on update CURRENT_TIMESTAMP(6)",
        ]
    );
}

fn what_cannot_be_is_refused(connection: &mut Conn) {
    for (column, expected) in [
        ("c INT DEFAULT CURRENT_TIMESTAMP", 1067),
        ("c DATE DEFAULT NOW()", 1067),
        ("c TIME DEFAULT LOCALTIME", 1067),
        ("c VARCHAR(30) DEFAULT LOCALTIMESTAMP", 1067),
        ("c TIMESTAMP DEFAULT CURRENT_TIMESTAMP(6)", 1067),
        ("c TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP", 1067),
        ("c DATETIME(9) DEFAULT CURRENT_TIMESTAMP(9)", 1067),
        ("c INT ON UPDATE CURRENT_TIMESTAMP", 1294),
        ("c DATE ON UPDATE NOW()", 1294),
        ("c DATETIME(3) ON UPDATE NOW()", 1294),
        ("c TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP(3)", 1294),
        ("c TIMESTAMP DEFAULT (UTC_TIMESTAMP())", 1235),
        ("c DATETIME ON UPDATE NOW(), PRIMARY KEY (id, c)", 1235),
    ] {
        let key = if column.contains("PRIMARY KEY") { "" } else { " PRIMARY KEY" };
        let sql = format!("CREATE TABLE wrong (id INT{key}, {column})");
        assert_eq!(code(connection, &sql), expected, "{sql}");
    }
    assert_eq!(code(connection, "ALTER TABLE orders ADD COLUMN c INT DEFAULT NOW()"), 1067);
    assert_eq!(code(connection, "ALTER TABLE orders ADD COLUMN c INT ON UPDATE NOW()"), 1294);
    // There is nothing for rows that exist.
    assert!(
        connection.query_drop("ALTER TABLE orders ADD COLUMN c DATETIME NOT NULL ON UPDATE NOW()").is_err()
    );
}

fn rows_of_one_statement_have_one_time(connection: &mut Conn) {
    let before = one(connection, "SELECT NOW(6)");
    let values: Vec<String> = (1..=50).map(|id| format!("({id})")).collect();
    done(connection, &format!("INSERT INTO orders (id) VALUES {}", values.join(",")));
    let times = rows(connection, "SELECT DISTINCT created, updated, touched, millis FROM orders");
    assert_eq!(times.len(), 1, "{times:?}");
    let times: Vec<&str> = times[0].split('|').collect();
    let fraction =
        |text: &str| text.split_once('.').map_or(0, |(_, digits)| digits.trim_end_matches('0').len());
    assert!(fraction(times[0]) == 0 && fraction(times[3]) <= 3 && times[2] == "NULL", "{times:?}");
    let within = format!("SELECT COUNT(*) FROM orders WHERE updated BETWEEN '{before}' AND NOW(6)");
    assert_eq!(one(connection, &within), "50");
    let cut = "SELECT COUNT(*) FROM orders WHERE created <= millis AND millis <= updated";
    assert_eq!(one(connection, cut), "50");
    // A prepared statement reads the clock at each execution.
    let insert = connection.prep("INSERT INTO orders (id, created) VALUES (?, DEFAULT)").expect("prepared");
    for id in [60, 61] {
        connection.exec_drop(&insert, (id,)).expect("inserted");
        a_moment();
    }
    let again = "SELECT COUNT(DISTINCT updated) FROM orders WHERE id >= 60";
    assert_eq!(one(connection, again), "2");
    // What is given stays as it is given, with microseconds.
    done(connection, "INSERT INTO orders (id, created) VALUES (70, '2001-02-03 04:05:06.789')");
    let kept = "SELECT COUNT(*) FROM orders WHERE created = '2001-02-03 04:05:06.789000'";
    assert_eq!(one(connection, kept), "1");
    assert_eq!(code(connection, "INSERT INTO orders (id, created) VALUES (71, NULL)"), 1048);
}

/// Whether a statement changed the time of change of row 1, and how many rows it says that it changed.
fn touches(connection: &mut Conn, sql: &str) -> (bool, u64) {
    let times = "SELECT updated, touched FROM orders WHERE id = 1";
    let before = one(connection, times);
    a_moment();
    done(connection, sql);
    let affected = connection.affected_rows();
    (one(connection, times) != before, affected)
}

fn changes_are_noticed(connection: &mut Conn) {
    let info = |connection: &Conn| connection.info_str().into_owned();
    for ending in ["", "in a transaction"] {
        if !ending.is_empty() {
            done(connection, "BEGIN");
        }
        for (sql, touched) in [
            ("UPDATE orders SET amount = amount + 1 WHERE id = 1", true),
            ("UPDATE orders SET amount = amount + 0 WHERE id = 1", false),
            ("UPDATE orders SET amount = 5 WHERE id = 1", true),
            ("UPDATE orders SET amount = 5 WHERE id = 1", false),
            ("UPDATE orders SET amount = 6, note = CONCAT('a', id) WHERE id = 1 AND amount = 5", true),
            ("UPDATE orders SET note = 'b' WHERE id IN (1, 2)", true),
            ("UPDATE orders SET note = 'b' WHERE id IN (1, 2)", false),
            ("UPDATE orders SET note = 'c' WHERE created > '2020-01-01'", true),
            ("UPDATE orders SET note = 'd', updated = updated, touched = touched WHERE id = 1", false),
            ("UPDATE orders SET amount = 7, updated = updated, touched = touched WHERE id = 1", false),
            ("INSERT INTO orders (id) VALUES (1) ON DUPLICATE KEY UPDATE amount = 8", true),
            ("INSERT INTO orders (id) VALUES (1) ON DUPLICATE KEY UPDATE amount = 8", false),
            (
                "INSERT INTO orders (id) VALUES (1) ON DUPLICATE KEY UPDATE amount = 9, updated = updated, touched = touched",
                false,
            ),
            ("UPDATE orders SET updated = DEFAULT WHERE id = 1", true),
            ("UPDATE orders SET amount = 0, note = NULL", true),
            ("REPLACE INTO orders (id) VALUES (1)", true),
        ] {
            let (is_touched, _) = touches(connection, sql);
            assert_eq!(is_touched, touched, "{sql} {ending} {}", info(connection));
        }
        if !ending.is_empty() {
            done(connection, "ROLLBACK");
        }
    }
    // One column that is given leaves the other one its own.
    done(connection, "UPDATE orders SET amount = 3, touched = NULL WHERE id = 2");
    let (before, _) = (one(connection, "SELECT updated FROM orders WHERE id = 2"), a_moment());
    done(connection, "UPDATE orders SET amount = amount + 1, touched = NULL WHERE id = 2");
    let after = rows(connection, "SELECT touched, updated FROM orders WHERE id = 2")[0].clone();
    assert!(after.starts_with("NULL|") && !after.ends_with(&before), "{before} {after}");
    // Times in an index are entered anew.
    done(
        connection,
        "CREATE TABLE logged (id INT PRIMARY KEY, n INT NOT NULL, at DATETIME(6) NOT NULL DEFAULT NOW(6) ON UPDATE NOW(6), UNIQUE (at))",
    );
    done(connection, "INSERT INTO logged (id, n) VALUES (1, 1)");
    assert_eq!(code(connection, "INSERT INTO logged (id, n) VALUES (2, 1), (3, 1)"), 1062);
    for sql in [
        "UPDATE logged SET n = n + 1",
        "UPDATE logged SET n = n + 1 WHERE id = 1",
        "UPDATE logged SET n = 9 WHERE id = 1",
    ] {
        let before = one(connection, "SELECT at FROM logged");
        a_moment();
        done(connection, sql);
        assert_eq!(
            rows(connection, &format!("SELECT id FROM logged WHERE at = '{before}'")).len(),
            0,
            "{sql}"
        );
        let after = one(connection, "SELECT at FROM logged");
        assert_eq!(one(connection, &format!("SELECT id FROM logged WHERE at = '{after}'")), "1", "{sql}");
    }
}

fn columns_are_added(connection: &mut Conn) {
    let before = one(connection, "SELECT NOW(6)");
    a_moment();
    done(connection, "ALTER TABLE orders ADD COLUMN added DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)");
    done(connection, "ALTER TABLE orders ADD COLUMN maybe TIMESTAMP NULL DEFAULT NOW()");
    a_moment();
    let count = one(connection, "SELECT COUNT(*) FROM orders");
    let times = "SELECT COUNT(*), COUNT(maybe), COUNT(DISTINCT added), COUNT(DISTINCT maybe) FROM orders";
    assert_eq!(one(connection, times), format!("{count}|{count}|1|1"));
    let within = format!("SELECT COUNT(*) FROM orders WHERE added > '{before}' AND added < NOW(6)");
    assert_eq!(one(connection, &within), count);
    // New rows have their own time, those that exist keep theirs.
    let insert = connection.prep("INSERT INTO orders (id) VALUES (80)").expect("prepared");
    connection.exec_drop(&insert, Params::Empty).expect("inserted");
    assert_eq!(one(connection, "SELECT COUNT(DISTINCT added) FROM orders"), "2");
    assert_eq!(one(connection, "SELECT id FROM orders ORDER BY added DESC LIMIT 1"), "80");
    let shown = one(connection, "SHOW CREATE TABLE orders");
    assert!(shown.contains("`added` datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)"), "{shown}");
    assert!(shown.contains("`maybe` timestamp NULL DEFAULT CURRENT_TIMESTAMP"), "{shown}");
}
