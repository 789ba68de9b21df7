//! What tools ask a server about itself, its databases and its tables, and what stands in the files that they write.

use crate::cluster::Cluster;
use crate::statements::{affected, code, rows};
use mysql::Conn;
use mysql::consts::ColumnType;
use mysql::prelude::Queryable;

#[test]
fn tools_find_what_they_ask_for() {
    let cluster = Cluster::start();
    let mut connection = cluster.connect();
    warnings(&mut connection);
    connection.query_drop("CREATE DATABASE shop").expect("created");
    connection.query_drop("USE shop").expect("there");
    connection
        .query_drop(
            "CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, mail VARCHAR(50) UNIQUE, city_a INT, city_b INT, \
             KEY cities (city_a, city_b)) COMMENT='who buys'",
        )
        .expect("created");
    connection.query_drop("INSERT INTO customers (mail) VALUES ('a'), ('b')").expect("inserted");
    connection.query_drop("CREATE TABLE places (a INT, b INT, PRIMARY KEY (a, b))").expect("created");
    types(&mut connection);
    shown(&mut connection);
    information_schema(&mut connection);
    definitions(&mut connection);
    settings(&mut connection);
}

/// Names and types of the columns of a result.
fn heading(connection: &mut Conn, sql: &str) -> Vec<(String, ColumnType)> {
    let result = connection.query_iter(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let columns = result.columns();
    columns.as_ref().iter().map(|column| (column.name_str().into_owned(), column.column_type())).collect()
}

fn types(connection: &mut Conn) {
    use ColumnType::{MYSQL_TYPE_LONG as INT, MYSQL_TYPE_LONGLONG as BIGINT};
    for (sql, numbers) in [
        (
            "SHOW INDEX FROM customers",
            &[("Non_unique", INT), ("Seq_in_index", INT), ("Cardinality", BIGINT), ("Sub_part", BIGINT)][..],
        ),
        ("SHOW COLLATION", &[("Id", BIGINT), ("Sortlen", INT)]),
        ("SHOW CHARACTER SET", &[("Maxlen", INT)]),
        ("SHOW WARNINGS", &[("Code", INT)]),
        ("SHOW COUNT(*) WARNINGS", &[("@@session.warning_count", BIGINT)]),
        ("SHOW PROCESSLIST", &[("Id", BIGINT), ("Time", BIGINT)]),
    ] {
        let heading = heading(connection, sql);
        for (name, column_type) in heading {
            let expected = numbers.iter().find(|(number, _)| *number == name);
            let expected = expected.map_or(ColumnType::MYSQL_TYPE_VAR_STRING, |(_, expected)| *expected);
            assert_eq!(column_type, expected, "{sql}: {name}");
        }
    }
    for (sql, expected) in [
        ("SHOW TABLES", &["Tables_in_shop"][..]),
        ("SHOW TABLES LIKE 'c%'", &["Tables_in_shop (c%)"]),
        ("SHOW FULL TABLES FROM shop LIKE 'c%'", &["Tables_in_shop (c%)", "Table_type"]),
        ("SHOW TABLES WHERE Tables_in_shop = 'places'", &["Tables_in_shop"]),
        ("SHOW DATABASES", &["Database"]),
        ("SHOW DATABASES LIKE 'x%'", &["Database (x%)"]),
    ] {
        let names: Vec<String> = heading(connection, sql).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, expected, "{sql}");
    }
}

fn shown(connection: &mut Conn) {
    let mail = "mail|varchar(50)|YES|UNI|NULL|";
    for (sql, expected) in [
        ("SHOW TABLES WHERE Tables_in_shop LIKE 'p%'", &["places"][..]),
        ("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE' AND Tables_in_shop > 'd'", &["places|BASE TABLE"]),
        ("DESCRIBE customers mail", &[mail]),
        ("DESC shop.customers 'm%'", &[mail]),
        ("EXPLAIN customers `mail`", &[mail]),
        ("SHOW COLUMNS FROM customers FROM shop LIKE 'mail'", &[mail]),
        ("SHOW COLUMNS FROM customers WHERE `Key` = 'UNI'", &[mail]),
        ("DESCRIBE customers nothing", &[]),
        ("DESCRIBE information_schema.character_sets maxlen", &["MAXLEN|int unsigned|YES||NULL|"]),
        ("DESCRIBE duet.partitions node_id", &["node_id|bigint unsigned|YES||NULL|"]),
        (
            "SHOW CREATE DATABASE shop",
            &["shop|CREATE DATABASE `shop` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */"],
        ),
        (
            "SHOW CREATE SCHEMA IF NOT EXISTS `shop`",
            &[
                "shop|CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */",
            ],
        ),
        (
            "SHOW TABLE STATUS LIKE 'cust%'",
            &[
                "customers|ndbcluster|10|Dynamic|2|NULL|NULL|NULL|NULL|NULL|3|NULL|NULL|NULL|utf8mb4_bin|NULL||who buys",
            ],
        ),
        (
            "SHOW TABLE STATUS FROM shop WHERE Name = 'places'",
            &[
                "places|ndbcluster|10|Dynamic|0|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|utf8mb4_bin|NULL||",
            ],
        ),
        ("SHOW GRANTS", &["GRANT ALL PRIVILEGES ON *.* TO `root`@`%`"]),
        ("SHOW GRANTS FOR CURRENT_USER()", &["GRANT ALL PRIVILEGES ON *.* TO `root`@`%`"]),
        ("SHOW TRIGGERS", &[]),
        ("SHOW TRIGGERS FROM shop LIKE 'a'", &[]),
        ("SHOW EVENTS", &[]),
        ("SHOW FUNCTION STATUS WHERE Db = 'shop'", &[]),
        ("SHOW PROCEDURE STATUS WHERE Db = 'shop'", &[]),
        ("SHOW OPEN TABLES FROM shop", &[]),
        (
            "SHOW COLLATION WHERE Charset = 'utf8mb4' AND Id = 46",
            &["utf8mb4_bin|utf8mb4|46|Yes|Yes|1|NO PAD"],
        ),
        ("SHOW CHARACTER SET LIKE 'utf8%'", &["utf8mb4|UTF-8 Unicode|utf8mb4_bin|4"]),
        ("SHOW CHARSET LIKE 'latin%'", &[]),
        ("SHOW GRANTS FOR 'root'@'localhost'", &["GRANT ALL PRIVILEGES ON *.* TO `root`@`%`"]),
        ("SHOW INDEX FROM duet.nodes", &[]),
        ("SHOW KEYS FROM tables FROM information_schema", &[]),
        (
            "SHOW INDEX FROM places WHERE Seq_in_index = 2",
            &["places|0|PRIMARY|2|b|A|NULL|NULL|NULL||BTREE|||YES|NULL"],
        ),
    ] {
        assert_eq!(rows(connection, sql), expected, "{sql}");
    }
    assert!(
        rows(connection, "SHOW CREATE TABLE customers")[0]
            .contains(" ENGINE=ndbcluster AUTO_INCREMENT=3 DEFAULT ")
    );
    for (sql, expected) in [
        ("SHOW TRIGGERS FROM nowhere", 1049),
        ("SHOW TABLE STATUS FROM nowhere", 1049),
        ("SHOW CREATE DATABASE nowhere", 1049),
        ("SHOW GRANTS FOR nobody", 1141),
        ("DESCRIBE nothing a", 1146),
        ("SHOW EVENTS WHERE nothing = 1", 1054),
        ("SHOW MASTER STATUS", 1235),
        ("SHOW WARNINGS LIMIT a", 1064),
        ("SHOW CREATE DATABASE shop WHERE 1 = 0", 1064),
        ("SHOW CREATE TABLE duet.memory", 1235),
        ("SHOW CREATE TABLE duet.nothing", 1146),
        ("SHOW CREATE TABLE information_schema.tables", 1235),
        ("SHOW INDEX FROM duet.nothing", 1146),
        ("SHOW INDEX FROM information_schema.nothing", 1109),
    ] {
        assert_eq!(code(connection, sql), expected, "{sql}");
    }
    // Conditions see the session.
    connection.query_drop("SET @name = 'places'").expect("set");
    assert_eq!(rows(connection, "SHOW TABLES WHERE Tables_in_shop = @name"), ["places"]);
    assert_eq!(rows(connection, "SHOW EVENTS WHERE Db = DATABASE()"), [""; 0]);
    for sql in ["SHOW TABLE STATUS WHERE Name = ?", "SHOW TABLES WHERE Tables_in_shop = ?"] {
        let found: Vec<mysql::Row> = connection.exec(sql, ("places",)).expect(sql);
        assert_eq!(found.len(), 1, "{sql}");
        assert_eq!(found[0].get::<String, _>(0).as_deref(), Some("places"), "{sql}");
    }
    let error = connection.prep("SHOW TABLES LIKE ?").expect_err("no pattern").to_string();
    assert!(error.contains("1064") && !error.contains("?0"), "{error}");
    connection.query_drop("INSERT IGNORE INTO places VALUES (1, 1), (1, 1), (1, 1)").expect("inserted");
    assert_eq!(rows(connection, "SHOW COUNT(*) WARNINGS"), ["2"]);
    assert_eq!(rows(connection, "SHOW WARNINGS LIMIT 1").len(), 1);
    assert_eq!(rows(connection, "SHOW WARNINGS LIMIT 1, 5").len(), 1);
    assert_eq!(rows(connection, "SHOW COUNT(*) ERRORS"), ["0"]);
    connection.query_drop("DELETE FROM places").expect("deleted");
}

fn information_schema(connection: &mut Conn) {
    for (sql, expected) in [
        (
            "SELECT table_name, table_rows, auto_increment, table_comment FROM information_schema.tables \
             WHERE table_schema = 'shop' ORDER BY 1",
            &["customers|2|3|who buys", "places|0|NULL|"][..],
        ),
        (
            "SELECT constraint_name, column_name, ordinal_position FROM information_schema.key_column_usage \
             WHERE table_schema = 'shop' ORDER BY table_name, constraint_name, ordinal_position",
            &["PRIMARY|id|1", "mail|mail|1", "PRIMARY|a|1", "PRIMARY|b|2"],
        ),
        (
            "SELECT table_name, constraint_name, constraint_type FROM information_schema.table_constraints \
             WHERE constraint_schema = 'shop' ORDER BY table_name, constraint_name",
            &["customers|PRIMARY|PRIMARY KEY", "customers|mail|UNIQUE", "places|PRIMARY|PRIMARY KEY"],
        ),
        (
            "SELECT table_name, partition_name, table_rows, partition_comment FROM information_schema.PARTITIONS \
             WHERE table_schema = 'shop' ORDER BY 1",
            &["customers|NULL|2|", "places|NULL|0|"],
        ),
        ("SELECT * FROM information_schema.character_sets", &["utf8mb4|utf8mb4_bin|UTF-8 Unicode|4"]),
        ("SELECT collation_name, id FROM information_schema.collations", &["utf8mb4_bin|46"]),
        ("SELECT engine, support FROM information_schema.engines", &["ndbcluster|DEFAULT"]),
        ("SELECT COUNT(table_rows) FROM information_schema.partitions WHERE table_schema = 'shop'", &["2"]),
        (
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop' AND table_rows = 2",
            &["customers"],
        ),
        (
            "SELECT command, db FROM information_schema.processlist WHERE id = CONNECTION_ID()",
            &["Query|shop"],
        ),
        (
            "SELECT index_name, non_unique FROM information_schema.statistics WHERE column_name = 'city_b'",
            &["cities|1"],
        ),
    ] {
        assert_eq!(rows(connection, sql), expected, "{sql}");
    }
    // Each of the tables can be read, and has the columns that it is described with.
    let names = rows(connection, "SHOW TABLES FROM information_schema");
    assert!(names.len() > 20);
    for name in names {
        let sql = format!("SELECT * FROM information_schema.{name}");
        let names: Vec<String> = heading(connection, &sql).into_iter().map(|(name, _)| name).collect();
        let described = rows(connection, &format!("DESCRIBE information_schema.{name}"));
        let described: Vec<&str> = described.iter().filter_map(|line| line.split('|').next()).collect();
        assert_eq!(names, described, "{name}");
        rows(connection, &sql);
    }
    for name in ["innodb_metrics", "files"] {
        assert_eq!(code(connection, &format!("SELECT * FROM information_schema.{name}")), 1109);
    }
}

/// What SHOW CREATE TABLE says makes the same table again.
fn definitions(connection: &mut Conn) {
    connection
        .query_drop(
            r"CREATE TABLE d (id INT PRIMARY KEY, b BINARY(4) DEFAULT 'ab', v VARBINARY(9) DEFAULT x'ff00',
            e VARBINARY(9) DEFAULT '', s VARCHAR(9) DEFAULT 'a\0\n\r\Z\\''', moment TIMESTAMP NULL DEFAULT '2024-01-02 03:04:05',
            later TIMESTAMP NULL, j JSON)",
        )
        .expect("created");
    let mut seen = Vec::new();
    for _ in 0..2 {
        connection.query_drop("INSERT INTO d (id) VALUES (1)").expect("inserted");
        let statement = rows(connection, "SHOW CREATE TABLE d").remove(0);
        let values = "SELECT HEX(b), HEX(v), HEX(e), HEX(s), moment FROM d";
        let described = [values, "SHOW FULL COLUMNS FROM d"].map(|sql| rows(connection, sql));
        connection.query_drop("DROP TABLE d").expect("dropped");
        connection.query_drop(&statement["d|".len()..]).expect(&statement);
        seen.push((statement, described));
    }
    assert_eq!(seen[0], seen[1]);
    for line in [
        "`b` binary(4) DEFAULT 0x61620000,",
        "`v` varbinary(9) DEFAULT 0xff00,",
        "`e` varbinary(9) DEFAULT '',",
        r"`s` varchar(9) DEFAULT 'a\0\n\r\Z\\''',",
        "`moment` timestamp(6) NULL DEFAULT '2024-01-02 03:04:05',",
        "`later` timestamp(6) NULL DEFAULT NULL,",
    ] {
        assert!(seen[0].0.contains(line), "{}", seen[0].0);
    }
    assert_eq!(seen[0].1[0], ["61620000|FF00||61000A0D1A5C27|2024-01-02 03:04:05"]);
    assert_eq!(
        rows(
            connection,
            "SELECT column_default, character_set_name, collation_name FROM information_schema.columns \
             WHERE table_name = 'd' AND column_name IN ('b', 'j') ORDER BY column_name"
        ),
        ["0x61620000|NULL|NULL", "NULL|NULL|NULL"]
    );
    let full = rows(connection, "SHOW FULL COLUMNS FROM d LIKE 'j'");
    assert_eq!(full, ["j|json|NULL|YES||NULL||select,insert,update|"]);
    connection.query_drop("DROP TABLE d").expect("dropped");
    for column in [
        "j INT CHECK (json_valid(j))",
        "j VARCHAR(9) CHECK (json_valid(j))",
        "j TEXT CHECK (json_valid(id))",
        "j TEXT CHECK (json_valid(j, j))",
        "j TEXT CHECK (json_valid())",
    ] {
        let sql = format!("CREATE TABLE e (id INT PRIMARY KEY, {column})");
        assert_eq!(code(connection, &sql), 1235, "{column}");
    }
}

/// Settings and options do what they say, or are refused.
fn settings(connection: &mut Conn) {
    connection.query_drop("SET sql_notes = 0").expect("set");
    connection.query_drop("DROP TABLE IF EXISTS nothing").expect("dropped");
    assert_eq!(rows(connection, "SHOW WARNINGS"), [""; 0]);
    assert_eq!(rows(connection, "SHOW VARIABLES LIKE 'sql_notes'"), ["sql_notes|OFF"]);
    connection.query_drop("SET sql_notes = DEFAULT").expect("set");
    assert_eq!(rows(connection, "SELECT @@GLOBAL.GTID_EXECUTED, @@gtid_mode"), ["|OFF"]);
    let collation =
        "Collation 'utf8mb4_0900_ai_ci' is taken as utf8mb4_nopad_bin: text compares byte by byte";
    for (options, expected) in [
        ("CHARACTER SET utf8mb3 COLLATE utf8mb3_bin", None),
        ("CHARSET = latin1", Some("Character set 'latin1' is taken as utf8mb4")),
        ("COLLATE utf8mb4_0900_ai_ci", Some(collation)),
    ] {
        let expected: Vec<String> = expected.iter().map(|text| format!("Warning|1235|{text}")).collect();
        for created in ["DATABASE other", "TABLE other (id INT PRIMARY KEY)"] {
            connection.query_drop(format!("CREATE {created} {options}")).expect(options);
            assert_eq!(rows(connection, "SHOW WARNINGS"), expected, "{created} {options}");
            let dropped = created.split(" (").next().unwrap_or_default();
            connection.query_drop(format!("DROP {dropped}")).expect("dropped");
        }
    }
    for (sql, expected) in [
        ("CREATE DATABASE other CHARACTER SET klingon", 1115),
        ("CREATE DATABASE other COLLATE klingon_bin", 1273),
        ("CREATE TABLE other (id INT PRIMARY KEY) DEFAULT CHARSET=klingon", 1115),
        ("CREATE TABLE other (id INT PRIMARY KEY, s TEXT COLLATE utf8mb4_klingon)", 1273),
    ] {
        assert_eq!(code(connection, sql), expected, "{sql}");
    }
}

fn warnings(connection: &mut Conn) {
    connection.query_drop("DROP TABLE IF EXISTS test.nothing").expect("dropped");
    assert_eq!(connection.warnings(), 1);
    assert_eq!(rows(connection, "SHOW WARNINGS"), ["Note|1051|Unknown table 'test.nothing'"]);
    // They stay until the next statement that is not about them, and are not of those that show them.
    assert_eq!(connection.warnings(), 0);
    assert_eq!(rows(connection, "SHOW COUNT(*) WARNINGS"), ["1"]);
    assert_eq!(connection.warnings(), 0);
    assert_eq!(rows(connection, "SHOW WARNINGS").len(), 1);
    connection.select_db("nowhere").expect_err("unknown");
    assert_eq!(rows(connection, "SHOW WARNINGS"), ["Error|1049|Unknown database 'nowhere'"]);
    connection.select_db("information_schema").expect("chosen");
    assert_eq!(rows(connection, "SHOW WARNINGS"), [""; 0]);
    connection.query_drop("DROP TABLE IF EXISTS test.nothing").expect("dropped");
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

#[test]
fn statements_of_dumps_are_executed() {
    let cluster = Cluster::start();
    let mut connection = cluster.connect();
    // As a dump of another server has them.
    for sql in [
        "/*M!999999\\- enable the sandbox mode */ SET @x = 1",
        "/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */",
        "/*!40101 SET NAMES utf8mb4 */",
        "/*!50503 SET NAMES utf8mb4 */",
        "/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */",
        "/*!40103 SET TIME_ZONE='+00:00' */",
        "/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */",
        "/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */",
        "/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */",
        "SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN",
        "SET @@SESSION.SQL_LOG_BIN= 0",
        "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ ''",
        "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `d` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */ \
         /*!80016 DEFAULT ENCRYPTION='N' */",
        "USE `d`",
        "DROP TABLE IF EXISTS `t`",
        "/*!50503 SET character_set_client = utf8mb4 */",
        "CREATE TABLE `t` (`id` int(11) NOT NULL AUTO_INCREMENT, `b` blob, \
         `s` varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL, \
         `j` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`j`)), PRIMARY KEY (`id`)) \
         ENGINE=InnoDB AUTO_INCREMENT=8 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
    ] {
        connection.query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    // With this mode 0 is a value as any other.
    connection.query_drop("INSERT INTO `t` (id) VALUES (0)").expect("inserted");
    assert_eq!(rows(&mut connection, "SELECT id FROM `t`"), ["0"]);
    assert_eq!(affected(&mut connection, "DELETE FROM `t`"), 1);
    // What a dump locks needs no lock. What was open is committed.
    connection.query_drop("BEGIN").expect("begun");
    connection.query_drop("INSERT INTO `t` (id) VALUES (1)").expect("inserted");
    connection.query_drop("LOCK TABLES `t` WRITE").expect("taken for a part of a dump");
    assert!(rows(&mut connection, "SHOW WARNINGS")[0].starts_with("Warning|1235|"));
    connection.query_drop("ROLLBACK").expect("nothing");
    assert_eq!(affected(&mut connection, "DELETE FROM `t`"), 1);
    connection.query_drop("/*!40000 ALTER TABLE `t` DISABLE KEYS */").expect("without effect");
    let note = "Note|1031|Table storage engine for 't' doesn't have this option";
    assert_eq!(rows(&mut connection, "SHOW WARNINGS"), [note]);
    let sql = "INSERT INTO `t` VALUES (1,_binary 'a\\0\\'','x','{\\\"a\\\": [1]}'),(7,NULL,NULL,NULL)";
    connection.query_drop(sql).expect("inserted");
    for sql in [
        "/*!40000 ALTER TABLE `t` ENABLE KEYS */",
        "UNLOCK TABLES",
        "/*!40101 SET SQL_MODE=@OLD_SQL_MODE */",
        "/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */",
        "/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */",
        "SET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN",
    ] {
        connection.query_drop(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    assert_eq!(
        rows(&mut connection, "SELECT id, HEX(b), s, j FROM t ORDER BY id"),
        ["1|610027|x|{\"a\": [1]}", "7|NULL|NULL|NULL"]
    );
    connection.query_drop("INSERT INTO t (b) VALUES (NULL)").expect("inserted");
    assert_eq!(rows(&mut connection, "SELECT MAX(id) FROM t"), ["8"]);
    // Others rely on locks.
    let named = |connection: &mut Conn, sql: &str, option: &str| {
        let error = connection.query_drop(sql).expect_err(sql).to_string();
        assert!(error.contains("1235") && error.contains(option), "{error}");
    };
    named(&mut connection, "LOCK TABLES t WRITE", "--skip-add-locks");
    named(&mut connection, "LOCK TABLES t READ /*!32311 LOCAL */", "--skip-lock-tables");
    named(&mut connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "--skip-lock-tables");
    named(&mut connection, "START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */", "--skip-lock-tables");
    assert_eq!(code(&mut connection, "CREATE DATABASE e ENCRYPTION='Y'"), 1064);
}
