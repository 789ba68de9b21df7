//! What tools ask a server about itself, its databases and its tables.

use crate::cluster::Cluster;
use crate::statements::{code, rows};
use mysql::Conn;
use mysql::prelude::Queryable;

#[test]
fn tools_find_what_they_ask_for() {
    let cluster = Cluster::start();
    let mut connection = cluster.connect();
    warnings(&mut connection);
}

fn warnings(connection: &mut Conn) {
    connection.query_drop("DROP TABLE IF EXISTS test.nothing").expect("dropped");
    assert_eq!(connection.warnings(), 1);
    assert_eq!(rows(connection, "SHOW WARNINGS"), ["Note|1051|Unknown table 'test.nothing'"]);
    // They stay until the next statement that is not about them.
    assert_eq!(rows(connection, "SHOW WARNINGS").len(), 1);
    assert_eq!(rows(connection, "SHOW ERRORS"), [""; 0]);
    connection.query_drop("CREATE DATABASE IF NOT EXISTS kept").expect("created");
    assert_eq!(rows(connection, "SHOW WARNINGS"), [""; 0]);
    connection.query_drop("CREATE DATABASE IF NOT EXISTS kept").expect("created");
    assert!(rows(connection, "SHOW WARNINGS")[0].starts_with("Note|1007|"));
    connection.query_drop("CREATE TABLE kept.t (id INT PRIMARY KEY) ENGINE=Memory").expect("created");
    assert!(rows(connection, "SHOW WARNINGS")[0].starts_with("Warning|1286|"));
    connection.query_drop("CREATE TABLE IF NOT EXISTS kept.t (id INT PRIMARY KEY)").expect("created");
    assert!(rows(connection, "SHOW WARNINGS")[0].starts_with("Note|1050|"));
    connection.query_drop("DROP DATABASE IF EXISTS kept").expect("dropped");
    connection.query_drop("DROP DATABASE IF EXISTS kept").expect("dropped");
    assert!(rows(connection, "SHOW WARNINGS")[0].starts_with("Note|1008|"));
    // What ended a statement, at any of its stages.
    for (sql, expected) in [
        ("SELEC 1", "Error|1064|"),
        ("SELECT 'abc", "Error|1064|"),
        ("SELECT nothing", "Error|1054|"),
        ("DROP TABLE test.nothing", "Error|1051|"),
    ] {
        code(connection, sql);
        for question in ["SHOW WARNINGS", "SHOW ERRORS"] {
            let shown = rows(connection, question);
            assert_eq!(shown.len(), 1, "{sql}");
            assert!(shown[0].starts_with(expected), "{sql}: {shown:?}");
        }
        assert_eq!(rows(connection, "SELECT @@warning_count, @@error_count"), ["1|1"]);
        assert_eq!(rows(connection, "SELECT @@warning_count, @@error_count"), ["0|0"]);
    }
}
