//! Other programs as clients, where they are installed: the MariaDB command line client, PyMySQL, sysbench.

use crate::cluster::Cluster;
use std::process::{Command, Output};

/// Whether a program runs; says so when it does not.
fn is_there(program: &str, arguments: &[&str]) -> bool {
    let there = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    if !there {
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
}

#[test]
fn pymysql_works() {
    // Packages of the system belong to its own Python, which may not be the first one that is found.
    let pythons = ["python3", "/usr/bin/python3"];
    let Some(python) = pythons.into_iter().find(|python| is_there(python, &["-c", "import pymysql"])) else {
        return;
    };
    let cluster = Cluster::start();
    drop(cluster.connect());
    let program = format!(
        "import pymysql, decimal, datetime\n\
         c = pymysql.connect(host='127.0.0.1', port={}, user='root', charset='utf8mb4')\n\
         k = c.cursor()\n\
         k.execute('CREATE DATABASE py')\n\
         c.select_db('py')\n\
         k.execute('CREATE TABLE t (id INT PRIMARY KEY, d DECIMAL(6,2), s TEXT, b VARBINARY(9), t DATETIME)')\n\
         k.executemany('INSERT INTO t VALUES (%s, %s, %s, %s, %s)', [(i, '1.50', 'é', b'x', '2024-01-02 03:04:05') for i in range(5)])\n\
         c.rollback()\n\
         k.execute('SELECT COUNT(*) FROM t')\n\
         assert k.fetchall() == ((0,),)\n\
         k.executemany('INSERT INTO t VALUES (%s, %s, %s, %s, %s)', [(i, '1.50', 'é', b'x', '2024-01-02 03:04:05') for i in range(5)])\n\
         c.commit()\n\
         k.execute('SELECT * FROM t WHERE id = %s', (3,))\n\
         assert k.fetchall() == ((3, decimal.Decimal('1.50'), 'é', b'x', datetime.datetime(2024, 1, 2, 3, 4, 5)),)\n\
         try:\n    k.execute('INSERT INTO t (id) VALUES (1)')\n    assert False\n\
         except pymysql.err.IntegrityError as e:\n    assert e.args[0] == 1062\n\
         print('fine')\n",
        cluster.port(0)
    );
    let output = Command::new(python).args(["-c", &program]).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "fine\n");
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
