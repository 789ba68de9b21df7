//! Other programs as clients, where they are installed: the MariaDB command line client, PyMySQL, sysbench.

use crate::cluster::Cluster;
use std::process::{Command, Output};

/// The variable that makes it an error when a program is not installed; `.ci/run` sets it.
const REQUIRED: &str = "DUET_CLIENTS_REQUIRED";

/// Whether a program runs; says so when it does not.
fn is_there(program: &str, arguments: &[&str]) -> bool {
    let there = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    if !there {
        assert!(
            std::env::var_os(REQUIRED).is_none(),
            "`{program} {}` does not run here",
            arguments.join(" ")
        );
        eprintln!("skipped: `{program} {}` does not run here", arguments.join(" "));
    }
    there
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_command_line_client_of_mariadb_works() {
    if !is_there("mariadb", &["--version"]) {
        return;
    }
    let cluster = Cluster::start();
    drop(cluster.connect());
    let sql = "CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(9)); INSERT INTO t VALUES (1, 'a'), (2, NULL); \
               UPDATE t SET s = 'b' WHERE id = 1; SELECT * FROM t ORDER BY id; SHOW TABLES; DROP DATABASE d;";
    let port = format!("-P{}", cluster.port(0));
    let output = Command::new("mariadb")
        .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", &port, "-uroot", "-e", sql])
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "id\ts\n1\tb\n2\tNULL\nTables_in_d\nt\n");
    // A script of several lines; an error ends it, unless it is to go on.
    let file = cluster.write_file(
        "script.sql",
        "SET NAMES utf8mb4;\nCREATE DATABASE e;\nUSE e;\nCREATE TABLE t (id INT PRIMARY KEY, s TEXT);\n\
         INSERT INTO t VALUES (1, 'é;\\n'), (2, \"it's\");\nSELECT nonsense;\nBEGIN;\nDELETE FROM t;\nROLLBACK;\nSELECT * FROM t;\n",
    );
    let script = |options: &[&str]| {
        Command::new("mariadb")
            .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", &port, "-uroot"])
            .args(options)
            .stdin(std::fs::File::open(&file).expect("there"))
            .output()
            .expect("it runs")
    };
    let stopped = script(&[]);
    assert!(text(&stopped).contains("ERROR 1054 (42S22) at line 6"), "{}", text(&stopped));
    assert!(!stopped.status.success());
    let forced = script(&["--force"]);
    assert_eq!(String::from_utf8_lossy(&forced.stdout), "id\ts\n1\té;\\n\n2\tit's\n");
    let vertical = script(&["--force", "--vertical", "--skip-column-names", "e"]);
    assert!(text(&vertical).contains("*** 2. row ***"), "{}", text(&vertical));
}

/// The driver by that name of the package `libmariadb-java`, which no variable requires: where it is not installed nothing is tested.
const JDBC_DRIVER: &str = "/usr/share/java/mariadb-java-client.jar";

#[test]
fn the_jdbc_driver_of_mariadb_works() {
    let java = Command::new("java").arg("-version").output().is_ok_and(|output| output.status.success());
    if !java || !std::path::Path::new(JDBC_DRIVER).exists() {
        eprintln!("skipped: java or {JDBC_DRIVER} is not installed");
        return;
    }
    let cluster = Cluster::start();
    drop(cluster.connect());
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/Jdbc.java");
    let url = format!("jdbc:mariadb://127.0.0.1:{}/default?user=root", cluster.port(0));
    let output = Command::new("java").args(["-cp", JDBC_DRIVER, program, &url]).output().expect("it runs");
    assert!(output.status.success() && text(&output).contains("all is well"), "{}", text(&output));
}

#[test]
fn a_dump_is_read_back() {
    use mysql::prelude::Queryable;
    if !is_there("mariadb", &["--version"]) || !is_there("mariadb-dump", &["--version"]) {
        return;
    }
    let cluster = Cluster::start();
    let mut connection = cluster.connect();
    for sql in [
        "CREATE DATABASE one",
        "CREATE DATABASE two",
        "CREATE TABLE one.every (id INT AUTO_INCREMENT PRIMARY KEY, s VARCHAR(20) NOT NULL DEFAULT 'it''s', c CHAR(3), b BINARY(2), \
         v VARBINARY(20), l BLOB, x TEXT, j JSON, d DECIMAL(30,4), f FLOAT, g DOUBLE, t TINYINT, u BIGINT UNSIGNED, y BOOLEAN, \
         da DATE COMMENT 'a \\\\ and a '' in it', ti TIME, dt DATETIME, ts TIMESTAMP NULL, UNIQUE KEY by_u (u), KEY by_s (s, t)) COMMENT='a \\\\ and a '' in it'",
        "INSERT INTO one.every VALUES (1, 'a''\\n\\\\\"', 'é', x'00ff', x'00ff27225c0a1a', x'0001fe41', 'täxt', '{\"a\": [1, null]}', \
         -12345678901234567890.1234, 1.5, 1e100, -128, 18446744073709551615, TRUE, '2024-02-29', '-12:00:00.5', \
         '2024-01-02 03:04:05', '2024-01-02 03:04:05.000001')",
        "INSERT INTO one.every (id, s) VALUES (2, ''), (9, 'ascii')",
        "UPDATE one.every SET l = 'only ascii; -- no comment', v = '' WHERE id = 9",
        "CREATE TABLE one.`odd ``name` (`a b` INT, `select` VARCHAR(5), PRIMARY KEY (`a b`, `select`))",
        "INSERT INTO one.`odd ``name` VALUES (1, 'x'), (1, 'y')",
        r"CREATE TABLE one.nothing (id BIGINT PRIMARY KEY, b BINARY(4) DEFAULT 'ab', v VARBINARY(9) DEFAULT x'ff00',
         s VARCHAR(9) DEFAULT 'a\0b\n')",
    ] {
        connection.query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let port = format!("-P{}", cluster.port(0));
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", &port, "-uroot"]).args(arguments);
        command
    };
    let dump = |arguments: &[&str]| run("mariadb-dump", arguments).output().expect("it runs");
    // One consistent state of all tables is not to be had, and the answer says what is.
    for arguments in [&["one"][..], &["--single-transaction", "one"]] {
        let refused = dump(arguments);
        assert!(!refused.status.success());
        assert!(text(&refused).contains("needs --skip-lock-tables"), "{}", text(&refused));
    }
    let load = |dump: &Output, arguments: &[&str]| {
        let file = cluster.write_file("dump.sql", &String::from_utf8_lossy(&dump.stdout));
        // The bytes of values may be none of UTF-8.
        std::fs::write(&file, &dump.stdout).expect("writable");
        let loaded = run("mariadb", arguments).stdin(std::fs::File::open(&file).expect("there")).output();
        let loaded = loaded.expect("it runs");
        assert!(loaded.status.success(), "{}\n{}", text(&loaded), String::from_utf8_lossy(&dump.stdout));
    };
    let comparable = |connection: &mut mysql::Conn, database: &str| {
        let mut all = Vec::new();
        for table in crate::statements::rows(connection, &format!("SHOW TABLES FROM {database}")) {
            let name = format!("{database}.`{}`", table.replace('`', "``"));
            all.extend(crate::statements::rows(connection, &format!("SHOW CREATE TABLE {name}")));
            let rows: Vec<mysql::Row> = connection.query(format!("SELECT * FROM {name}")).expect("read");
            let mut rows: Vec<String> = rows.into_iter().map(|row| format!("{:?}", row.unwrap())).collect();
            rows.sort();
            all.extend(rows);
        }
        all
    };
    let before = comparable(&mut connection, "one");
    assert_eq!(before.len(), 3 + 5);
    for options in [&[][..], &["--hex-blob", "--complete-insert", "--skip-add-locks"]] {
        let dumped = dump(
            &[&["--skip-lock-tables", "--routines", "--events", "--triggers"][..], options, &["one"]]
                .concat(),
        );
        // Nothing is missed that such programs ask for.
        assert!(dumped.status.success() && dumped.stderr.is_empty(), "{}", text(&dumped));
        load(&dumped, &["two"]);
        assert_eq!(comparable(&mut connection, "two"), before, "{}", text(&dumped));
    }
    let everything = ["--skip-lock-tables", "--all-databases"];
    let all = dump(&everything);
    assert!(!all.status.success() && text(&all).contains("needs --databases"), "{}", text(&all));
    let all = dump(&[&everything[..], &["--ignore-database=duet", "--ignore-database=duet_sql"]].concat());
    assert!(all.status.success() && all.stderr.is_empty(), "{}", text(&all));
    let dumped = dump(&["--skip-lock-tables", "--databases", "one"]);
    assert!(dumped.status.success(), "{}", text(&dumped));
    connection.query_drop("DROP DATABASE one").expect("dropped");
    load(&dumped, &[]);
    assert_eq!(comparable(&mut connection, "one"), before);
}

#[test]
fn encrypted_connections_work() {
    if !is_there("mariadb", &["--version"]) || !is_there("openssl", &["version"]) {
        return;
    }
    let mut cluster = Cluster::start();
    drop(cluster.connect());
    let (certificate, key) = (cluster.write_file("certificate.pem", ""), cluster.write_file("key.pem", ""));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-keyout", &key, "-out", &certificate])
        .output()
        .expect("it runs");
    assert!(made.status.success(), "{}", text(&made));
    let options = format!("--tls-certificate {certificate} --tls-key {key} --require-tls");
    let gateway = cluster.add_gateway(&options);
    let port = format!("-P{}", cluster.port(gateway));
    let client = |encrypted: &[&str]| {
        Command::new("mariadb")
            .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", &port, "-uroot"])
            .args(encrypted)
            .args(["-N", "-e", "SELECT REPEAT('x', 100000)"])
            .output()
            .expect("it runs")
    };
    let answer = client(&["--ssl", &format!("--ssl-ca={certificate}")]);
    assert_eq!(answer.stdout.len(), 100_001, "{}", text(&answer));
    let refused = client(&["--skip-ssl"]);
    assert!(text(&refused).contains("ERROR 3159"), "{}", text(&refused));
}

/// Runs a suite of Python's `unittest` against a gateway, where the modules that it needs are installed.
fn python_suite(suite: &str, modules: &str) {
    // Packages of the system belong to its own Python, which may not be the first one that is found.
    let pythons = ["python3", "/usr/bin/python3"];
    let import = format!("import {modules}");
    let Some(python) = pythons.into_iter().find(|python| is_there(python, &["-c", &import])) else { return };
    let cluster = Cluster::start();
    drop(cluster.connect());
    let output = Command::new(python)
        .args(["-m", "unittest", suite])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients"))
        .env("DUET_PORT", cluster.port(0).to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn pymysql_works() {
    python_suite("test_pymysql", "pymysql");
}

#[test]
fn sqlalchemy_works() {
    python_suite("test_sqlalchemy", "sqlalchemy, pymysql");
}

#[test]
fn mysql_connector_works() {
    python_suite("test_connector", "mysql.connector");
}

#[test]
fn sysbench_works() {
    if !is_there("sysbench", &["--version"]) {
        return;
    }
    let cluster = Cluster::start();
    drop(cluster.connect());
    {
        use mysql::prelude::Queryable;
        cluster.connect().query_drop("CREATE DATABASE sbtest").expect("created");
    }
    let port = format!("--mysql-port={}", cluster.port(0));
    let run = |workload: &str, command: &str| {
        let output = Command::new("sysbench")
            .args([workload, "--mysql-host=127.0.0.1", &port, "--mysql-user=root", "--mysql-db=sbtest"])
            .args(["--tables=1", "--table-size=500", "--threads=2", "--events=20", "--time=0", command])
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{workload} {command}: {}", text(&output));
        let shown = text(&output);
        assert!(!shown.contains("FATAL"), "{workload} {command}: {shown}");
    };
    run("oltp_read_write", "prepare");
    for workload in [
        "oltp_point_select",
        "oltp_read_only",
        "oltp_read_write",
        "oltp_write_only",
        "oltp_insert",
        "oltp_update_index",
        "oltp_update_non_index",
        "oltp_delete",
    ] {
        run(workload, "run");
    }
    run("oltp_read_write", "cleanup");
}
