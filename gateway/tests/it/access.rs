//! Who comes in, and how statements and connections end: users, KILL, silence, commands of the protocol about sessions.

use crate::cluster::Cluster;
use crate::protocol::{packet, raw, raw_as, read};
use mysql::prelude::Queryable;
use mysql::{ChangeUserOpts, Conn, OptsBuilder, Row};
use std::io::Write;
use std::time::{Duration, Instant};

/// Looks again until there is something.
fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < until, "{what} does not happen");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn code<T>(result: Result<T, mysql::Error>) -> u16 {
    match result {
        Err(mysql::Error::MySqlError(error)) => error.code,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is no error"),
    }
}

/// `Id`, `Command` and `Info` of all connections.
fn processes(connection: &mut Conn) -> Vec<(u32, String, Option<String>)> {
    let rows: Vec<Row> = connection.query("SHOW FULL PROCESSLIST").expect("shown");
    rows.into_iter()
        .map(|row| {
            let info = row.get_opt::<String, _>("Info").and_then(Result::ok);
            (row.get("Id").expect("a number"), row.get("Command").expect("a word"), info)
        })
        .collect()
}

#[test]
fn users_are_known_to_all_gateways() {
    let mut cluster = Cluster::start();
    let other = cluster.add_gateway("");
    let mut root = cluster.connect();
    let options = |cluster: &Cluster, gateway: usize, user: &str, password: &str| -> OptsBuilder {
        cluster.options().tcp_port(cluster.port(gateway)).user(Some(user)).pass(Some(password))
    };
    assert_eq!(code(Conn::new(options(&cluster, 0, "ada", "secret"))), 1045);
    root.query_drop("CREATE USER 'ada'@'%' IDENTIFIED BY 'secret', bob IDENTIFIED BY 'other'")
        .expect("created");
    // The gateway that did it knows at once, the other one soon.
    let mut ada = Conn::new(options(&cluster, 0, "ada", "secret")).expect("admitted");
    wait_for("learning a user", || Conn::new(options(&cluster, other, "ada", "secret")).ok());
    assert_eq!(code(Conn::new(options(&cluster, 0, "ada", "wrong"))), 1045);
    assert_eq!(code(Conn::new(options(&cluster, 0, "ada", ""))), 1045);
    assert_eq!(code(root.query_drop("CREATE USER ada IDENTIFIED BY 'x'")), 1396);
    root.query_drop("CREATE USER IF NOT EXISTS ada IDENTIFIED BY 'x'").expect("a warning");
    assert_eq!(root.warnings(), 1);
    assert_eq!(code(root.query_drop("DROP USER eve")), 1396);
    assert_eq!(code(root.query_drop("CREATE USER eve IDENTIFIED BY ''")), 1105);
    // The other method of proving a password, by hand.
    let port = cluster.port(0);
    for (password, first) in [("secret", 1), ("wrong", 0xFF)] {
        let (mut stream, answer) = raw_as(port, "ada", password);
        assert_eq!(answer[0], first, "{password}");
        if first == 1 {
            assert_eq!(answer, [1, 3], "no more is needed");
            assert_eq!(read(&mut stream).expect("an answer")[0], 0);
        }
    }
    // Another password, by the user itself; who is there stays.
    ada.query_drop("ALTER USER USER() IDENTIFIED BY 'new'").expect("changed");
    assert_eq!(ada.query_first::<u8, _>("SELECT 1").expect("answered"), Some(1));
    Conn::new(options(&cluster, 0, "ada", "new")).expect("admitted");
    wait_for("forgetting a password", || Conn::new(options(&cluster, other, "ada", "secret")).err());
    root.query_drop("DROP USER ada, bob").expect("dropped");
    assert_eq!(code(Conn::new(options(&cluster, 0, "ada", "new"))), 1045);
    // A user of the default one's name takes its place.
    root.query_drop("CREATE USER root IDENTIFIED BY 'secret'").expect("created");
    assert_eq!(code(Conn::new(options(&cluster, 0, "root", ""))), 1045);
    Conn::new(options(&cluster, 0, "root", "secret")).expect("admitted");
    root.query_drop("DROP USER root").expect("dropped");
    Conn::new(options(&cluster, 0, "root", "")).expect("admitted");
}

#[test]
fn killed_statements_and_connections_free_what_they_hold() {
    let cluster = Cluster::start();
    let mut watcher = cluster.connect();
    watcher.query_drop("CREATE DATABASE d").expect("created");
    watcher.query_drop("USE d").expect("there");
    watcher.query_drop("CREATE TABLE t (id INT PRIMARY KEY, n INT)").expect("created");
    watcher.query_drop("INSERT INTO t VALUES (1, 0), (2, 0)").expect("inserted");
    let connect = || Conn::new(cluster.options().db_name(Some("d"))).expect("connected");
    // A waiter has two seconds for its lock: on a busy machine a kill may come too late, and it is tried again.
    let killed = (0..10).any(|_| {
        let mut holder = connect();
        holder.query_drop("BEGIN").expect("begun");
        holder.query_drop("UPDATE t SET n = n + 1 WHERE id = 1").expect("locked");
        let mut waiter = connect();
        let number = waiter.connection_id();
        let thread = std::thread::spawn(move || {
            waiter.query_drop("BEGIN").expect("begun");
            waiter.query_drop("UPDATE t SET n = n + 1 WHERE id = 2").expect("locked");
            let error = code(waiter.query_drop("UPDATE t SET n = n + 10 WHERE id = 1"));
            (waiter, error)
        });
        wait_for("waiting for a lock", || {
            let all = processes(&mut watcher);
            let (_, command, info) = all.into_iter().find(|process| process.0 == number)?;
            (command == "Query" && info?.contains("n + 10") || thread.is_finished()).then_some(())
        });
        watcher.query_drop(format!("KILL QUERY {number}")).expect("told");
        let (mut waiter, error) = thread.join().expect("joined");
        assert!(matches!(error, 1317 | 1205), "{error}");
        if error == 1205 {
            return false;
        }
        // Its transaction is rolled back and its locks are free; the connection goes on.
        watcher.query_drop("UPDATE t SET n = n + 1 WHERE id = 2").expect("free");
        assert_eq!(waiter.query_first::<i32, _>("SELECT 7").expect("answered"), Some(7));
        // What follows is not taken for a transaction of its own until the client has ended this one.
        for statement in [
            "SELECT n FROM t",
            "SELECT a.n FROM t a JOIN t b ON a.id = b.id",
            "INSERT INTO t VALUES (9, 9)",
            "UPDATE t SET n = 9 WHERE id = 2",
            "DELETE FROM t WHERE id IN (SELECT id FROM t)",
            "SELECT n INTO @n FROM t WHERE id = 1",
            "SET @n = (SELECT n FROM t WHERE id = 1)",
            "COMMIT",
        ] {
            assert_eq!(code(waiter.query_drop(statement)), 1180, "{statement}");
        }
        waiter.query_drop("DELETE FROM t WHERE id = 9").expect("a transaction of its own");
        waiter.query_drop("ROLLBACK").expect("nothing to roll back");
        // A connection that is killed frees its locks, too.
        watcher.query_drop(format!("KILL {}", holder.connection_id())).expect("told");
        watcher.query_drop("UPDATE t SET n = 100 WHERE id = 1").expect("free");
        assert!(holder.query_drop("SELECT 1").is_err(), "its connection is closed");
        true
    });
    assert!(killed, "no waiter was killed in time");
    let rows: Vec<(i32, i32)> = watcher.query("SELECT id, n FROM t ORDER BY id").expect("read");
    assert_eq!(rows, [(1, 100), (2, 1)]);
    assert_eq!(code(watcher.query_drop("KILL 4000000000")), 1094);
    let own = watcher.connection_id();
    assert_eq!(code(watcher.query_drop(format!("KILL QUERY {own}"))), 1317);
    assert_eq!(watcher.query_first::<u8, _>("SELECT 1").expect("it goes on"), Some(1));
    assert_eq!(code(watcher.query_drop("KILL QUERY CONNECTION_ID()")), 1317);
    assert_eq!(watcher.query_first::<u8, _>("SELECT 1").expect("it goes on"), Some(1));
    assert_eq!(code(watcher.query_drop(format!("KILL CONNECTION {own}"))), 1317);
    assert!(watcher.query_drop("SELECT 1").is_err());
    let mut other = connect();
    assert_eq!(code(other.query_drop("KILL 'abc'")), 1094);
    assert_eq!(code(other.query_drop("KILL CONNECTION_ID()")), 1317);
    assert!(other.query_drop("SELECT 1").is_err());
}

#[test]
fn silent_connections_end() {
    let cluster = Cluster::start();
    let mut watcher = cluster.connect();
    let mut silent = cluster.connect();
    silent.query_drop("SET SESSION wait_timeout = 1").expect("set");
    assert_eq!(silent.query_first::<u32, _>("SELECT @@wait_timeout").expect("read"), Some(1));
    let number = silent.connection_id();
    assert!(processes(&mut watcher).iter().any(|process| process.0 == number));
    wait_for("the end of a silent connection", || {
        (!processes(&mut watcher).iter().any(|process| process.0 == number)).then_some(())
    });
    assert!(silent.query_drop("SELECT 1").is_err());
}

#[test]
fn sessions_begin_anew() {
    let cluster = Cluster::start();
    let mut connection = cluster.connect();
    connection.query_drop("CREATE DATABASE d").expect("created");
    connection.query_drop("CREATE USER ada IDENTIFIED BY 'secret'").expect("created");
    connection.query_drop("USE d").expect("there");
    connection.query_drop("CREATE TABLE t (id INT PRIMARY KEY)").expect("created");
    // COM_RESET_CONNECTION rolls back and forgets variables.
    connection.query_drop("SET @a = 5").expect("set");
    connection.query_drop("BEGIN").expect("begun");
    connection.query_drop("INSERT INTO t VALUES (1)").expect("inserted");
    connection.reset().expect("reset");
    assert_eq!(connection.query_first::<Option<u8>, _>("SELECT @a").expect("read"), Some(None));
    assert_eq!(connection.query_first::<u8, _>("SELECT COUNT(*) FROM d.t").expect("read"), Some(0));
    // COM_CHANGE_USER: another user and database, or the end of the connection.
    let ada = ChangeUserOpts::new().with_user(Some("ada".into())).with_pass(Some("secret".into()));
    connection.change_user(ada.with_db_name(Some("d".into()))).expect("admitted");
    let who: Option<(String, String)> =
        connection.query_first("SELECT CURRENT_USER(), DATABASE()").expect("read");
    assert_eq!(who, Some(("ada@127.0.0.1".to_owned(), "d".to_owned())));
    let wrong = ChangeUserOpts::new().with_user(Some("ada".into())).with_pass(Some("wrong".into()));
    assert_eq!(code(connection.change_user(wrong)), 1045);
    assert!(connection.query_drop("SELECT 1").is_err());

    let mut stream = raw(cluster.port(0));
    // COM_STATISTICS.
    stream.write_all(&packet(0, &[9])).expect("written");
    let text = read(&mut stream).expect("a text");
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.starts_with("Uptime: ") && text.contains("Questions: "), "{text}");
    // COM_SET_OPTION: several statements in one text, and not any more.
    stream.write_all(&packet(0, &[0x1B, 0, 0])).expect("written");
    assert_eq!(read(&mut stream).expect("an end")[0], 0xFE);
    stream.write_all(&packet(0, b"\x03SET @a = 1; SET @b = 2")).expect("written");
    assert_eq!(read(&mut stream).expect("an answer")[0], 0);
    assert_eq!(read(&mut stream).expect("another one")[0], 0);
    stream.write_all(&packet(0, &[0x1B, 1, 0])).expect("written");
    assert_eq!(read(&mut stream).expect("an end")[0], 0xFE);
    stream.write_all(&packet(0, b"\x03SET @a = 1; SET @b = 2")).expect("written");
    assert_eq!(read(&mut stream).expect("an answer")[0], 0xFF);
    // A statement that fills a whole part, so that an empty one follows it; and its value in two parts.
    let part = (1 << 24) - 1;
    let mut statement = b"\x03SELECT LENGTH('".to_vec();
    statement.resize(part - 2, b'x');
    statement.extend_from_slice(b"')");
    stream.write_all(&packet(0, &statement)).expect("written");
    stream.write_all(&packet(1, &[])).expect("written");
    assert_eq!(read(&mut stream).expect("a count"), [1]);
    read(&mut stream).expect("a column");
    read(&mut stream).expect("an end");
    let row = read(&mut stream).expect("a row");
    assert_eq!(&row[1..], (part - 18).to_string().as_bytes());
    read(&mut stream).expect("an end");
}

#[test]
fn long_parameters_come_in_pieces_and_long_rows_leave_in_parts() {
    let cluster = Cluster::start();
    drop(cluster.connect());
    let mut stream = raw(cluster.port(0));
    stream.write_all(&packet(0, b"\x16SELECT LENGTH(?), ?")).expect("written");
    let prepared = read(&mut stream).expect("an answer");
    assert_eq!(prepared[0], 0);
    for _ in 0..(2 + 1 + 2 + 1) {
        read(&mut stream).expect("definitions");
    }
    let number = &prepared[1..5];
    let long_data = |parameter: u8, bytes: &[u8]| {
        let mut command = vec![0x18];
        command.extend_from_slice(number);
        command.extend_from_slice(&[parameter, 0]);
        command.extend_from_slice(bytes);
        packet(0, &command)
    };
    let execute = |stream: &mut std::net::TcpStream| {
        let mut command = vec![0x17];
        command.extend_from_slice(number);
        // No cursor, once, no NULL, types follow: two texts that were sent ahead.
        command.extend_from_slice(&[0, 1, 0, 0, 0, 0, 1, 253, 0, 253, 0]);
        stream.write_all(&packet(0, &command)).expect("written");
    };
    // Taken back by COM_STMT_RESET: then there is nothing behind the types.
    stream.write_all(&long_data(0, b"abc")).expect("written");
    let mut reset = vec![0x1A];
    reset.extend_from_slice(number);
    stream.write_all(&packet(0, &reset)).expect("written");
    assert_eq!(read(&mut stream).expect("an answer")[0], 0);
    execute(&mut stream);
    assert_eq!(read(&mut stream).expect("an answer")[0], 0xFF);
    // 20 MiB in pieces come back in a row of two parts.
    let piece = vec![b'y'; 10 << 20];
    for _ in 0..2 {
        stream.write_all(&long_data(0, b"abc")).expect("written");
        stream.write_all(&long_data(1, &piece)).expect("written");
    }
    execute(&mut stream);
    assert_eq!(read(&mut stream).expect("a count"), [2]);
    for _ in 0..3 {
        read(&mut stream).expect("definitions");
    }
    let first = read(&mut stream).expect("a part");
    let second = read(&mut stream).expect("another part");
    assert_eq!(first.len(), (1 << 24) - 1);
    // Header, bits of NULL, a number of eight bytes, and nine bytes in front of the text.
    assert_eq!(first.len() + second.len(), 2 + 8 + 9 + (20 << 20));
    assert_eq!(first[2..10], 6_u64.to_le_bytes());
    assert!(second.iter().all(|byte| *byte == b'y'));
    read(&mut stream).expect("an end");
}

/// Processor time of a process, in ticks of 10 ms.
fn processor_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // "id (name) state …": the name may hold anything. User and system time are the 14th and 15th words.
    let words = stat.rsplit(") ").next().expect("words").split(' ');
    words.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_killed_join_computes_no_more() {
    let cluster = Cluster::start();
    let mut watcher = cluster.connect();
    watcher.query_drop("CREATE DATABASE k").expect("created");
    watcher.query_drop("CREATE TABLE k.t (id INT PRIMARY KEY, n INT)").expect("created");
    for chunk in 0..20 {
        let rows: Vec<String> =
            (0..4_000).map(|row| chunk * 4_000 + row).map(|id| format!("({id},{id})")).collect();
        watcher.query_drop(format!("INSERT INTO k.t VALUES {}", rows.join(","))).expect("inserted");
    }
    // An expression that the gateway computes itself, and one of the engine's.
    for from in
        ["k.t a JOIN k.t b ON MOD(a.n * b.n, 7919) = -1", "k.t a JOIN k.t b ON TRUE JOIN k.t c ON TRUE"]
    {
        let mut busy = cluster.connect();
        let number = busy.connection_id();
        let query = format!("SELECT COUNT(*) FROM {from}");
        // All is read: the error comes behind the heading.
        let asking = std::thread::spawn(move || code(busy.query::<i64, _>(query)));
        wait_for("the join to begin", || {
            let all = processes(&mut watcher);
            all.into_iter()
                .any(|process| process.0 == number && process.2.is_some_and(|info| info.contains("JOIN")))
                .then_some(())
        });
        // Meanwhile others are served, by the engine as well.
        let others: Option<i64> =
            watcher.query_first("SELECT COUNT(*) FROM (SELECT DISTINCT n MOD 7 FROM k.t) x").expect("served");
        assert_eq!(others, Some(7));
        watcher.query_drop(format!("KILL QUERY {number}")).expect("told");
        assert_eq!(asking.join().expect("no panic"), 1317);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let before = processor_ticks(cluster.gateway_process(0));
            std::thread::sleep(std::time::Duration::from_millis(500));
            if processor_ticks(cluster.gateway_process(0)) - before < 10 {
                break;
            }
            assert!(std::time::Instant::now() < until, "{from} is computed for nobody");
        }
    }
}
