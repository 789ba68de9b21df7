//! Seeds of the targets for the SQL gateway.

use crate::seeds::Seed;

/// Statements of tools, benchmarks and people.
const STATEMENTS: &[(&str, &str)] = &[
    ("point", "SELECT c FROM sbtest1 WHERE id=501"),
    ("range", "SELECT DISTINCT c FROM sbtest1 WHERE id BETWEEN 5 AND 104 ORDER BY c LIMIT 10 OFFSET 2"),
    ("rows", "SELECT * FROM `t` WHERE (a, b) IN ((1, 'x'), (2, 'it''s'), (-3, NULL)) FOR UPDATE"),
    (
        "insert",
        "INSERT INTO t (id, k, c) VALUES (0, 5, 'a\\'b'), (1, 2.5e3, x'0F') ON DUPLICATE KEY UPDATE k = VALUES(k) + 1",
    ),
    ("update", "UPDATE t SET k=k+1, c=CONCAT(c, \"x\") WHERE id=5 AND NOT (k <=> NULL) LIMIT 1"),
    ("delete", "DELETE FROM d.t WHERE s LIKE 'a%' OR s IS NULL"),
    (
        "create",
        "CREATE TABLE t (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, d DECIMAL(8,2) DEFAULT 1.50, KEY k (d)) ENGINE=ndbcluster COMMENT='x'",
    ),
    ("alter", "ALTER TABLE t ADD COLUMN n INT NULL, ALGORITHM=INPLACE"),
    (
        "join",
        "WITH x AS (SELECT a, COUNT(*) n FROM t GROUP BY a HAVING n > 1) SELECT x.a, SUM(y.b) OVER (PARTITION BY y.c) FROM x LEFT JOIN y USING (a) UNION ALL SELECT 1, 2",
    ),
    (
        "several",
        "SET NAMES utf8mb4; SET @a = 5, @@session.autocommit = 0; BEGIN; COMMIT; /* c */ ROLLBACK -- end",
    ),
    ("show", "SHOW FULL COLUMNS FROM `d`.`t` LIKE 'a%'"),
    ("kill", "KILL QUERY 5"),
    (
        "user",
        "CREATE USER IF NOT EXISTS 'ada'@'%' IDENTIFIED WITH caching_sha2_password BY 'x', bob@`%` IDENTIFIED BY \"y\"",
    ),
    (
        "password",
        "SET PASSWORD FOR ada = 'x'; ALTER USER USER() IDENTIFIED BY 'y'; DROP USER IF EXISTS a, 'b'",
    ),
    (
        "case",
        "SELECT CASE WHEN 1 THEN DATE '2024-01-31' ELSE CAST('5' AS SIGNED) END, a DIV b % 2, -(-1), ? FROM DUAL",
    ),
];

/// A packet with its header.
fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    bytes.push(number);
    bytes.extend_from_slice(payload);
    bytes
}

/// A login with an answer, a database and a method.
fn login(answer: &[u8], method: &str) -> Vec<u8> {
    // Protocol 4.1, secure connection, database, methods, length-encoded attributes.
    let flags: u32 = 0x200 | 0x8000 | 0x8 | 0x8_0000 | 0x10_0000;
    let mut payload = flags.to_le_bytes().to_vec();
    payload.extend_from_slice(&(16_u32 << 20).to_le_bytes());
    payload.push(46);
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(b"root\0");
    payload.push(answer.len() as u8);
    payload.extend_from_slice(answer);
    payload.extend_from_slice(b"shop\0");
    payload.extend_from_slice(method.as_bytes());
    payload.extend_from_slice(b"\0\x07\x03_os\x02me");
    payload
}

/// An execution with one parameter of each kind.
fn execution() -> Vec<u8> {
    let kinds: [(u8, &[u8]); 10] = [
        (1, &[5]),
        (2, &[5, 0]),
        (3, &[255; 4]),
        (8, &[255; 8]),
        (4, &[0, 0, 128, 63]),
        (5, &[0, 0, 0, 0, 0, 0, 240, 63]),
        (253, b"\x03abc"),
        (246, b"\x041.50"),
        (12, &[7, 232, 7, 1, 31, 10, 59, 59]),
        (11, &[8, 1, 0, 0, 0, 0, 1, 2, 3]),
    ];
    let mut body = vec![0, 0, 1];
    kinds.iter().for_each(|(kind, _)| body.extend_from_slice(&[*kind, 0]));
    kinds.iter().for_each(|(_, value)| body.extend_from_slice(value));
    let mut bytes = vec![1, kinds.len() as u8, 1, 39, 2, b'h', b'i'];
    bytes.extend_from_slice(&(body.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// All of them.
pub fn all() -> Vec<Seed> {
    let mut seeds: Vec<Seed> =
        STATEMENTS.iter().map(|(name, sql)| Seed::new("sql_text", *name, sql.as_bytes().to_vec())).collect();
    let chosen = |choice: u8, bytes: &[u8]| [&[choice], bytes].concat();
    let mut wire = |name: &str, bytes: Vec<u8>| seeds.push(Seed::new("sql_wire", name, bytes));
    wire("login-native", chosen(0, &login(&[7; 20], "mysql_native_password")));
    wire("login-sha2", chosen(0, &login(&[7; 32], "caching_sha2_password")));
    wire("login-empty", chosen(0, &login(&[], "another")));
    wire("change-user", chosen(0, b"ada\0\x02xyshop\0\x2e\0caching_sha2_password\0"));
    wire("execution", execution());
    let several = [packet(0, b"\x03SELECT 1"), packet(1, b""), packet(2, &[7; 300])].concat();
    wire("packets", chosen(2, &several));
    wire("answer", chosen(3, &[9; 52]));
    wire("fields", chosen(4, b"\xfc\x03\x00abc\xfd\x01\x00\x00x\xfe\x01\0\0\0\0\0\0\0y\x02zz\0"));
    seeds
}
