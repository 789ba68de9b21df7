//! Transactions of a seed: changes, also of keys, and savepoints, with all rows compared after each statement.

use super::{Answer, ask};
use mysql::Conn;

/// Seed of the statements.
const SEED: u64 = 7;
/// How many there are.
const STATEMENTS: usize = 2_000;
const ROWS: [&str; 2] = ["SELECT * FROM rows_of ORDER BY id", "SELECT * FROM pairs_of ORDER BY a, b"];

struct Choice(u64);

impl Choice {
    /// A number below `bound`, of splitmix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn key(&mut self) -> u64 {
        self.below(8) + 1
    }

    fn of<'t>(&mut self, list: &[&'t str]) -> &'t str {
        list[self.below(list.len() as u64) as usize]
    }

    fn values(&mut self) -> String {
        let unique = if self.below(8) == 0 { "NULL".to_owned() } else { self.key().to_string() };
        format!("({}, {unique}, {}, {})", self.key(), self.key(), self.key())
    }

    fn statement(&mut self) -> String {
        let (a, b, c) = (self.key(), self.key(), self.key());
        let values = self.values();
        let name = self.of(&["a", "b", "c", "d"]);
        match self.below(100) {
            0..14 => format!("SAVEPOINT {name}"),
            14..26 => format!("ROLLBACK TO {name}"),
            26..29 => format!("RELEASE SAVEPOINT {name}"),
            29..33 => self.of(&["COMMIT", "ROLLBACK"]).to_owned(),
            33..40 => "BEGIN".to_owned(),
            40..50 => format!("INSERT INTO rows_of VALUES {values}"),
            50..56 => format!("REPLACE INTO rows_of VALUES {values}"),
            56..62 => {
                let set = [format!("id = {a}"), format!("u = {b}"), "id = id + 1, v = id".to_owned()];
                let set = &set[self.below(3) as usize];
                format!("INSERT INTO rows_of VALUES {values} ON DUPLICATE KEY UPDATE {set}")
            }
            62..68 => format!("UPDATE rows_of SET id = {a} WHERE id = {b}"),
            68..72 => format!("UPDATE rows_of SET id = id {} {a} WHERE id > {b}", self.of(&["+", "-"])),
            72..76 => {
                let set = self.of(&["u + 1", "NULL", "4"]);
                format!("UPDATE rows_of SET u = {set} WHERE id = {a}")
            }
            76..80 => format!("UPDATE rows_of SET v = v + 1, w = v WHERE id IN ({a}, {b}, {c})"),
            80..84 => format!("UPDATE rows_of SET w = {a} WHERE v = {b}"),
            84..90 => format!("DELETE FROM rows_of WHERE id = {a}"),
            90..94 => format!("INSERT INTO pairs_of VALUES ({}, {b}, {c})", a % 3),
            94..98 => format!("UPDATE pairs_of SET b = b + 1 WHERE a = {} ORDER BY b DESC", a % 3),
            _ => format!("DELETE FROM pairs_of WHERE a = {}", a % 3),
        }
    }
}

/// Compares answers and rows.
pub fn compare(duet: &mut Conn, mariadb: &mut Conn, compared: &mut usize, differences: &mut Vec<String>) {
    let mut choice = Choice(SEED);
    let tables = [
        "CREATE TABLE rows_of (id INT PRIMARY KEY, u INT UNIQUE, v INT, w INT, KEY (v))",
        "CREATE TABLE pairs_of (a INT, b INT, n INT, PRIMARY KEY (a, b))",
    ];
    let statements = tables.map(str::to_owned).into_iter();
    let statements: Vec<String> = statements.chain((0..STATEMENTS).map(|_| choice.statement())).collect();
    for (number, sql) in statements.iter().enumerate() {
        let mut different = |what: &str, ours: &Answer, theirs: &Answer| {
            let before = statements[number.saturating_sub(12)..=number].join(";\n  ");
            differences.push(format!("{what}:\n  {before}\n  Duet:    {ours:?}\n  MariaDB: {theirs:?}"));
        };
        let (ours, theirs) = (ask(duet, sql), ask(mariadb, sql));
        *compared += 1;
        let same = match (&ours, &theirs) {
            (Answer::Failed(ours, _), Answer::Failed(theirs, _)) => ours == theirs,
            (ours, theirs) => ours == theirs,
        };
        if !same {
            return different("transactions", &ours, &theirs);
        }
        for rows in ROWS {
            let (ours, theirs) = (ask(duet, rows), ask(mariadb, rows));
            if number > 0 && ours != theirs {
                return different("rows of transactions", &ours, &theirs);
            }
        }
    }
    for connection in [duet, mariadb] {
        for sql in ["ROLLBACK", "DROP TABLE rows_of", "DROP TABLE pairs_of"] {
            ask(connection, sql);
        }
    }
}
