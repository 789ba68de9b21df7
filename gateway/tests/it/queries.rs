//! Queries of several tables: joins, subqueries, groups, windows, WITH, set operations, by way of the query engine.

use crate::cluster::Cluster;
use crate::statements::{code, rows};
use mysql::Conn;
use mysql::prelude::Queryable;

#[test]
fn queries_of_several_tables() {
    let mut cluster = Cluster::start();
    let mut connection = cluster.connect();
    for sql in [
        "CREATE DATABASE shop",
        "USE shop",
        "CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, city VARCHAR(20))",
        "CREATE TABLE orders (id INT PRIMARY KEY, customer INT, amount DECIMAL(8,2), placed DATE, KEY (customer))",
        "INSERT INTO customers VALUES (1, 'Ada', 'Oslo'), (2, 'Bob', NULL), (3, 'Cyd', 'Rome')",
        "INSERT INTO orders VALUES (10, 1, 5.50, '2024-01-01'), (11, 1, 2.25, '2024-01-02'), (12, 2, 1.00, NULL), (13, NULL, 9.99, '2024-02-01')",
    ] {
        connection.query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    joins(&mut connection);
    subqueries(&mut connection);
    groups_and_windows(&mut connection);
    set_operations(&mut connection);
    transactions(&mut connection);
    explained(&mut connection);
    schema_tables(&mut connection);
    errors(&mut connection);
    prepared(&mut connection);
    updates(&cluster, &mut connection);
    random_and_alike(&mut connection);
    let small = cluster.add_gateway("--query-memory 1");
    let options = cluster.options().tcp_port(cluster.port(small)).db_name(Some("shop"));
    bounded(&mut Conn::new(options).expect("connected"));
}

/// Memory and rounds are bounded, and the connection goes on behind the errors.
fn bounded(connection: &mut Conn) {
    let numbers = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 300)";
    let pairs = format!("{numbers} SELECT CONCAT(a.i, '-', b.i) AS t FROM n a, n b ORDER BY t");
    assert_eq!(code(connection, &pairs), 1_038);
    assert_eq!(rows(connection, &format!("{numbers} SELECT COUNT(*) FROM n a, n b")), ["90000"]);
    assert_eq!(
        code(
            connection,
            "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i FROM n) SELECT COUNT(*) FROM n"
        ),
        3_636
    );
    assert_eq!(rows(connection, "SELECT COUNT(*) FROM customers a, customers b"), ["9"]);
    // What aggregates, keys of an order and computed texts hold.
    for sql in [
        "SELECT COUNT(DISTINCT REPEAT(name, 400000)) FROM customers",
        "SELECT id, LENGTH(MAX(REPEAT(name, 400000))) FROM customers GROUP BY id",
        "SELECT id, LENGTH(GROUP_CONCAT(REPEAT(name, 400000))) FROM customers GROUP BY id",
        "SELECT id FROM customers ORDER BY REPEAT(name, 400000)",
        "SELECT REPEAT(a.name, 400000) FROM customers a JOIN customers b ON a.id = b.id",
        "SELECT REPEAT(name, 400000) FROM customers",
    ] {
        assert_eq!(code(connection, sql), 1_038, "{sql}");
    }
    assert_eq!(code(connection, &format!("SELECT {}1", "REPEAT('a', 16000000), ".repeat(5))), 1_041);
}

/// Each row has a random value of its own, and statements that look alike have plans of their own.
fn random_and_alike(connection: &mut Conn) {
    for sql in [
        "SELECT COUNT(DISTINCT r) FROM (SELECT UUID() AS r FROM customers a JOIN customers b) x",
        "SELECT COUNT(DISTINCT r) FROM (SELECT RAND() AS r FROM customers a JOIN customers b) x",
    ] {
        assert_eq!(rows(connection, sql), ["9"], "{sql}");
    }
    let random: Vec<f64> =
        connection.query("SELECT RAND() AS r FROM customers a JOIN customers b ORDER BY r").expect("sorted");
    assert!(random.is_sorted());
    let random: Vec<f64> = connection.query("SELECT RAND() AS r FROM customers ORDER BY r").expect("sorted");
    assert!(random.is_sorted());
    assert_eq!(code(connection, "SELECT id FROM customers WHERE RAND() BETWEEN 0 AND 1"), 1_235);
    for _ in 0..2 {
        assert_eq!(rows(connection, "SELECT 'x' , id , 'y' FROM customers WHERE id = 1"), ["x|1|y"]);
        assert_eq!(rows(connection, "SELECT 'x'' , id , ''y' FROM customers WHERE id = 1"), ["x' , id , 'y"]);
    }
}

fn prepared(connection: &mut Conn) {
    let sql = "SELECT c.name, COUNT(*) FROM customers c JOIN orders o ON o.customer = c.id WHERE o.amount > ? GROUP BY c.name ORDER BY 1 LIMIT ?";
    let statement = connection.prep(sql).expect("prepared");
    let names: Vec<String> =
        statement.columns().iter().map(|column| column.name_str().into_owned()).collect();
    assert_eq!(names, ["name", "COUNT(*)"]);
    for (amount, limit, expected) in
        [(2, 5, vec![("Ada", 2)]), (0, 1, vec![("Ada", 2)]), (0, 2, vec![("Ada", 2), ("Bob", 1)])]
    {
        let found: Vec<(String, u64)> = connection.exec(&statement, (amount, limit)).expect("executed");
        let found: Vec<(&str, u64)> = found.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(found, expected);
    }
}

/// Constants by the primary key: rows are counted as they should be, in a transaction and outside of it.
fn updates(cluster: &Cluster, connection: &mut Conn) {
    let changed = |connection: &mut Conn, sql: &str| {
        connection.query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.affected_rows()
    };
    for begin in ["SELECT 1", "BEGIN"] {
        connection.query_drop(begin).expect("begun");
        assert_eq!(changed(connection, "UPDATE customers SET city = 'Bonn' WHERE id = 3"), 1, "{begin}");
        assert_eq!(changed(connection, "UPDATE customers SET city = 'Bonn' WHERE id = 3"), 0, "{begin}");
        assert_eq!(changed(connection, "UPDATE customers SET city = 'Bonn' WHERE id = 33"), 0, "{begin}");
        check(connection, "SELECT city FROM customers WHERE id = 3", &["Bonn"]);
        assert_eq!(changed(connection, "UPDATE customers SET city = 'Rome' WHERE id = 3"), 1, "{begin}");
        connection.query_drop("COMMIT").expect("committed");
    }
    let flags = mysql::consts::CapabilityFlags::CLIENT_FOUND_ROWS;
    let options = cluster.options().additional_capabilities(flags).db_name(Some("shop"));
    let mut found = Conn::new(options).expect("connected");
    for (id, expected) in [(3, 1), (3, 1), (33, 0)] {
        assert_eq!(
            changed(&mut found, &format!("UPDATE customers SET city = 'Rome' WHERE id = {id}")),
            expected
        );
    }
}

fn check(connection: &mut Conn, sql: &str, expected: &[&str]) {
    assert_eq!(rows(connection, sql), expected, "{sql}");
}

fn joins(connection: &mut Conn) {
    check(
        connection,
        "SELECT c.name, o.amount FROM customers c JOIN orders o ON o.customer = c.id ORDER BY o.id",
        &["Ada|5.50", "Ada|2.25", "Bob|1.00"],
    );
    check(
        connection,
        "SELECT c.name, o.amount FROM customers c LEFT JOIN orders o ON o.customer = c.id WHERE c.id > 1 ORDER BY c.id",
        &["Bob|1.00", "Cyd|NULL"],
    );
    check(
        connection,
        "SELECT name, orders.id FROM customers RIGHT JOIN orders ON customer = customers.id ORDER BY 2 DESC LIMIT 2",
        &["NULL|13", "Bob|12"],
    );
    check(
        connection,
        "SELECT a.name, b.name FROM customers a, customers b WHERE a.id < b.id AND CONCAT(a.name, b.name) LIKE '%d' ORDER BY 1, 2",
        &["Ada|Cyd", "Bob|Cyd"],
    );
    check(
        connection,
        "SELECT * FROM customers JOIN (SELECT customer AS id, SUM(amount) AS total FROM orders GROUP BY customer) t USING (id) ORDER BY id",
        &["1|Ada|Oslo|7.75", "2|Bob|NULL|1.00"],
    );
}

fn subqueries(connection: &mut Conn) {
    check(
        connection,
        "SELECT name FROM customers WHERE id IN (SELECT customer FROM orders) ORDER BY id",
        &["Ada", "Bob"],
    );
    check(connection, "SELECT name FROM customers WHERE id NOT IN (SELECT customer FROM orders)", &[]);
    check(
        connection,
        "SELECT name FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer = c.id)",
        &["Cyd"],
    );
    check(
        connection,
        "SELECT name, (SELECT COUNT(*) FROM orders o WHERE o.customer = c.id) AS n FROM customers c ORDER BY id",
        &["Ada|2", "Bob|1", "Cyd|0"],
    );
    check(
        connection,
        "SELECT id FROM orders WHERE amount > (SELECT AVG(amount) FROM orders) ORDER BY id",
        &["10", "13"],
    );
}

fn groups_and_windows(connection: &mut Conn) {
    check(
        connection,
        "SELECT c.name, COUNT(*), SUM(o.amount), AVG(o.amount) FROM customers c JOIN orders o ON o.customer = c.id \
         GROUP BY c.name HAVING COUNT(*) > 1",
        &["Ada|2|7.75|3.875000"],
    );
    check(
        connection,
        "SELECT id, ROW_NUMBER() OVER (PARTITION BY customer ORDER BY id) AS n, SUM(amount) OVER (ORDER BY id) FROM orders ORDER BY id",
        &["10|1|5.50", "11|2|7.75", "12|1|8.75", "13|1|18.74"],
    );
    check(
        connection,
        "SELECT id, LAG(amount) OVER w, AVG(amount) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM orders \
         WINDOW w AS (ORDER BY id) ORDER BY id",
        &["10|NULL|5.500000", "11|5.50|3.875000", "12|2.25|1.625000", "13|1.00|5.495000"],
    );
}

fn set_operations(connection: &mut Conn) {
    check(
        connection,
        "SELECT id FROM customers UNION SELECT customer FROM orders ORDER BY id",
        &["NULL", "1", "2", "3"],
    );
    check(connection, "SELECT 1 AS a UNION ALL SELECT 'x' ORDER BY a DESC", &["x", "1"]);
    check(connection, "SELECT id FROM customers EXCEPT SELECT customer FROM orders", &["3"]);
    check(
        connection,
        "WITH big AS (SELECT * FROM orders WHERE amount > 2) SELECT COUNT(*) FROM big a JOIN big b ON a.id < b.id",
        &["3"],
    );
    check(
        connection,
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT SUM(i) FROM n",
        &["15"],
    );
}

fn transactions(connection: &mut Conn) {
    let join = "SELECT c.name, o.id FROM customers c JOIN orders o ON o.customer = c.id ORDER BY o.id";
    connection.query_drop("BEGIN").expect("begun");
    connection.query_drop("INSERT INTO orders VALUES (14, 3, 1.00, NULL)").expect("inserted");
    connection.query_drop("DELETE FROM orders WHERE id = 10").expect("deleted");
    connection.query_drop("UPDATE customers SET name = 'Eve' WHERE id = 2").expect("updated");
    check(connection, join, &["Ada|11", "Eve|12", "Cyd|14"]);
    check(connection, "SELECT COUNT(*) FROM (SELECT id FROM orders WHERE customer > 1) t", &["2"]);
    connection.query_drop("ROLLBACK").expect("rolled back");
    check(connection, join, &["Ada|10", "Ada|11", "Bob|12"]);
}

fn explained(connection: &mut Conn) {
    let plan = rows(
        connection,
        "EXPLAIN SELECT c.name, o.id FROM customers c JOIN orders o ON o.customer = c.id WHERE c.id = 1",
    );
    let text = plan.join("\n");
    assert!(text.contains("Read shop.customers by the primary key = (1)"), "{text}");
    // What the operators do, not what they are called inside.
    let sql = "EXPLAIN SELECT c.name, COUNT(*), ROW_NUMBER() OVER (ORDER BY c.name) FROM customers c LEFT JOIN orders o \
               ON o.customer = c.id GROUP BY c.name UNION SELECT 'x', 1, 2 ORDER BY 1 LIMIT 3";
    for text in [text, rows(connection, sql).join("\n")] {
        assert!(text.contains(" join") && !text.contains("Exec"), "{text}");
    }
    let plan = rows(
        connection,
        "EXPLAIN SELECT t.n FROM (SELECT city, COUNT(*) AS n FROM customers GROUP BY city) t WHERE t.n > 1",
    );
    let text = plan.join("\n");
    assert!(text.contains("by the data nodes"), "{text}");
    let plan = rows(connection, "EXPLAIN SELECT city, COUNT(*) FROM customers WHERE id > 1 GROUP BY city")
        .join("\n");
    assert!(
        plan.contains("Groups by the data nodes") && plan.contains("the range is the condition (id > 1)"),
        "{plan}"
    );
    let plan = rows(connection, "EXPLAIN SELECT city, COUNT(*) FROM customers WHERE id <> 1 GROUP BY city");
    let plan = plan.join("\n");
    assert!(
        plan.contains("Groups by the data nodes") && plan.contains("data nodes filter (id <> 1)"),
        "{plan}"
    );
}

fn schema_tables(connection: &mut Conn) {
    check(
        connection,
        "SELECT t.TABLE_NAME, COUNT(*) FROM information_schema.TABLES t JOIN information_schema.COLUMNS c \
         ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME WHERE t.TABLE_SCHEMA = 'shop' \
         GROUP BY t.TABLE_NAME ORDER BY 1",
        &["customers|3", "orders|4"],
    );
    check(connection, "SHOW TABLES FROM duet", &["memory", "nodes", "partitions", "threads"]);
    check(
        connection,
        "SELECT n.role, n.node_id, n.connected, m.used_bytes > 0, m.limit_bytes FROM duet.nodes n \
         LEFT JOIN duet.memory m ON m.node_id = n.node_id AND n.role = 'data' ORDER BY 1, 2",
        &["data|1|1|1|134217728", "data|2|1|1|134217728", "management|1|1|NULL|NULL"],
    );
    check(
        connection,
        "SELECT SUM(is_primary) = COUNT(DISTINCT partition_id), MAX(is_primary) FROM duet.partitions",
        &["1|1"],
    );
    check(
        connection,
        "SELECT node_id, COUNT(*) > 1, MAX(cpu_us) > 0, MAX(turns) > 0, MIN(cpus) <> '' FROM duet.threads GROUP BY 1 ORDER BY 1",
        &["1|1|1|1|1", "2|1|1|1|1"],
    );
}

fn errors(connection: &mut Conn) {
    for (sql, expected) in [
        ("SELECT id FROM customers JOIN orders ON TRUE", 1052),
        ("SELECT x.id FROM customers c JOIN orders o ON o.id = c.id", 1054),
        ("SELECT * FROM customers c JOIN nothing n ON n.id = c.id", 1146),
        ("SELECT id FROM customers UNION SELECT id, name FROM customers", 1222),
        ("SELECT (SELECT id FROM customers)", 1242),
        (
            "SELECT c.name, SUM(o.amount) FROM customers c JOIN orders o ON o.customer = c.id GROUP BY c.city",
            1055,
        ),
        ("SELECT * FROM (SELECT 1)", 1248),
        ("SELECT c.id FROM customers c JOIN orders c ON TRUE", 1066),
    ] {
        assert_eq!(code(connection, sql), expected, "{sql}");
    }
}
