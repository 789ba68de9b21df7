"""PyMySQL: text protocol, types, transactions, errors, results larger than a packet of the network."""

import datetime
import decimal
import unittest

import pymysql
import pymysql.cursors
from common import HOST, PORT, USER, fresh_database


def connect(**options):
    return pymysql.connect(host=HOST, port=PORT, user=USER, charset="utf8mb4", **options)


class PyMySQL(unittest.TestCase):
    def setUp(self):
        self.connection = connect()
        self.cursor = self.connection.cursor()
        fresh_database(self.cursor, "py")

    def tearDown(self):
        self.connection.close()

    def test_types_come_back(self):
        self.cursor.execute(
            "CREATE TABLE t (id INT PRIMARY KEY, big BIGINT UNSIGNED, d DECIMAL(20,4), f DOUBLE, s TEXT,"
            " b VARBINARY(300), day DATE, at DATETIME, span TIME, flag BOOLEAN)"
        )
        row = (
            -1,
            18446744073709551615,
            decimal.Decimal("1234567890123456.0500"),
            0.1,
            "é 💡 'quoted' \\ \n",
            bytes(range(256)),
            datetime.date(2024, 2, 29),
            datetime.datetime(2024, 12, 31, 23, 59, 59, 123456),
            datetime.timedelta(hours=100, minutes=30),
            1,
        )
        self.cursor.execute("INSERT INTO t VALUES (" + ", ".join(["%s"] * 10) + ")", row)
        self.cursor.execute("INSERT INTO t (id) VALUES (2)")
        self.cursor.execute("SELECT * FROM t ORDER BY id")
        self.assertEqual(self.cursor.fetchall(), (row, (2,) + (None,) * 9))

    def test_transactions(self):
        self.cursor.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL)")
        self.cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(i, 0) for i in range(10)])
        self.connection.rollback()
        self.cursor.execute("SELECT COUNT(*) FROM t")
        self.assertEqual(self.cursor.fetchone(), (0,))
        self.cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(i, 0) for i in range(10)])
        self.connection.commit()
        other = connect(database="py", autocommit=True)
        with other.cursor() as cursor:
            self.assertEqual(cursor.execute("UPDATE t SET n = n + 1 WHERE id IN (1, 2, 77)"), 2)
        self.cursor.execute("SELECT SUM(n) FROM t")
        self.assertEqual(self.cursor.fetchone(), (2,))
        other.close()

    def test_errors_have_the_classes_of_mysql(self):
        self.cursor.execute("CREATE TABLE t (id INT PRIMARY KEY, n TINYINT NOT NULL)")
        self.cursor.execute("INSERT INTO t VALUES (1, 1)")
        for statement, kind, code in [
            ("INSERT INTO t VALUES (1, 1)", pymysql.err.IntegrityError, 1062),
            ("INSERT INTO t VALUES (2, NULL)", pymysql.err.IntegrityError, 1048),
            ("INSERT INTO t VALUES (2, 300)", pymysql.err.DataError, 1264),
            ("SELECT * FROM missing", pymysql.err.ProgrammingError, 1146),
            ("SELECT missing FROM t", pymysql.err.OperationalError, 1054),
            ("SELEC 1", pymysql.err.ProgrammingError, 1064),
            ("CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = 1", pymysql.err.MySQLError, None),
        ]:
            with self.subTest(statement), self.assertRaises(kind) as caught:
                self.cursor.execute(statement)
            if code:
                self.assertEqual(caught.exception.args[0], code)
        with self.assertRaises(pymysql.err.OperationalError) as caught:
            connect(password="wrong")
        self.assertEqual(caught.exception.args[0], 1045)

    def test_big_results_come_whole_and_row_by_row(self):
        self.cursor.execute("CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(200) NOT NULL)")
        for start in range(0, 20000, 1000):
            rows = [(i, f"{i:0200d}") for i in range(start, start + 1000)]
            self.cursor.executemany("INSERT INTO t VALUES (%s, %s)", rows)
            self.connection.commit()
        self.cursor.execute("SELECT id, s FROM t ORDER BY id")
        self.assertEqual(self.cursor.fetchall(), tuple((i, f"{i:0200d}") for i in range(20000)))
        stream = self.connection.cursor(pymysql.cursors.SSCursor)
        stream.execute("SELECT id FROM t")
        self.assertEqual(sorted(row[0] for row in stream), list(range(20000)))
        stream.close()
        long = "x" * (15 << 20)
        self.cursor.execute("SELECT LENGTH(%s), %s", (long, "end"))
        self.assertEqual(self.cursor.fetchone(), (15 << 20, "end"))

    def test_kill_and_process_list(self):
        other = connect()
        self.cursor.execute("SHOW PROCESSLIST")
        numbers = [row[0] for row in self.cursor.fetchall()]
        self.assertIn(other.thread_id(), numbers)
        self.connection.kill(other.thread_id())
        with self.assertRaises(pymysql.err.MySQLError):
            with other.cursor() as cursor:
                cursor.execute("SELECT 1")
        self.connection.ping()


if __name__ == "__main__":
    unittest.main()
