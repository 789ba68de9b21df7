//! Changes of many rows, and conditions with many values.

use crate::cluster::Cluster;
use crate::statements::{affected, code, rows};
use mysql::prelude::Queryable;
use mysql::{Conn, Row};

const ROWS: u32 = 9_000;

fn fill(connection: &mut Conn) {
    connection.query_drop("CREATE DATABASE large").expect("created");
    connection.query_drop("USE large").expect("there");
    let table = "CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL, name VARCHAR(20), d DECIMAL(8,2))";
    connection.query_drop(table).expect("created");
    let ids: Vec<u32> = (0..ROWS).collect();
    for chunk in ids.chunks(3_000) {
        let values: Vec<String> =
            chunk.iter().map(|id| format!("({id},{},'name {}',{id}.5)", id % 1_000, id % 500)).collect();
        affected(connection, &format!("INSERT INTO t VALUES {}", values.join(",")));
    }
}

fn list(values: impl Iterator<Item = u32>) -> String {
    values.map(|value| value.to_string()).collect::<Vec<_>>().join(",")
}

#[test]
fn large_changes_work_or_say_how_large_they_may_be() {
    let cluster = Cluster::start();
    let mut connection = cluster.connect();
    fill(&mut connection);
    let sum = |connection: &mut Conn| rows(connection, "SELECT SUM(n), COUNT(*) FROM t");
    let before = sum(&mut connection);
    // Each row takes a lock and a change, which is more than a transaction has.
    for statement in ["UPDATE t SET n = n + 1 WHERE d >= 0", "DELETE FROM t WHERE d >= 0"] {
        match connection.query::<Row, _>(statement) {
            Err(mysql::Error::MySqlError(error)) => {
                assert_eq!(error.code, 1_206, "{error}");
                assert!(error.message.contains("LIMIT") && error.message.contains("16384"), "{error}");
            }
            other => panic!("{statement}: {other:?}"),
        }
        assert_eq!(sum(&mut connection), before);
    }
    affected(&mut connection, "BEGIN");
    assert_eq!(affected(&mut connection, "UPDATE t SET n = n + 1 WHERE d >= 0 LIMIT 8000"), 8_000);
    affected(&mut connection, "ROLLBACK");
    let first = "UPDATE t SET n = n + 1 WHERE d >= 0 ORDER BY id LIMIT 8000";
    assert_eq!(affected(&mut connection, first), 8_000);
    assert_eq!(
        affected(&mut connection, "UPDATE t SET n = n - 1 WHERE d >= 0 ORDER BY id LIMIT 8000"),
        8_000
    );
    assert_eq!(sum(&mut connection), before);

    affected(&mut connection, "CREATE TABLE u (id INT PRIMARY KEY)");
    let many = |count: u32| (0..count).map(|id| format!("({id})")).collect::<Vec<_>>().join(",");
    assert_eq!(code(&mut connection, &format!("INSERT INTO u VALUES {}", many(16_385))), 1_206);
    assert_eq!(affected(&mut connection, &format!("INSERT INTO u VALUES {}", many(16_384))), 16_384);
    assert_eq!(affected(&mut connection, "DELETE FROM u LIMIT 10"), 10);

    // By keys, by the values of another column, and by tuples.
    let some = list((0..5_000).map(|number| number * 2));
    assert_eq!(affected(&mut connection, &format!("UPDATE t SET n = n + 1 WHERE id IN ({some})")), 4_500);
    let tuples = (0..2_000).map(|id| format!("({id},{id})")).collect::<Vec<_>>().join(",");
    assert_eq!(
        rows(&mut connection, &format!("SELECT COUNT(*) FROM t WHERE (id, n) IN ({tuples})")),
        ["500"]
    );
    assert_eq!(affected(&mut connection, &format!("UPDATE t SET n = n - 1 WHERE id IN ({some})")), 4_500);
    assert_eq!(sum(&mut connection), before);
    let others = list(100..3_000);
    for (condition, count) in [
        (format!("n IN ({others})"), 8_100),
        (format!("n NOT IN ({others})"), 900),
        (format!("n IN ({others}, NULL)"), 8_100),
        (format!("n NOT IN ({others}, NULL)"), 0),
        (format!("n + 0.0 IN ({others})"), 8_100),
        (format!("name IN ({others}, 'name 7')"), 18),
        (format!("CONCAT(name, '') IN ('{}')", others.replace(',', "','")), 0),
        (format!("SUBSTRING(name, 6) IN ('{}')", others.replace(',', "','")), 7_200),
        (format!("d IN ({others})"), 0),
        (format!("d - 0.5 IN ({others})"), 2_900),
    ] {
        let found = rows(&mut connection, &format!("SELECT COUNT(*) FROM t WHERE {condition}"));
        assert_eq!(found, [count.to_string()], "{}", &condition[..30]);
        // Within a join, and of rows that are to be locked.
        let joined = format!("SELECT COUNT(*) FROM t JOIN (SELECT 1 AS one) AS o WHERE {condition}");
        assert_eq!(rows(&mut connection, &joined), [count.to_string()], "{}", &condition[..30]);
        // A change ends where texts are taken for numbers.
        if count < 8_000 && !condition.contains("'name 7'") {
            let marked = format!("UPDATE t SET name = CONCAT(name, ''), d = d + 1 WHERE {condition}");
            let undone = affected(&mut connection, "BEGIN");
            assert_eq!(undone, 0);
            assert_eq!(affected(&mut connection, &marked), count, "{}", &condition[..30]);
            affected(&mut connection, "ROLLBACK");
        }
    }
    assert_eq!(sum(&mut connection), before);

    // With a limit no more rows are locked: others can take theirs from the same queue.
    let mut other = cluster.connect();
    let take = |by: &str| format!("SELECT id FROM large.t WHERE n = 5 ORDER BY {by} LIMIT 2 FOR UPDATE");
    for by in ["id", "d DESC, id"] {
        affected(&mut connection, "BEGIN");
        affected(&mut other, "BEGIN");
        let first = rows(&mut connection, &take(by));
        assert_eq!(first, if by == "id" { ["5", "1005"] } else { ["8005", "7005"] });
        let change = format!("UPDATE large.t SET n = n WHERE n = 5 AND id NOT IN ({})", first.join(","));
        assert_eq!(affected(&mut other, &change), 0);
        let more = rows(&mut other, "SELECT COUNT(*) FROM large.t WHERE id IN (2005, 3005, 4005) FOR UPDATE");
        assert_eq!(more, ["3"]);
        affected(&mut connection, "ROLLBACK");
        affected(&mut other, "ROLLBACK");
    }
    affected(&mut connection, "BEGIN");
    assert_eq!(affected(&mut connection, "DELETE FROM t WHERE n = 5 ORDER BY d DESC LIMIT 3"), 3);
    assert_eq!(rows(&mut connection, "SELECT MAX(id), COUNT(*) FROM t WHERE n = 5"), ["5005|6"]);
    affected(&mut connection, "ROLLBACK");

    // A row that has moved while its lock was awaited takes nobody's place.
    affected(&mut connection, "CREATE TABLE q (id INT PRIMARY KEY, prio INT, KEY by_prio (prio))");
    for order in ["prio", "prio + 0", "prio DESC"] {
        affected(&mut connection, "REPLACE INTO q VALUES (1, 1), (2, 2), (3, 3)");
        affected(&mut connection, "BEGIN");
        let (moves, away) = if order == "prio DESC" { (3, -9) } else { (1, 9) };
        affected(&mut connection, &format!("UPDATE q SET prio = {away} WHERE id = {moves}"));
        let mut waiting = cluster.connect();
        let taken = std::thread::spawn(move || {
            affected(&mut waiting, "BEGIN");
            let sql = format!("SELECT id, prio FROM large.q ORDER BY {order} LIMIT 1 FOR UPDATE");
            let found = rows(&mut waiting, &sql);
            let gone = affected(&mut waiting, &format!("DELETE FROM large.q ORDER BY {order} LIMIT 1"));
            let left = rows(&mut waiting, "SELECT id FROM large.q ORDER BY id");
            affected(&mut waiting, "ROLLBACK");
            (found, gone, left)
        });
        std::thread::sleep(std::time::Duration::from_millis(300));
        affected(&mut connection, "COMMIT");
        let (found, gone, left) = taken.join().expect("no panic");
        assert_eq!((found, gone, left), (vec!["2|2".to_owned()], 1, vec!["1".to_owned(), "3".to_owned()]));
    }
    // What is found among the texts is not compared with those that are no numbers.
    let texts = (1..16).map(|number| format!("'{number}'")).collect::<Vec<_>>().join(",");
    affected(&mut connection, "REPLACE INTO q VALUES (1, 1), (2, 2), (3, 3)");
    assert_eq!(affected(&mut connection, &format!("DELETE FROM q WHERE prio + 0 IN ({texts}, 'abc')")), 3);

    // Rows that the transaction itself has written are looked at as it has them.
    affected(&mut connection, "BEGIN");
    assert_eq!(affected(&mut connection, "UPDATE t SET n = 77777 WHERE id = 5"), 1);
    assert_eq!(affected(&mut connection, "UPDATE t SET name = 'five' WHERE n = 77777"), 1);
    assert_eq!(affected(&mut connection, "DELETE FROM t WHERE n = 5 AND id < 6"), 0);
    assert_eq!(rows(&mut connection, "SELECT name FROM t WHERE n > 70000 FOR UPDATE"), ["five"]);
    affected(&mut connection, "ROLLBACK");
    assert_eq!(rows(&mut connection, "SELECT n, name FROM t WHERE id = 5"), ["5|name 5"]);
}
