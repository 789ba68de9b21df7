//! Statements by way of the `mysql` crate: text and prepared.

use crate::cluster::Cluster;
use mysql::consts::ColumnType;
use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows as text, `NULL` for NULL.
pub fn rows(connection: &mut Conn, sql: &str) -> Vec<String> {
    let rows: Vec<Row> = connection.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter().map(|row| row.unwrap().iter().map(shown).collect::<Vec<_>>().join("|")).collect()
}

fn shown(value: &Value) -> String {
    match value {
        Value::NULL => "NULL".to_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_sql(true).trim_matches('\'').to_owned(),
    }
}

/// Executes a statement and says how many rows it affected.
pub fn affected(connection: &mut Conn, sql: &str) -> u64 {
    connection.query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection.affected_rows()
}

/// Code of the error of a statement.
pub fn code(connection: &mut Conn, sql: &str) -> u16 {
    refused(connection, sql).0
}

/// Code and message of the error of a statement.
pub fn refused(connection: &mut Conn, sql: &str) -> (u16, String) {
    match connection.query::<Row, _>(sql) {
        Err(mysql::Error::MySqlError(error)) => (error.code, error.message),
        Err(other) => panic!("{sql}: {other}"),
        Ok(_) => panic!("{sql} is no error"),
    }
}

#[test]
fn statements_do_what_they_do_in_mysql() {
    let mut cluster = Cluster::start();
    let mut connection = cluster.connect();
    connection.query_drop("CREATE DATABASE shop").expect("created");
    connection.query_drop("USE shop").expect("there");
    point_statements(&mut connection);
    expressions(&mut connection);
    transactions(&cluster, &mut connection);
    ranges_and_groups(&mut connection);
    exact_ranges(&mut connection);
    limits_of_the_session(&mut connection);
    unique_index_of_a_table_in_use(&cluster, &mut connection);
    collisions(&mut connection);
    feature_store(&mut connection);
    prepared(&mut connection);
    errors(&mut connection);
    introspection(&mut connection);
    // Plans know when a table changes, also by way of another gateway, and numbers are given out once over all gateways.
    let other = cluster.add_gateway("");
    let options = cluster.options().tcp_port(cluster.port(other)).db_name(Some("shop"));
    two_gateways(&mut connection, &mut Conn::new(options).expect("connected"));
}

fn point_statements(connection: &mut Conn) {
    connection
        .query_drop(
            "CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(20), price DECIMAL(8,2) NOT NULL DEFAULT 1.50, \
             stock INT NOT NULL DEFAULT 0, added DATETIME, KEY by_stock (stock)) ENGINE=ndbcluster COMMENT='things'",
        )
        .expect("created");
    assert_eq!(
        affected(connection, "INSERT INTO items (id, name) VALUES (1, 'nut'), (2, 'bolt'), (3, NULL)"),
        3
    );
    assert_eq!(
        affected(connection, "INSERT INTO items VALUES (4, 'it''s', 0.05, 7, '2024-01-31 10:00:00')"),
        1
    );
    assert_eq!(rows(connection, "SELECT * FROM items WHERE id = 4"), ["4|it's|0.05|7|2024-01-31 10:00:00"]);
    assert_eq!(rows(connection, "SELECT name FROM items WHERE id = 9"), [""; 0]);
    assert_eq!(rows(connection, "SELECT name FROM items WHERE id = '2'"), ["bolt"]);
    assert_eq!(rows(connection, "SELECT name FROM items WHERE id = 2.5"), [""; 0]);
    assert_eq!(rows(connection, "SELECT id FROM items WHERE id IN (2, 1, 2, 77)"), ["2", "1"]);
    assert_eq!(rows(connection, "SELECT i.id AS n FROM shop.items AS i WHERE i.name = 'nut'"), ["1"]);
    assert_eq!(affected(connection, "UPDATE items SET stock = stock + 5 WHERE id = 1"), 1);
    assert_eq!(affected(connection, "UPDATE items SET stock = stock + 5 WHERE id = 99"), 0);
    assert_eq!(affected(connection, "UPDATE items SET name = 'nut' WHERE id = 1"), 0);
    assert_eq!(
        affected(connection, "UPDATE items SET name = 'screw', price = price * 2 WHERE id = 1 AND stock = 5"),
        1
    );
    assert_eq!(affected(connection, "UPDATE items SET name = 'x' WHERE id = 1 AND stock = 6"), 0);
    assert_eq!(rows(connection, "SELECT name, price, stock FROM items WHERE id = 1"), ["screw|3.00|5"]);
    assert_eq!(affected(connection, "DELETE FROM items WHERE id = 3"), 1);
    assert_eq!(affected(connection, "DELETE FROM items WHERE id = 3"), 0);
    assert_eq!(affected(connection, "UPDATE items SET stock = 1 WHERE stock < 6"), 2);
    assert_eq!(
        rows(connection, "SELECT COUNT(*), SUM(stock), MIN(name), AVG(price) FROM items"),
        ["3|9|bolt|1.516667"]
    );
    // The same once more: that by a plan that is known.
    assert_eq!(rows(connection, "SELECT name FROM items WHERE id = 1"), ["screw"]);
    assert_eq!(rows(connection, "SELECT name FROM items WHERE id = 2"), ["bolt"]);
}

fn expressions(connection: &mut Conn) {
    for (sql, expected) in [
        ("SELECT 7/2, 7 DIV 2, 7 % 2, -7 % 2, 1/0", "3.5000|3|1|-1|NULL"),
        ("SELECT 1 + '1', '2x' * 2, 'abc' = 0", "2|4|1"),
        ("SELECT NULL = NULL, NULL <=> NULL, NULL IS NULL, NOT NULL", "NULL|1|1|NULL"),
        ("SELECT 0.1 + 0.2, 1.10, 2 * 1.5, 1e3", "0.3|1.10|3.0|1000"),
        ("SELECT CONCAT('a', 1, 'b'), UPPER('abc'), CHAR_LENGTH('é'), LENGTH('é')", "a1b|ABC|1|2"),
        ("SELECT CASE WHEN NULL THEN 1 ELSE 2 END, IF(1 > 0, 'y', 'n'), COALESCE(NULL, 5)", "2|y|5"),
        ("SELECT 'a' LIKE 'A', 'abc' LIKE 'a%', 'a_c' LIKE 'a\\_c'", "0|1|1"),
        ("SELECT 5 IN (1, NULL), 1 IN (1, NULL), (1, 2) = (1, 2)", "NULL|1|1"),
        ("SELECT 18446744073709551615, 9223372036854775807", "18446744073709551615|9223372036854775807"),
        (
            "SELECT DATE '2024-02-29', YEAR('2024-02-29'), DATEDIFF('2024-03-01', '2024-02-28')",
            "2024-02-29|2024|2",
        ),
        (
            "SELECT CAST('12abc' AS SIGNED), CAST(1.55 AS DECIMAL(4,1)), ROUND(2.5), ROUND(-1.25, 1)",
            "12|1.6|3|-1.3",
        ),
    ] {
        assert_eq!(rows(connection, sql), [expected], "{sql}");
    }
    assert_eq!(code(connection, "SELECT 9223372036854775807 + 1"), 1690);
}

fn transactions(cluster: &Cluster, connection: &mut Conn) {
    let mut other = cluster.connect();
    other.query_drop("USE shop").expect("there");
    connection.query_drop("BEGIN").expect("begun");
    assert_eq!(affected(connection, "INSERT INTO items (id, name, stock) VALUES (10, 'nail', 3)"), 1);
    assert_eq!(affected(connection, "UPDATE items SET stock = stock + 1 WHERE id = 10"), 1);
    assert_eq!(affected(connection, "DELETE FROM items WHERE id = 2"), 1);
    // What the transaction has written is there for itself, in look-ups, ranges and full scans.
    assert_eq!(rows(connection, "SELECT stock FROM items WHERE id = 10"), ["4"]);
    assert_eq!(
        rows(connection, "SELECT id FROM items WHERE id BETWEEN 1 AND 20 ORDER BY id"),
        ["1", "4", "10"]
    );
    assert_eq!(
        rows(connection, "SELECT id FROM items WHERE name > '' ORDER BY id DESC LIMIT 2"),
        ["10", "4"]
    );
    assert_eq!(rows(&mut other, "SELECT id FROM items ORDER BY id"), ["1", "2", "4"]);
    // A row that exists fails the statement, not the transaction.
    assert_eq!(code(connection, "INSERT INTO items (id) VALUES (11), (10), (12)"), 1062);
    assert_eq!(rows(connection, "SELECT COUNT(*) FROM items"), ["3"]);
    connection.query_drop("COMMIT").expect("committed");
    assert_eq!(rows(&mut other, "SELECT id FROM items ORDER BY id"), ["1", "4", "10"]);

    connection.query_drop("START TRANSACTION").expect("begun");
    assert_eq!(affected(connection, "UPDATE items SET name = 'gone', stock = 0 WHERE id > 0"), 3);
    connection.query_drop("ROLLBACK").expect("rolled back");
    assert_eq!(rows(connection, "SELECT name FROM items WHERE id = 4"), ["it's"]);

    connection.query_drop("SET autocommit = 0").expect("set");
    assert_eq!(affected(connection, "DELETE FROM items WHERE id = 4"), 1);
    assert_eq!(rows(&mut other, "SELECT id FROM items WHERE id = 4"), ["4"]);
    connection.query_drop("ROLLBACK").expect("rolled back");
    connection.query_drop("SET autocommit = 1").expect("set");

    // Rows that are read FOR UPDATE are locked: the other one waits, and gives up after two seconds.
    connection.query_drop("BEGIN").expect("begun");
    assert_eq!(rows(connection, "SELECT id FROM items WHERE id = 4 FOR UPDATE"), ["4"]);
    // Also a statement of its own, of which nothing is in doubt then, and which locks nothing any more when it has ended.
    assert_eq!(code(&mut other, "SELECT id FROM items WHERE id = 4 FOR UPDATE"), 1205);
    assert_eq!(rows(&mut other, "SELECT id FROM items WHERE id = 1 FOR UPDATE"), ["1"]);
    assert_eq!(affected(connection, "UPDATE items SET stock = stock + 1 WHERE id = 1"), 1);
    assert_eq!(code(&mut other, "UPDATE items SET stock = 7 WHERE id = 4"), 1205);
    assert_eq!(code(&mut other, "DELETE FROM items WHERE stock < 1000"), 1205);
    other.query_drop("BEGIN").expect("begun");
    assert_eq!(code(&mut other, "UPDATE items SET stock = stock + 1 WHERE id = 4"), 1205);
    assert_eq!(code(&mut other, "SELECT * FROM items WHERE id = 1"), 1180);
    assert_eq!(code(&mut other, "COMMIT"), 1180);
    connection.query_drop("COMMIT").expect("committed");
    assert_eq!(affected(&mut other, "UPDATE items SET stock = stock + 1 WHERE id = 4"), 1);
}

fn ranges_and_groups(connection: &mut Conn) {
    connection
        .query_drop("CREATE TABLE points (a INT, b INT, v INT, s CHAR(10) NOT NULL DEFAULT '', PRIMARY KEY (a, b), KEY (v))")
        .expect("created");
    let values: Vec<String> =
        (0..60).map(|i| format!("({}, {}, {}, 's{}')", i / 10, i % 10, i % 7, i % 3)).collect();
    assert_eq!(affected(connection, &format!("INSERT INTO points VALUES {}", values.join(", "))), 60);
    assert_eq!(rows(connection, "SELECT COUNT(*) FROM points WHERE a = 3"), ["10"]);
    assert_eq!(
        rows(connection, "SELECT b FROM points WHERE a = 3 AND b > 6 ORDER BY b DESC"),
        ["9", "8", "7"]
    );
    assert_eq!(
        rows(connection, "SELECT a, b FROM points WHERE (a, b) IN ((1, 2), (3, 4), (NULL, 1))"),
        ["1|2", "3|4"]
    );
    assert_eq!(
        rows(connection, "SELECT a, b FROM points WHERE a IN (1, 2) AND b IN (5) ORDER BY a"),
        ["1|5", "2|5"]
    );
    assert_eq!(
        rows(connection, "SELECT DISTINCT s FROM points WHERE v BETWEEN 2 AND 3 ORDER BY s"),
        ["s0", "s1", "s2"]
    );
    assert_eq!(rows(connection, "SELECT SUM(b) FROM points WHERE a BETWEEN 2 AND 3"), ["90"]);
    assert_eq!(
        rows(connection, "SELECT v, COUNT(*) c FROM points GROUP BY v HAVING c > 8 ORDER BY 2 DESC, v"),
        ["0|9", "1|9", "2|9", "3|9"]
    );
    assert_eq!(rows(connection, "SELECT a, b FROM points ORDER BY a, b LIMIT 2 OFFSET 9"), ["0|9", "1|0"]);
    assert_eq!(rows(connection, "SELECT COUNT(DISTINCT v), MAX(s) FROM points WHERE a >= 0"), ["7|s2"]);
    assert_eq!(rows(connection, "SELECT SUM(v) FROM points WHERE a = 99"), ["NULL"]);
    assert_eq!(code(connection, "SELECT a, COUNT(*) FROM points GROUP BY b"), 1055);
    connection.query_drop("CREATE INDEX by_s ON points (s)").expect("created");
    assert_eq!(rows(connection, "SELECT COUNT(*) FROM points WHERE s = 's1'"), ["20"]);
    connection.query_drop("DROP INDEX by_s ON points").expect("dropped");
    assert_eq!(rows(connection, "SELECT COUNT(*) FROM points WHERE s = 's1'"), ["20"]);
    assert_eq!(
        refused(connection, "CREATE UNIQUE INDEX one_s ON points (s)"),
        (1062, "Duplicate entry 's0' for key 'points.one_s'".to_owned())
    );
    assert_eq!(
        code(connection, "ALTER TABLE points ADD UNIQUE KEY one_s (s)"),
        1062,
        "the first try left nothing"
    );
    connection.query_drop("CREATE UNIQUE INDEX one_place ON points (b, a)").expect("created");
    assert_eq!(code(connection, "INSERT INTO points (a, b) VALUES (0, 0)"), 1062);
    assert_eq!(rows(connection, "SELECT a, b FROM points WHERE (b, a) IN ((9, 3), (99, 1))"), ["3|9"]);
    connection.query_drop("DROP INDEX one_place ON points").expect("dropped");
    connection.query_drop("ALTER TABLE points ADD UNIQUE (a, b)").expect("created");
    assert_eq!(code(connection, "ALTER TABLE points ADD UNIQUE a (a, b)"), 1061);
    connection.query_drop("ALTER TABLE points DROP INDEX a").expect("dropped");
    let several = "ALTER TABLE points ADD COLUMN y INT, ADD COLUMN z INT, ALGORITHM = INPLACE";
    assert_eq!(code(connection, several), 1235);
    assert_eq!(code(connection, "SELECT y FROM points"), 1054, "none of them is made");
    assert_eq!(affected(connection, "DELETE FROM points WHERE v = 0 LIMIT 4"), 4);
    connection.query_drop("TRUNCATE TABLE points").expect("truncated");
    assert_eq!(rows(connection, "SELECT COUNT(*) FROM points"), ["0"]);
}

/// As JDBC drivers bound results: `setMaxRows`.
fn limits_of_the_session(connection: &mut Conn) {
    affected(connection, "CREATE TABLE limited (id INT PRIMARY KEY, n INT)");
    affected(connection, "CREATE TABLE copied (id INT PRIMARY KEY, n INT)");
    affected(connection, "INSERT INTO limited VALUES (1, 9), (2, 8), (3, 7), (4, 6), (5, 5)");
    affected(connection, "SET sql_select_limit = 2");
    for (sql, wanted) in [
        ("SELECT id FROM limited ORDER BY n", &["5", "4"][..]),
        ("SELECT id FROM limited ORDER BY n LIMIT 3", &["5", "4", "3"]),
        ("SELECT COUNT(*) FROM limited", &["5"]),
        ("SELECT id FROM limited WHERE id IN (1, 2, 3) ORDER BY id", &["1", "2"]),
        ("SELECT a.id FROM limited a JOIN limited b ON a.id = b.id ORDER BY a.n", &["5", "4"]),
        (
            "SELECT id FROM limited WHERE id < 2 UNION ALL SELECT id + 10 FROM limited WHERE id > 3 ORDER BY 1",
            &["1", "14"],
        ),
        ("SELECT MAX(id) FROM (SELECT id FROM limited) d", &["5"]),
        ("(SELECT id FROM limited ORDER BY id)", &["1", "2"]),
        ("(SELECT id FROM limited ORDER BY id DESC LIMIT 3)", &["5", "4", "3"]),
        ("(SELECT id FROM limited ORDER BY id DESC LIMIT 3) LIMIT 1", &["5"]),
        ("((SELECT id FROM limited) ORDER BY id DESC)", &["5", "4"]),
        (
            "(SELECT a.id FROM limited a JOIN limited b ON a.id = b.id ORDER BY a.id LIMIT 3)",
            &["1", "2", "3"],
        ),
        ("SELECT id FROM limited WHERE id = (SELECT MAX(id) FROM limited)", &["5"]),
    ] {
        assert_eq!(rows(connection, sql), wanted, "{sql}");
    }
    assert_eq!(affected(connection, "INSERT INTO copied SELECT id, n FROM limited"), 5);
    affected(connection, "DELETE FROM copied");
    assert_eq!(affected(connection, "INSERT INTO copied (SELECT id, n FROM limited ORDER BY id LIMIT 3)"), 3);
    assert_eq!(affected(connection, "UPDATE limited SET n = 1"), 5);
    let prepared = connection.prep("SELECT id FROM limited WHERE id > ?").expect("prepared");
    for (set, wanted) in [
        ("1", 1),
        ("0", 0),
        ("DEFAULT", 4),
        ("3", 3),
        ("18446744073709551615", 4),
        ("9223372036854775807", 4),
    ] {
        affected(connection, &format!("SET SESSION sql_select_limit = {set}"));
        let found: Vec<u32> = connection.exec(&prepared, (1,)).expect("executed");
        assert_eq!(found.len(), wanted, "{set}");
        let joined = "SELECT a.id FROM limited a JOIN limited b ON a.id = b.id WHERE a.id > 1";
        assert_eq!(rows(connection, joined).len(), wanted, "{set}");
    }
    affected(connection, "SET sql_select_limit = 1");
    affected(connection, "SELECT id INTO @first FROM limited ORDER BY id");
    affected(connection, "SET sql_select_limit = DEFAULT");
    assert_eq!(rows(connection, "SELECT @first"), ["1"]);
    assert_eq!(code(connection, "SET sql_select_limit = 'two'"), 1232);
    assert_eq!(rows(connection, "SELECT @@sql_select_limit"), ["18446744073709551615"]);
}

/// Where a range is the whole condition nothing else is checked: NULL, constants of other types and rows of a transaction must not slip through.
fn exact_ranges(connection: &mut Conn) {
    connection
        .query_drop(
            "CREATE TABLE numbers (id INT PRIMARY KEY, n INT, t INT UNSIGNED NOT NULL, KEY (n), KEY (t, n))",
        )
        .expect("created");
    let values: Vec<String> = (0..20)
        .map(|i| match i % 5 {
            0 => format!("({i}, NULL, {})", i % 2),
            _ => format!("({i}, {}, {})", i % 5 - 3, i % 2),
        })
        .collect();
    assert_eq!(affected(connection, &format!("INSERT INTO numbers VALUES {}", values.join(", "))), 20);
    let plan = |connection: &mut Conn, sql: &str| rows(connection, &format!("EXPLAIN {sql}")).join(" ");
    for (condition, count, is_exact) in [
        ("id BETWEEN 3 AND 7", 5, true),
        ("n >= -1 AND n < 1", 8, true),
        ("n < 0", 8, false),
        ("n <= 0.5 AND n > -1", 4, false),
        ("n = 1", 4, true),
        ("n <=> NULL", 4, false),
        ("t = 1 AND n < 0", 4, false),
        ("t = 1 AND n > -2", 6, true),
        ("t = 1 AND n > -2 AND n > 0", 2, false),
        ("t = 1 AND n > -2 AND id < 10", 3, false),
        ("t > -1", 20, false),
        ("t <= 0", 10, true),
        ("t BETWEEN '1' AND '9'", 10, true),
        ("id > 4294967296", 0, false),
        ("id BETWEEN 7 AND 3", 0, true),
        ("id BETWEEN NULL AND 3", 0, false),
        ("id IN (5) AND id < 4", 0, false),
        ("t > 0", 10, true),
        ("t < 1", 10, true),
        ("id > -1 AND id < 20", 20, true),
        ("id >= 2.0 AND id <= 3", 2, true),
    ] {
        let sql = format!("SELECT COUNT(*) FROM numbers WHERE {condition}");
        assert_eq!(rows(connection, &sql), [count.to_string()], "{sql}");
        let sql = format!("SELECT id FROM numbers WHERE {condition} ORDER BY id DESC");
        assert_eq!(rows(connection, &sql).len(), count, "{sql}");
        assert_eq!(plan(connection, &sql).contains("the range is the condition"), is_exact, "{sql}");
    }
    connection.query_drop("BEGIN").expect("begun");
    assert_eq!(affected(connection, "UPDATE numbers SET n = 50 WHERE id = 4"), 1);
    assert_eq!(affected(connection, "DELETE FROM numbers WHERE id = 6"), 1);
    assert_eq!(
        rows(connection, "SELECT id FROM numbers WHERE id BETWEEN 3 AND 7 ORDER BY id"),
        ["3", "4", "5", "7"]
    );
    assert_eq!(rows(connection, "SELECT SUM(n), COUNT(*) FROM numbers WHERE n BETWEEN 1 AND 100"), ["53|4"]);
    assert_eq!(
        rows(connection, "SELECT id FROM numbers WHERE id BETWEEN 3 AND 7 ORDER BY id DESC LIMIT 2"),
        ["7", "5"]
    );
    assert_eq!(
        rows(connection, "SELECT id FROM numbers WHERE id BETWEEN 3 AND 7 FOR UPDATE").len(),
        4,
        "one is deleted"
    );
    connection.query_drop("ROLLBACK").expect("rolled back");
    let prepared = connection.prep("SELECT COUNT(*) FROM numbers WHERE n >= ? AND n < ?").expect("prepared");
    for (from, to, count) in [
        (Value::from(-1), Value::from(1), 8),
        (Value::NULL, Value::from(1), 0),
        (Value::from(-0.5), Value::from(1), 4),
        (Value::from("0"), Value::from(2_u64), 8),
    ] {
        let found: Option<u64> = connection.exec_first(&prepared, (from, to)).expect("counted");
        assert_eq!(found, Some(count));
    }
    // A tuple with more columns than the key has is more than the key.
    let update = "UPDATE numbers SET n = 7 WHERE";
    assert_eq!(rows(connection, "SELECT id FROM numbers WHERE (id, n) = (1, 999)"), [""; 0]);
    assert_eq!(rows(connection, "SELECT id FROM numbers WHERE (id, n) IN ((1, -2), (2, 999))"), ["1"]);
    assert_eq!(rows(connection, "SELECT id FROM numbers WHERE (id, id) = (1, 2)"), [""; 0]);
    for begin in ["COMMIT", "BEGIN"] {
        connection.query_drop(begin).expect("begun");
        assert_eq!(affected(connection, "DELETE FROM numbers WHERE (id, n) = (1, 999)"), 0);
        assert_eq!(affected(connection, &format!("{update} (id, n) IN ((1, 999))")), 0);
        assert_eq!(affected(connection, &format!("{update} (n, id) IN ((-2, 1))")), 1);
        assert_eq!(affected(connection, "UPDATE numbers SET n = -2 WHERE id = 1"), 1);
        connection.query_drop("COMMIT").expect("committed");
    }
    connection.query_drop("DROP TABLE numbers").expect("dropped");
    let big = "CREATE TABLE big (u BIGINT UNSIGNED PRIMARY KEY, i BIGINT NOT NULL, KEY (i))";
    connection.query_drop(big).expect("created");
    let values = "INSERT INTO big VALUES (0, -9223372036854775808), (1, -1), (18446744073709551615, 9223372036854775807)";
    assert_eq!(affected(connection, values), 3);
    for (condition, count) in [
        ("u > 0", 2),
        ("u < 18446744073709551615", 2),
        ("u <= 18446744073709551615", 3),
        ("u >= 0 AND u < 1", 1),
        ("i < 0", 2),
        ("i <= -9223372036854775808", 1),
        ("i > -9223372036854775808", 2),
        ("i >= 9223372036854775807", 1),
    ] {
        let sql = format!("SELECT COUNT(*) FROM big WHERE {condition}");
        assert_eq!(rows(connection, &sql), [count.to_string()], "{sql}");
    }
    assert_eq!(
        rows(connection, "SELECT DISTINCT i FROM big ORDER BY i DESC LIMIT 10"),
        ["9223372036854775807", "-1", "-9223372036854775808"]
    );
    assert_eq!(rows(connection, "SELECT u FROM big ORDER BY u DESC"), ["18446744073709551615", "1", "0"]);
    connection.query_drop("DROP TABLE big").expect("dropped");
}

/// While it is built, and while it is dropped, transactions insert and change rows.
fn unique_index_of_a_table_in_use(cluster: &Cluster, connection: &mut Conn) {
    connection
        .query_drop("CREATE TABLE busy (id INT PRIMARY KEY, mail VARCHAR(20), n INT)")
        .expect("created");
    for from in (0..30_000).step_by(3_000) {
        let values: Vec<String> = (from..from + 3_000).map(|id| format!("({id}, 'm{id}', 0)")).collect();
        assert_eq!(affected(connection, &format!("INSERT INTO busy VALUES {}", values.join(", "))), 3_000);
    }
    let mut other = cluster.connect();
    other.query_drop("USE shop").expect("there");
    let is_dropped = Arc::new(AtomicBool::new(false));
    let drops = Arc::clone(&is_dropped);
    let change = std::thread::spawn(move || {
        other.query_drop("CREATE UNIQUE INDEX by_mail ON busy (mail)").expect("created");
        drops.store(true, Ordering::SeqCst);
        other.query_drop("DROP INDEX by_mail ON busy").expect("dropped");
    });
    let (mut next, mut more) = (30_000, 100);
    while more > 0 {
        more -= if change.is_finished() { 1 } else { 0 };
        let id = next % 30_000;
        let statements = [
            "BEGIN".to_owned(),
            format!("INSERT INTO busy VALUES ({next}, 'm{next}', 1)"),
            format!("UPDATE busy SET mail = 'w{next}' WHERE id = {id}"),
            "COMMIT".to_owned(),
            format!("REPLACE INTO busy VALUES ({next}, 'r{next}', 2)"),
        ];
        let mut executed = 0;
        while executed < statements.len() {
            match connection.query_drop(&statements[executed]) {
                Ok(()) => executed += 1,
                // Who has begun a transaction begins it again.
                Err(mysql::Error::MySqlError(error))
                    if [1213, 1412].contains(&error.code) && is_dropped.load(Ordering::SeqCst) =>
                {
                    connection.query_drop("ROLLBACK").expect("rolled back");
                    executed = if executed == statements.len() - 1 { executed } else { 0 };
                }
                Err(error) => panic!("{}: {error}", statements[executed]),
            }
        }
        next += 1;
    }
    change.join().expect("the index came and went");
    assert_eq!(rows(connection, "SELECT COUNT(*) FROM busy"), [next.to_string()]);
    connection.query_drop("DROP TABLE busy").expect("dropped");
}

fn collisions(connection: &mut Conn) {
    connection
        .query_drop("CREATE TABLE users (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, mail VARCHAR(50) UNIQUE, n INT)")
        .expect("created");
    assert_eq!(affected(connection, "INSERT INTO users (mail, n) VALUES ('a', 1), ('b', 2)"), 2);
    assert_eq!(connection.last_insert_id(), 1);
    assert_eq!(affected(connection, "INSERT INTO users VALUES (0, 'c', 3)"), 1);
    assert_eq!(connection.last_insert_id(), 3);
    assert_eq!(rows(connection, "SELECT LAST_INSERT_ID()"), ["3"]);
    assert_eq!(affected(connection, "INSERT INTO users VALUES (100, 'd', 4)"), 1);
    assert_eq!(connection.last_insert_id(), 100, "one that was given");
    assert_eq!(rows(connection, "SELECT LAST_INSERT_ID()"), ["3"]);
    assert_eq!(affected(connection, "INSERT INTO users (mail) VALUES ('e')"), 1);
    assert_eq!(connection.last_insert_id(), 101);
    assert_eq!(rows(connection, "SELECT id FROM users WHERE mail = 'b'"), ["2"]);
    // Numbers that rows get by a change are not given out either.
    connection
        .query_drop("CREATE TABLE counted (id INT AUTO_INCREMENT PRIMARY KEY, v INT UNIQUE)")
        .expect("created");
    assert_eq!(affected(connection, "INSERT INTO counted (v) VALUES (1), (2)"), 2);
    assert_eq!(affected(connection, "UPDATE counted SET id = id + 2 WHERE id < 3 ORDER BY id DESC"), 2);
    assert_eq!(affected(connection, "INSERT INTO counted (v) VALUES (3)"), 1);
    assert_eq!(connection.last_insert_id(), 5);
    assert_eq!(affected(connection, "INSERT INTO counted (v) VALUES (3) ON DUPLICATE KEY UPDATE id = 70"), 2);
    assert_eq!(affected(connection, "INSERT INTO counted (v) VALUES (4)"), 1);
    assert_eq!(connection.last_insert_id(), 71);
    connection.query_drop("DROP TABLE counted").expect("dropped");
    assert_eq!(code(connection, "INSERT INTO users (mail) VALUES ('a')"), 1062);
    assert_eq!(code(connection, "INSERT INTO users (id, mail) VALUES (1, 'z')"), 1062);
    assert_eq!(code(connection, "UPDATE users SET mail = 'a' WHERE id = 2"), 1062);
    assert_eq!(affected(connection, "INSERT IGNORE INTO users (mail) VALUES ('a'), ('f')"), 1);
    let id = connection.last_insert_id();
    assert_eq!(rows(connection, "SHOW WARNINGS").len(), 1);
    assert_eq!(rows(connection, "SELECT id FROM users WHERE mail = 'f'"), [id.to_string()]);
    for begin in ["COMMIT", "BEGIN"] {
        connection.query_drop(begin).expect("begun");
        let again = "INSERT INTO users (mail, n) VALUES ('b', 2) ON DUPLICATE KEY UPDATE n = VALUES(n)";
        assert_eq!(affected(connection, again), 0);
        assert_eq!(connection.last_insert_id(), 2, "that of the row which is there");
        assert_eq!(rows(connection, "SELECT LAST_INSERT_ID()"), [id.to_string()]);
        connection.query_drop("COMMIT").expect("committed");
    }
    assert_eq!(
        affected(
            connection,
            "INSERT INTO users (mail, n) VALUES ('a', 9) ON DUPLICATE KEY UPDATE n = n + VALUES(n)"
        ),
        2
    );
    assert_eq!(rows(connection, "SELECT n FROM users WHERE mail = 'a'"), ["10"]);
    assert_eq!(
        affected(connection, "INSERT INTO users (mail, n) VALUES ('a', 9) ON DUPLICATE KEY UPDATE n = 10"),
        0
    );
    assert_eq!(affected(connection, "REPLACE INTO users VALUES (2, 'a', 5)"), 3);
    assert_eq!(rows(connection, "SELECT id, n FROM users WHERE mail = 'a'"), ["2|5"]);
    assert_eq!(rows(connection, "SELECT COUNT(*) FROM users WHERE id = 1"), ["0"]);
}

fn feature_store(connection: &mut Conn) {
    connection
        .query_drop(
            "CREATE TABLE IF NOT EXISTS `shop`.`fg_1`(`id` bigint, `day` VARCHAR(100), `x` double, PRIMARY KEY (`id`,`day`))\
             ENGINE=ndbcluster COMMENT='NDB_TABLE=READ_BACKUP=1'",
        )
        .expect("created");
    connection
        .query_drop("ALTER TABLE `shop`.`fg_1` ADD COLUMN `y` double DEFAULT NULL, ALGORITHM=INPLACE")
        .expect("added");
    connection
        .query_drop("INSERT INTO fg_1 VALUES (1, 'A\\'PL', 0.5, NULL), (2, 'x', 1.5, 2)")
        .expect("inserted");
    for (sql, expected) in [
        (
            "SELECT `fg0`.`x` AS `x` FROM `shop`.`fg_1` AS `fg0` WHERE `fg0`.`id` = 1 AND `fg0`.`day` = 'A\\'PL'",
            vec!["0.5"],
        ),
        (
            "SELECT `fg0`.`id` AS `id` FROM `shop`.`fg_1` AS `fg0` WHERE `fg0`.`day` IN (('x'),('y'))",
            vec!["2"],
        ),
        (
            "SELECT `fg0`.`id` AS `id` FROM `shop`.`fg_1` AS `fg0` WHERE (`fg0`.`id`, `fg0`.`day`) IN ((1,'A\\'PL'),(2,'x'),(NULL,'z'))",
            vec!["1", "2"],
        ),
        (
            "SELECT CASE WHEN `fg0`.`y` IS NULL THEN 10 ELSE `fg0`.`y` END AS `y` FROM fg_1 AS fg0 WHERE id = 1 AND day = 'A\\'PL'",
            vec!["10"],
        ),
    ] {
        assert_eq!(rows(connection, sql), expected, "{sql}");
    }
}

fn prepared(connection: &mut Conn) {
    let row: Option<(i64, String, Option<f64>)> = connection
        .exec_first("SELECT id, day, y FROM fg_1 WHERE id = ? AND day = ?", (2, "x"))
        .expect("read");
    assert_eq!(row, Some((2, "x".to_owned(), Some(2.0))));
    let statement = connection.prep("INSERT INTO fg_1 (id, day, x) VALUES (?, ?, ?)").expect("prepared");
    for id in 10..20 {
        connection.exec_drop(&statement, (id, "p", id as f64 / 4.0)).expect("inserted");
    }
    let found: Vec<(i64, f64)> = connection
        .exec("SELECT id, x FROM fg_1 WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?", (10, 15, 2))
        .expect("read");
    assert_eq!(found, [(10, 2.5), (11, 2.75)]);
    connection
        .exec_drop("UPDATE fg_1 SET y = ?, x = x + ? WHERE id = ? AND day = 'p'", (None::<f64>, 0.5, 10))
        .expect("updated");
    let x: Option<f64> =
        connection.exec_first("SELECT x FROM fg_1 WHERE id = ? AND day = ?", (10, "p")).expect("read");
    assert_eq!(x, Some(3.0));
    let added = mysql::Value::Date(2024, 2, 29, 1, 2, 3, 4);
    connection
        .exec_drop("INSERT INTO items (id, name, added) VALUES (?, ?, ?)", (50, "dated", &added))
        .expect("inserted");
    let back: Option<mysql::Value> =
        connection.exec_first("SELECT added FROM items WHERE id = ?", (50,)).expect("read");
    assert_eq!(back, Some(added));
    // A table that was dropped and made anew: the statement is planned again.
    connection.query_drop("CREATE TABLE again (id INT PRIMARY KEY, a INT)").expect("created");
    let again = connection.prep("SELECT * FROM again WHERE id = ?").expect("prepared");
    connection.query_drop("DROP TABLE again").expect("dropped");
    assert!(connection.exec_drop(&again, (1,)).is_err());
    connection.query_drop("CREATE TABLE again (id INT PRIMARY KEY, b VARCHAR(5), a INT)").expect("created");
    connection.query_drop("INSERT INTO again VALUES (1, 'b', 2)").expect("inserted");
    let row: Option<(i32, String, i32)> = connection.exec_first(&again, (1,)).expect("read");
    assert_eq!(row, Some((1, "b".to_owned(), 2)));
}

fn errors(connection: &mut Conn) {
    for (sql, expected) in [
        ("SELEC 1", 1064),
        ("", 1065),
        ("SELECT nothing FROM items", 1054),
        ("SELECT * FROM nothing", 1146),
        ("SELECT * FROM nowhere.nothing", 1146),
        ("SELECT nofunction(1)", 1305),
        ("USE nowhere", 1049),
        ("CREATE TABLE items (id INT PRIMARY KEY)", 1050),
        ("CREATE TABLE bare (id INT)", 1173),
        ("CREATE TABLE twice (id INT PRIMARY KEY, ID INT)", 1060),
        ("CREATE TABLE child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES items (id))", 1235),
        ("SELECT 1, SELECT * FROM items", 1064),
        ("DROP TABLE nothing", 1051),
        ("INSERT INTO items (id) VALUES (1)", 1062),
        ("INSERT INTO items (id) VALUES (NULL)", 1048),
        ("INSERT INTO items (id) VALUES ('abc')", 1366),
        ("INSERT INTO items (id) VALUES (99999999999)", 1264),
        ("INSERT INTO items (id, name) VALUES (77, '123456789012345678901')", 1406),
        ("INSERT INTO items (id, added) VALUES (77, '2024-02-30')", 1292),
        ("INSERT INTO items (id) VALUES (1, 2)", 1136),
        ("INSERT INTO items (name) VALUES ('x')", 1364),
        ("INSERT INTO items SELECT * FROM items", 1062),
        ("UPDATE items SET stock = stock + 2147483647 WHERE id = 10", 1264),
        ("UPDATE items SET id = 4 WHERE id = 10", 1062),
        ("ROLLBACK TO a", 1305),
        ("ROLLBACK AND CHAIN", 1235),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", 1235),
        ("SET nosuchvariable = 1", 1193),
        ("SELECT @@nosuchvariable", 1193),
        ("SELECT COUNT(*) FROM items WHERE COUNT(*) > 1", 1111),
        ("DELETE FROM duet_sql.sequences", 1044),
        ("SELECT ?", 1064),
    ] {
        assert_eq!(code(connection, sql), expected, "{sql}");
    }
    let nested = "(SELECT i.id + ".repeat(11) + "1" + &" FROM items i WHERE i.id = items.id)".repeat(11);
    assert_eq!(code(connection, &format!("SELECT {nested} FROM items")), 1473);
    assert_eq!(code(connection, "SELECT id FROM items WHERE ROW_NUMBER() OVER () = 1"), 3593);
    assert_eq!(code(connection, "SELECT SUM(ROW_NUMBER() OVER ()) FROM items"), 3593);
    let named = "SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS place FROM items HAVING place < 3";
    assert_eq!(code(connection, named), 3593);
    assert_eq!(code(connection, "DROP TABLE items, nosuch"), 1051);
    connection.query_drop("SET innodb_lock_wait_timeout = 1").expect("set");
    assert_eq!(rows(connection, "SHOW WARNINGS").len(), 1);
    assert_eq!(rows(connection, "SELECT @@innodb_lock_wait_timeout"), ["2"]);
    assert_eq!(code(connection, &format!("SELECT 1{} FROM items", ", id".repeat(4_096))), 1117);
    for (sql, named) in [
        ("CREATE TRIGGER t BEFORE INSERT ON items FOR EACH ROW SET NEW.id = 1", "CREATE TRIGGER"),
        ("CREATE DEFINER=`root`@`localhost` PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", "CREATE PROCEDURE"),
        ("CREATE FUNCTION f(n INT) RETURNS INT DETERMINISTIC RETURN n + 1", "CREATE FUNCTION"),
        ("CREATE EVENT e ON SCHEDULE EVERY 1 HOUR DO DELETE FROM items", "CREATE EVENT"),
        ("CREATE OR REPLACE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW v AS SELECT 1", "CREATE VIEW"),
        ("DROP VIEW IF EXISTS v", "DROP VIEW"),
        ("SELECT id FROM items WHERE id = 1 FOR UPDATE NOWAIT", "NOWAIT"),
        ("SELECT id FROM items WHERE id = 1 FOR SHARE SKIP LOCKED", "SKIP LOCKED"),
        ("SELECT a.id FROM items a JOIN items b ON a.id = b.id FOR UPDATE SKIP LOCKED", "SKIP LOCKED"),
        ("SELECT @a := 1", "':='"),
        ("SELECT SQL_CALC_FOUND_ROWS id FROM items LIMIT 1", "COUNT(*)"),
        ("EXPLAIN FORMAT=JSON SELECT id FROM items", "FORMAT=TREE"),
        ("SELECT id, RAND() AS chance FROM items HAVING chance < 0.5", "HAVING"),
        (
            "SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS place FROM items HAVING (place, 1) IN (SELECT 1, 1)",
            "window function left of IN",
        ),
        ("UPDATE IGNORE items SET stock = 1", "UPDATE IGNORE"),
        ("DELETE QUICK FROM items", "DELETE QUICK"),
        ("SELECT id INTO OUTFILE 'x' FROM items", "OUTFILE"),
        (
            "INSERT INTO items (id) SELECT DISTINCT a.id FROM items a ON DUPLICATE KEY UPDATE stock = a.stock",
            "SELECT DISTINCT",
        ),
        (
            "UPDATE items SET stock = 1, price = (SELECT COUNT(*) FROM users WHERE users.n = items.stock)",
            "earlier assignments",
        ),
    ] {
        let (code, message) = refused(connection, sql);
        assert!(code == 1235 && message.contains(named), "{sql}: {code} {message}");
    }
    assert_eq!(rows(connection, "SELECT id FROM items WHERE id = 4 FOR SHARE OF items"), ["4"]);
    assert_eq!(code(connection, "SELECT id FROM items WHERE id = 4 FOR UPDATE OF other"), 3568);
    connection.query_drop("CREATE TABLE wide (id INT PRIMARY KEY, a TEXT, b TEXT)").expect("created");
    let wide = "INSERT INTO wide VALUES (1, REPEAT('a', 60000), REPEAT('b', 60000))";
    let (number, message) = refused(connection, wide);
    assert!(number == 1118 && message.contains("69632"), "{number} {message}");
    // Nothing of a statement that ends so is done.
    connection.query_drop("INSERT INTO wide VALUES (1, REPEAT('a', 40000), 'b')").expect("it fits");
    connection.query_drop("BEGIN").expect("begun");
    let moved = "UPDATE wide SET id = id + 1, b = REPEAT('b', 60000)";
    assert_eq!(code(connection, moved), 1118);
    connection.query_drop("COMMIT").expect("committed");
    assert_eq!(rows(connection, "SELECT id, LENGTH(b) FROM wide"), ["1|1"]);
    // The connection goes on after all of them.
    assert_eq!(rows(connection, "SELECT 1"), ["1"]);
}

fn introspection(connection: &mut Conn) {
    assert_eq!(rows(connection, "SHOW DATABASES LIKE 'sh%'"), ["shop"]);
    assert_eq!(rows(connection, "SHOW TABLES LIKE 'it%'"), ["items"]);
    assert_eq!(
        rows(connection, "DESCRIBE users"),
        ["id|bigint|NO|PRI|NULL|auto_increment", "mail|varchar(50)|YES|UNI|NULL|", "n|int|YES||NULL|"]
    );
    let shown = rows(connection, "SHOW CREATE TABLE users").remove(0);
    connection.query_drop("DROP TABLE users").expect("dropped");
    connection.query_drop(shown.split_once('|').expect("two columns").1).expect("created as shown");
    assert_eq!(rows(connection, "SHOW CREATE TABLE users"), [shown]);
    assert_eq!(rows(connection, "SHOW INDEX FROM users").len(), 2);
    assert_eq!(
        rows(connection, "SELECT @@autocommit, @@session.transaction_isolation, @@max_allowed_packet"),
        ["1|READ-COMMITTED|16777216"]
    );
    assert_eq!(rows(connection, "SELECT DATABASE(), CONNECTION_ID() > 0, USER()"), ["shop|1|root@127.0.0.1"]);
    assert_eq!(
        rows(connection, "SHOW VARIABLES LIKE 'version_comment'"),
        ["version_comment|Duet SQL gateway"]
    );
    let sql = "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_KEY FROM information_schema.columns WHERE table_schema = 'shop' AND \
               table_name = 'users' ORDER BY ordinal_position";
    assert_eq!(rows(connection, sql), ["id|bigint|PRI", "mail|varchar|UNI", "n|int|"]);
    let sql = "SELECT schema_name FROM information_schema.SCHEMATA WHERE schema_name = 'shop'";
    assert_eq!(rows(connection, sql), ["shop"]);
    connection.query_drop("SET NAMES utf8mb4").expect("set");
    connection.query_drop("SET @a = 5, @b = 'x'").expect("set");
    assert_eq!(rows(connection, "SELECT @a + 1, @b, @c"), ["6|x|NULL"]);
    // Their types are those of their values, also in a plan that is known.
    let types = |connection: &mut Conn, sql: &str| {
        let result = connection.query_iter(sql).expect("read");
        result.columns().as_ref().iter().map(mysql::Column::column_type).collect::<Vec<_>>()
    };
    let sql = "SELECT @a, @a + 1 FROM users LIMIT 1";
    assert_eq!(types(connection, sql), [ColumnType::MYSQL_TYPE_LONGLONG; 2]);
    connection.query_drop("SET @a = 1.5").expect("set");
    assert_eq!(types(connection, sql), [ColumnType::MYSQL_TYPE_NEWDECIMAL; 2]);
    let value: Option<mysql::Value> = connection.exec_first("SELECT @a", ()).expect("read");
    assert_eq!(value, Some(mysql::Value::Bytes(b"1.5".to_vec())));
    connection.query_drop("SET @a = 1e0").expect("set");
    assert_eq!(types(connection, sql), [ColumnType::MYSQL_TYPE_DOUBLE; 2]);
    connection.query_drop("SET @a = 7").expect("set");
    let value: Option<mysql::Value> = connection.exec_first("SELECT @a", ()).expect("read");
    assert_eq!(value, Some(mysql::Value::Int(7)));
    // Numbers that a statement says go to the client with its answer.
    connection.query_drop("CREATE TABLE seq (id INT PRIMARY KEY, n BIGINT NOT NULL)").expect("created");
    connection.query_drop("INSERT INTO seq VALUES (1, 41)").expect("inserted");
    connection.query_drop("UPDATE seq SET n = LAST_INSERT_ID(n + 1) WHERE id = 1").expect("changed");
    assert_eq!(connection.last_insert_id(), 42);
    assert_eq!(rows(connection, "SELECT LAST_INSERT_ID()"), ["42"]);
    assert_eq!(rows(connection, "SELECT @@max_connections"), ["1024"]);
    assert_eq!(rows(connection, "SHOW VARIABLES LIKE 'max_connections'"), ["max_connections|1024"]);
}

fn two_gateways(one: &mut Conn, other: &mut Conn) {
    one.query_drop("CREATE TABLE shared (id INT AUTO_INCREMENT PRIMARY KEY, v INT)").expect("created");
    for _ in 0..3 {
        one.query_drop("INSERT INTO shared (v) VALUES (1), (2)").expect("inserted");
        other.query_drop("INSERT INTO shared (v) VALUES (3), (4)").expect("inserted");
    }
    assert_eq!(rows(one, "SELECT COUNT(*), COUNT(DISTINCT id) FROM shared"), ["12|12"]);
    other.query_drop("ALTER TABLE shared ADD COLUMN w INT DEFAULT 7").expect("added");
    other.query_drop("DROP DATABASE shop").expect("dropped");
    assert_eq!(code(one, "USE shop"), 1049);
}

#[test]
fn truncate_and_drop_wait_for_transactions() {
    let cluster = Cluster::start();
    let mut holder = cluster.connect();
    holder.query_drop("CREATE DATABASE w").expect("created");
    for statement in ["TRUNCATE TABLE w.t", "DROP TABLE w.t"] {
        holder
            .query_drop("CREATE TABLE IF NOT EXISTS w.t (id INT PRIMARY KEY AUTO_INCREMENT, n INT)")
            .expect("created");
        holder.query_drop("INSERT INTO w.t VALUES (1, 1)").expect("inserted");
        holder.query_drop("BEGIN").expect("begun");
        holder.query_drop("UPDATE w.t SET n = 2").expect("changed");
        let mut other = cluster.connect();
        let waiting = std::thread::spawn(move || other.query_drop(statement));
        // Longer than one request may take.
        std::thread::sleep(std::time::Duration::from_secs(6));
        holder.query_drop("COMMIT").expect("committed");
        waiting.join().expect("no panic").expect(statement);
        match statement.starts_with("TRUNCATE") {
            true => {
                let left = holder.query_first::<i64, _>("SELECT COUNT(*) FROM w.t");
                assert_eq!(left.expect("read"), Some(0));
            }
            false => assert_eq!(code(&mut holder, "SELECT COUNT(*) FROM w.t"), 1146),
        }
    }
}
