//! The protocol itself: passwords, malformed packets, limits.

use crate::cluster::Cluster;
use mysql::Conn;
use mysql::prelude::Queryable;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A packet with its header.
pub fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    bytes.push(sequence);
    bytes.extend_from_slice(payload);
    bytes
}

/// Reads one packet; `None` when the connection is closed.
pub fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).ok()?;
    let mut payload =
        vec![0; usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16];
    stream.read_exact(&mut payload).ok()?;
    Some(payload)
}

/// A connection that has come in as root, by hand.
pub fn raw(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    let greeting = read(&mut stream).expect("a greeting");
    assert_eq!(greeting[0], 10);
    let flags: u32 = 0x200 | 0x8000 | 0x8_0000;
    let mut payload = flags.to_le_bytes().to_vec();
    payload.extend_from_slice(&[0; 28]);
    payload.extend_from_slice(b"root\0\0mysql_native_password\0");
    stream.write_all(&packet(1, &payload)).expect("written");
    assert_eq!(read(&mut stream).expect("an answer")[0], 0);
    stream
}

/// A connection by hand that proves a password by `caching_sha2_password`, and the first answer to that.
pub fn raw_as(port: u16, user: &str, password: &str) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    let greeting = read(&mut stream).expect("a greeting");
    // Behind the version come four bytes of number and two parts of the nonce, of 8 and 12 bytes.
    let version = greeting.iter().position(|byte| *byte == 0).expect("the end of the version");
    let mut nonce = greeting[version + 5..version + 13].to_vec();
    nonce.extend_from_slice(&greeting[version + 32..version + 44]);
    let answer = mysql_common::auth::plugins::caching_sha2_password::scramble_sha256(
        &nonce.try_into().expect("20 bytes"),
        password.as_bytes(),
    );
    let answer = answer.expect("not empty");
    let flags: u32 = 0x200 | 0x8000 | 0x8_0000;
    let mut payload = flags.to_le_bytes().to_vec();
    payload.extend_from_slice(&[0; 28]);
    payload.extend_from_slice(user.as_bytes());
    payload.push(0);
    payload.push(answer.len() as u8);
    payload.extend_from_slice(&answer);
    payload.extend_from_slice(b"caching_sha2_password\0");
    stream.write_all(&packet(1, &payload)).expect("written");
    let answer = read(&mut stream).expect("an answer");
    (stream, answer)
}

#[test]
fn bad_packets_and_wrong_passwords_are_refused() {
    let mut cluster = Cluster::start();
    drop(cluster.connect());
    let port = cluster.port(0);
    // Garbage instead of a login.
    for garbage in [&[][..], &[0xFF; 3], &[0; 40], &[0xFF; 200]] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        read(&mut stream).expect("a greeting");
        stream.write_all(&packet(1, garbage)).expect("written");
        let answer = read(&mut stream).expect("an error");
        assert_eq!(answer[0], 0xFF, "{garbage:?}");
        assert_eq!(read(&mut stream), None);
    }
    // Commands that make no sense are answered, and the connection goes on.
    let mut stream = raw(port);
    for command in
        [&[][..], &[200], &[0x17], &[0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0], &[3, 0xFF, 0xFE], &[0x1A], &[4]]
    {
        stream.write_all(&packet(0, command)).expect("written");
        assert_eq!(read(&mut stream).expect("an answer")[0], 0xFF, "{command:?}");
    }
    // An execution whose parameters are cut off.
    stream.write_all(&packet(0, b"\x16SELECT ?, ?")).expect("written");
    let prepared = read(&mut stream).expect("an answer");
    assert_eq!(prepared[0], 0);
    for _ in 0..(2 + 1 + 2 + 1) {
        read(&mut stream).expect("definitions");
    }
    let mut execute = vec![0x17];
    execute.extend_from_slice(&prepared[1..5]);
    execute.extend_from_slice(&[0, 1, 0, 0, 0]);
    for rest in [&[][..], &[0], &[0, 1, 8, 0], &[0, 1, 8, 0, 254, 0, 1], &[0, 1, 99, 0, 99, 0], &[0, 0]] {
        let mut command = execute.clone();
        command.extend_from_slice(rest);
        stream.write_all(&packet(0, &command)).expect("written");
        assert_eq!(read(&mut stream).expect("an answer")[0], 0xFF, "{rest:?}");
    }
    stream.write_all(&packet(0, &[0x0E])).expect("written");
    assert_eq!(read(&mut stream).expect("an answer")[0], 0);
    // A wrong number and a packet that is too long end it.
    stream.write_all(&packet(7, &[0x0E])).expect("written");
    assert_eq!(read(&mut stream).expect("an answer")[0], 0xFF);
    assert_eq!(read(&mut stream), None);
    let mut stream = raw(port);
    let _ = stream.write_all(&[0xFF, 0xFF, 0xFF, 0]);
    let _ = stream.write_all(&vec![b' '; (1 << 24) - 1]);
    let _ = stream.write_all(&[0xFF, 0xFF, 0xFF, 1]);
    assert_eq!(read(&mut stream).expect("an error")[0], 0xFF);

    let denied = |options: mysql::OptsBuilder| match Conn::new(options) {
        Err(mysql::Error::MySqlError(error)) => error.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(denied(cluster.options().user(Some("nobody"))), 1045);
    assert_eq!(denied(cluster.options().pass(Some("wrong"))), 1045);
    assert_eq!(denied(cluster.options().db_name(Some("nowhere"))), 1049);
    // A user with a password.
    let file = cluster.write_file("password", "secret\n");
    let other = cluster.add_gateway(&format!("--user ada --password-file {file} --max-connections 1"));
    let options = |password: &'static str| {
        cluster.options().tcp_port(cluster.port(other)).user(Some("ada")).pass(Some(password))
    };
    let mut connection = Conn::new(options("secret")).expect("admitted");
    assert_eq!(connection.query_first::<u8, _>("SELECT 1").expect("answered"), Some(1));
    assert_eq!(denied(options("secret")), 1040);
    drop(connection);
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while denied(options("wrong")) == 1040 {
        assert!(std::time::Instant::now() < until, "the place is not given back");
    }
}
