//! Statements of a seed: tables of all kinds of columns, and queries and changes of them.

/// Marks statements whose ORDER BY leaves no two rows where they like.
const TOTAL: &str = "/* total */";

/// Whether rows are compared in their order.
pub fn is_total_order(sql: &str) -> bool {
    sql.contains(TOTAL)
}

/// Why a statement is not compared; the reasons are those of `docs/sql.md`.
pub fn excluded(sql: &str) -> Option<&'static str> {
    for name in ["SUM(", "AVG("] {
        for (at, _) in sql.match_indices(name) {
            let mut depth = 0;
            let argument = sql[at + name.len()..].chars().take_while(|character| {
                depth += match character {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                depth >= 0
            });
            if argument.collect::<String>().contains(" / ") {
                return Some("sums of quotients");
            }
        }
    }
    None
}

/// A source of statements.
pub struct Generator {
    state: u64,
}

const TABLES: [&str; 3] = ["t1", "t2", "t3"];
const NUMBERS: [&str; 4] = ["id", "a", "b", "d"];
const TEXTS: [&str; 4] = ["'apple'", "'Apple'", "'pear'", "'b%_'"];

impl Generator {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Generator {
        Generator { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// A number below another one (xorshift*, Vigna 2016).
    fn below(&mut self, most: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % most
    }

    fn one<'s>(&mut self, list: &[&'s str]) -> &'s str {
        list[self.below(list.len() as u64) as usize]
    }

    /// The tables with their rows.
    pub fn tables(&mut self) -> Vec<String> {
        let mut statements = Vec::new();
        for (table, rows) in TABLES.iter().zip([40, 25, 12]) {
            statements.push(format!(
                "CREATE TABLE {table} (id INT PRIMARY KEY, a INT, b BIGINT NOT NULL, d DECIMAL(10,2), f DOUBLE, s VARCHAR(20), \
                 day DATE, moment DATETIME, KEY by_a (a), KEY by_s (s))"
            ));
            let values: Vec<String> = (1..=rows).map(|id| self.row(id)).collect();
            statements.push(format!("INSERT INTO {table} VALUES {}", values.join(", ")));
        }
        statements
    }

    fn row(&mut self, id: u64) -> String {
        let a = if self.below(8) == 0 { "NULL".to_owned() } else { (self.below(12) as i64 - 3).to_string() };
        let b = self.below(1_000) as i64 - 200;
        let d = match self.below(8) {
            0 => "NULL".to_owned(),
            _ => format!("{}.{:02}", self.below(200) as i64 - 50, self.below(100)),
        };
        let f = if self.below(8) == 0 { "NULL".to_owned() } else { format!("{}.25", self.below(50)) };
        let s = match self.below(6) {
            0 => "NULL".to_owned(),
            1 => "''".to_owned(),
            _ => {
                format!("'{}{}'", self.one(&["apple", "pear", "Plum", "fig", "é", "10", "7x"]), self.below(4))
            }
        };
        let day = match self.below(7) {
            0 => "NULL".to_owned(),
            _ => format!("'20{:02}-{:02}-{:02}'", 20 + self.below(4), 1 + self.below(12), 1 + self.below(28)),
        };
        let moment = match self.below(7) {
            0 => "NULL".to_owned(),
            _ => format!(
                "'2024-{:02}-{:02} {:02}:{:02}:00'",
                1 + self.below(12),
                1 + self.below(28),
                self.below(24),
                self.below(60)
            ),
        };
        format!("({id}, {a}, {b}, {d}, {f}, {s}, {day}, {moment})")
    }

    fn number(&mut self, of: &str, depth: u32) -> String {
        if depth == 0 || self.below(3) == 0 {
            return match self.below(4) {
                0 => (self.below(20) as i64 - 5).to_string(),
                _ => format!("{of}{}", self.one(&NUMBERS)),
            };
        }
        let (x, y) = (self.number(of, depth - 1), self.number(of, depth - 1));
        match self.below(14) {
            0 | 1 => format!("({x} + {y})"),
            2 => format!("({x} - {y})"),
            3 => format!("({x} * {y})"),
            4 => format!("({x} / {y})"),
            5 => format!("({x} % {y})"),
            6 => format!("({x} DIV {y})"),
            7 => format!("ABS({x})"),
            8 => format!("COALESCE({x}, {y})"),
            9 => format!("IF({}, {x}, {y})", self.condition(of, 0)),
            10 => format!("CASE WHEN {} THEN {x} ELSE {y} END", self.condition(of, 0)),
            11 => format!("GREATEST({x}, {y})"),
            12 => format!("NULLIF({x}, {y})"),
            _ => format!("LENGTH({of}s)"),
        }
    }

    fn text(&mut self, of: &str) -> String {
        match self.below(8) {
            0 => self.one(&TEXTS).to_owned(),
            1 => format!("UPPER({of}s)"),
            2 => format!("CONCAT({of}s, '-', {of}id)"),
            3 => format!("SUBSTRING({of}s, 2, 3)"),
            4 => format!("REPLACE({of}s, 'p', 'qq')"),
            5 => format!("LEFT({of}s, {})", self.below(5)),
            _ => format!("{of}s"),
        }
    }

    fn condition(&mut self, of: &str, depth: u32) -> String {
        if depth > 0 && self.below(2) == 0 {
            let (x, y) = (self.condition(of, depth - 1), self.condition(of, depth - 1));
            return match self.below(5) {
                0 => format!("NOT ({x})"),
                1 => format!("({x} OR {y})"),
                2 => format!("({x} XOR {y})"),
                _ => format!("({x} AND {y})"),
            };
        }
        let sign = self.one(&["=", "<>", "<", "<=", ">", ">=", "<=>"]);
        match self.below(11) {
            0 | 1 => format!("{} {sign} {}", self.number(of, 1), self.number(of, 1)),
            2 => format!("{of}a {sign} {}", self.below(10)),
            3 => format!("{} {sign} {}", self.text(of), self.text(of)),
            4 => format!("{of}s LIKE '{}'", self.one(&["a%", "%p%", "_ear%", "%1", "apple\\_", "é%"])),
            5 => format!("{of}{} IS {}NULL", self.one(&["a", "d", "s", "day"]), self.one(&["", "NOT "])),
            6 => format!(
                "{of}a {}IN ({}, {}, {})",
                self.one(&["", "NOT "]),
                self.below(9),
                self.below(9),
                self.one(&["3", "NULL", "2.0"])
            ),
            7 => format!("{of}id BETWEEN {} AND {}", self.below(10), 5 + self.below(30)),
            8 => format!("{of}day {sign} '2022-0{}-15'", 1 + self.below(9)),
            9 => format!("{of}moment {sign} '2024-0{}-15 12:00:00'", 1 + self.below(9)),
            _ => format!("{of}d {sign} {}.5", self.below(60)),
        }
    }

    fn aggregate(&mut self, of: &str) -> String {
        let distinct = if self.below(4) == 0 { "DISTINCT " } else { "" };
        match self.below(8) {
            0 | 1 => "COUNT(*)".to_owned(),
            2 => format!("COUNT({distinct}{of}a)"),
            3 => format!("SUM({distinct}{})", self.number(of, 1)),
            4 => format!("AVG({of}{})", self.one(&["a", "b", "d"])),
            5 => format!("MIN({of}{})", self.one(&["a", "s", "day", "d"])),
            6 => format!("MAX({of}{})", self.one(&["a", "s", "moment", "f"])),
            _ => format!("COUNT(DISTINCT {of}s)"),
        }
    }

    /// A statement.
    pub fn statement(&mut self) -> String {
        match self.below(20) {
            0..=2 => self.rows(),
            3 | 4 => self.groups(),
            5..=8 => self.join(),
            9 => self.join_groups(),
            10..=13 => self.subquery(),
            14 => self.set_operation(),
            15 | 16 => self.window(),
            17 => self.common(),
            18 => self.derived(),
            _ => self.change(),
        }
    }

    fn rows(&mut self) -> String {
        let table = self.one(&TABLES);
        let (number, text, condition) = (self.number("", 2), self.text(""), self.condition("", 2));
        match self.below(4) {
            0 => format!("SELECT DISTINCT a, {text} FROM {table} WHERE {condition}"),
            1 => format!(
                "SELECT {TOTAL} id, {number} AS n FROM {table} WHERE {condition} ORDER BY {} DESC, id LIMIT {}",
                self.one(&["a", "s", "n", "day", "d"]),
                1 + self.below(12)
            ),
            2 => format!(
                "SELECT {TOTAL} * FROM {table} WHERE {condition} ORDER BY id LIMIT {} OFFSET {}",
                1 + self.below(9),
                self.below(9)
            ),
            _ => format!("SELECT id, {number}, {text} FROM {table} WHERE {condition}"),
        }
    }

    fn groups(&mut self) -> String {
        let table = self.one(&TABLES);
        let (key, condition) =
            (self.one(&["a", "s", "a, s", "day", "a % 3", "LEFT(s, 1)"]), self.condition("", 1));
        let (one, other) = (self.aggregate(""), self.aggregate(""));
        match self.below(4) {
            0 => format!("SELECT {one}, {other} FROM {table} WHERE {condition}"),
            1 => {
                format!("SELECT {key}, {one} FROM {table} GROUP BY {key} HAVING COUNT(*) > {}", self.below(4))
            }
            2 => format!("SELECT {key}, {one} + 1, {other} FROM {table} WHERE {condition} GROUP BY {key}"),
            _ => format!("SELECT {key}, {one}, {other} FROM {table} GROUP BY {key}"),
        }
    }

    fn pair(&mut self) -> String {
        let (x, y) = (self.one(&TABLES), self.one(&TABLES));
        let kind = self.one(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "INNER JOIN", "LEFT JOIN"]);
        let on = match self.below(7) {
            0 | 1 => "x.a = y.a".to_owned(),
            2 => "x.id = y.a".to_owned(),
            3 => "x.a = y.id AND x.b < y.b".to_owned(),
            4 => "x.s = y.s".to_owned(),
            5 => format!("x.a = y.a AND {}", self.condition("y.", 0)),
            _ => "x.id = y.id".to_owned(),
        };
        format!("{x} x {kind} {y} y ON {on}")
    }

    fn join(&mut self) -> String {
        let (pair, side) = (self.pair(), self.one(&["x.", "y."]));
        let (number, condition) = (self.number(side, 1), self.condition(side, 1));
        match self.below(6) {
            0 => {
                let (x, y) = (self.one(&TABLES), self.one(&TABLES));
                format!("SELECT id, x.a, y.s FROM {x} x JOIN {y} y USING (id) WHERE {condition}")
            }
            1 => {
                let (x, y) = (self.one(&TABLES), self.one(&TABLES));
                format!("SELECT COUNT(*), SUM(x.b) FROM {x} x, {y} y WHERE x.a = y.a AND {condition}")
            }
            2 => format!("SELECT x.id, y.id, z.s FROM {pair} JOIN t3 z ON z.id = {side}id WHERE {condition}"),
            3 => format!(
                "SELECT {TOTAL} x.id, y.id, {number} FROM {pair} WHERE {condition} ORDER BY x.id, y.id LIMIT {}",
                1 + self.below(15)
            ),
            _ => format!("SELECT x.id, y.id, {number} FROM {pair} WHERE {condition}"),
        }
    }

    fn join_groups(&mut self) -> String {
        let (pair, side) = (self.pair(), self.one(&["x.", "y."]));
        let (one, other) = (self.aggregate(side), self.aggregate("x."));
        match self.below(3) {
            0 => format!("SELECT {one}, {other} FROM {pair}"),
            1 => format!("SELECT {side}a, {one}, {other} FROM {pair} GROUP BY {side}a HAVING COUNT(*) > 1"),
            _ => format!("SELECT x.a, y.s, {one} FROM {pair} GROUP BY x.a, y.s"),
        }
    }

    fn subquery(&mut self) -> String {
        let (x, y) = (self.one(&TABLES), self.one(&TABLES));
        let (inner, outer) = (self.condition("y.", 1), self.condition("x.", 0));
        let column = self.one(&["a", "id", "b"]);
        let not = self.one(&["", "NOT "]);
        match self.below(9) {
            0 => format!(
                "SELECT x.id FROM {x} x WHERE x.a {not}IN (SELECT y.{column} FROM {y} y WHERE {inner})"
            ),
            1 => format!(
                "SELECT x.id FROM {x} x WHERE {not}EXISTS (SELECT 1 FROM {y} y WHERE y.a = x.a AND {inner})"
            ),
            2 => {
                format!("SELECT x.id, (SELECT COUNT(*) FROM {y} y WHERE y.a = x.a) FROM {x} x WHERE {outer}")
            }
            3 => format!("SELECT x.id FROM {x} x WHERE x.b > (SELECT AVG(y.b) FROM {y} y WHERE {inner})"),
            4 => format!("SELECT x.id, (SELECT MAX(y.b) FROM {y} y WHERE y.a = x.a) AS m FROM {x} x"),
            5 => format!(
                "SELECT x.id FROM {x} x WHERE {outer} OR x.id IN (SELECT y.a FROM {y} y WHERE {inner})"
            ),
            6 => format!(
                "SELECT (SELECT SUM(y.{column}) FROM {y} y WHERE {inner}), (SELECT COUNT(*) FROM {x})"
            ),
            7 => format!(
                "SELECT x.id FROM {x} x WHERE (x.a, x.id) IN (SELECT y.a, y.id FROM {y} y WHERE {inner})"
            ),
            _ => format!(
                "SELECT x.id FROM {x} x WHERE x.b >= (SELECT MAX(y.b) FROM {y} y WHERE y.a = x.a) AND {outer}"
            ),
        }
    }

    fn set_operation(&mut self) -> String {
        let (x, y) = (self.one(&TABLES), self.one(&TABLES));
        let operator = self.one(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT", "UNION"]);
        let (one, other) = (self.condition("", 1), self.condition("", 1));
        match self.below(4) {
            0 => format!("SELECT a, s FROM {x} WHERE {one} {operator} SELECT a, s FROM {y} WHERE {other}"),
            1 => format!("SELECT d FROM {x} WHERE {one} {operator} SELECT b FROM {y} WHERE {other}"),
            2 => format!(
                "SELECT {TOTAL} a FROM {x} {operator} SELECT id FROM {y} WHERE {other} ORDER BY a LIMIT {}",
                1 + self.below(20)
            ),
            _ => format!("SELECT COUNT(*) FROM (SELECT a FROM {x} {operator} SELECT a FROM {y}) u"),
        }
    }

    fn window(&mut self) -> String {
        let table = self.one(&TABLES);
        let partition = self.one(&["", "PARTITION BY a ", "PARTITION BY s "]);
        let function = match self.below(10) {
            0 => "ROW_NUMBER()".to_owned(),
            1 => "RANK()".to_owned(),
            2 => "DENSE_RANK()".to_owned(),
            3 => format!("LAG(b, {})", 1 + self.below(2)),
            4 => "LEAD(s)".to_owned(),
            5 => format!("NTILE({})", 1 + self.below(5)),
            6 => "FIRST_VALUE(b)".to_owned(),
            7 => "COUNT(*)".to_owned(),
            8 => format!("AVG({})", self.one(&["a", "b", "d"])),
            _ => format!("SUM({})", self.one(&["a", "b", "d"])),
        };
        let is_aggregate = ["COUNT", "AVG", "SUM", "FIRST"].iter().any(|name| function.starts_with(name));
        let frame = match (is_aggregate, self.below(3)) {
            (true, 0) => " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            (true, 1) => " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            _ => "",
        };
        let order = if function == "RANK()" || function == "DENSE_RANK()" { "a" } else { "id" };
        format!("SELECT id, {function} OVER ({partition}ORDER BY {order}{frame}) FROM {table}")
    }

    fn common(&mut self) -> String {
        let (x, y) = (self.one(&TABLES), self.one(&TABLES));
        let (one, other) = (self.condition("", 1), self.condition("c.", 0));
        match self.below(3) {
            0 => format!(
                "WITH c AS (SELECT * FROM {x} WHERE {one}) SELECT c.id, y.s FROM c JOIN {y} y ON y.id = c.a WHERE {other}"
            ),
            1 => format!(
                "WITH c AS (SELECT a, COUNT(*) AS n FROM {x} GROUP BY a) SELECT p.a, p.n, q.n FROM c p JOIN c q ON p.n = q.n"
            ),
            _ => format!(
                "WITH RECURSIVE r AS (SELECT {} AS i UNION ALL SELECT i + 1 FROM r WHERE i < {}) SELECT r.i, y.s FROM r LEFT JOIN {y} y ON y.id = r.i",
                self.below(5),
                5 + self.below(20)
            ),
        }
    }

    fn derived(&mut self) -> String {
        let table = self.one(&TABLES);
        let (number, condition, aggregate) = (self.number("", 1), self.condition("", 1), self.aggregate(""));
        match self.below(2) {
            0 => format!(
                "SELECT MAX(t.n), COUNT(*) FROM (SELECT {number} AS n FROM {table} WHERE {condition}) t"
            ),
            _ => format!(
                "SELECT t.a, x.id FROM (SELECT a, {aggregate} AS n FROM {table} GROUP BY a) t JOIN t2 x ON x.a = t.a"
            ),
        }
    }

    fn change(&mut self) -> String {
        let table = self.one(&TABLES);
        let id = 1 + self.below(60);
        match self.below(6) {
            0 => format!("DELETE FROM {table} WHERE id = {id}"),
            1 => {
                format!("UPDATE {table} SET a = {}, s = {} WHERE id = {id}", self.below(9), self.one(&TEXTS))
            }
            2 => format!("UPDATE {table} SET b = b + {} WHERE a = {}", self.below(5), self.below(9)),
            3 => {
                let row = self.row(id);
                format!("REPLACE INTO {table} VALUES {row}")
            }
            4 => {
                let row = self.row(id);
                format!("INSERT INTO {table} VALUES {row} ON DUPLICATE KEY UPDATE b = b + 1")
            }
            _ => {
                let row = self.row(id);
                format!("INSERT INTO {table} VALUES {row}")
            }
        }
    }
}
