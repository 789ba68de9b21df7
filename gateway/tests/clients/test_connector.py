"""MySQL Connector/Python, without its C extension: binary protocol of prepared statements, sessions, methods of authentication."""

import datetime
import decimal
import unittest

import mysql.connector
from common import HOST, PORT, USER, fresh_database
from mysql.connector import errorcode


def connect(**options):
    return mysql.connector.connect(
        **{"host": HOST, "port": PORT, "user": USER, "use_pure": True, "ssl_disabled": True, **options}
    )


class Connector(unittest.TestCase):
    def setUp(self):
        self.connection = connect()
        self.cursor = self.connection.cursor()
        fresh_database(self.cursor, "connector")

    def tearDown(self):
        self.connection.close()

    def test_prepared_statements(self):
        self.cursor.execute(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, s VARCHAR(50), d DECIMAL(8,2), f DOUBLE, b VARBINARY(20),"
            " at DATETIME, day DATE, span TIME)"
        )
        rows = [
            (
                i,
                f"name {i} é" if i % 3 else None,
                decimal.Decimal(i) / 4,
                i / 8,
                bytes([i, 0, 255]),
                datetime.datetime(2024, 1, 1, 12, 0, i, i * 1000),
                datetime.date(2024, 1, i + 1),
                datetime.timedelta(hours=i, seconds=1),
            )
            for i in range(20)
        ]
        prepared = self.connection.cursor(prepared=True)
        for row in rows:
            prepared.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        self.connection.commit()
        prepared.execute("SELECT * FROM t WHERE id >= ? AND id < ? ORDER BY id", (0, 20))
        found = [tuple(bytes(v) if isinstance(v, bytearray) else v for v in row) for row in prepared.fetchall()]
        self.assertEqual(found, rows)
        prepared.execute("UPDATE t SET s = ? WHERE id = ?", (None, 1))
        self.assertEqual(prepared.rowcount, 1)
        self.connection.commit()
        prepared.close()

    def test_transactions_and_errors(self):
        self.cursor.execute("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n INT)")
        self.connection.start_transaction()
        self.cursor.execute("INSERT INTO t (n) VALUES (5)")
        self.assertGreater(self.cursor.lastrowid, 0)
        self.assertTrue(self.connection.in_transaction)
        self.connection.rollback()
        self.assertFalse(self.connection.in_transaction)
        self.cursor.execute("SELECT COUNT(*) FROM t")
        self.assertEqual(self.cursor.fetchall(), [(0,)])
        with self.assertRaises(mysql.connector.Error) as caught:
            self.cursor.execute("SELECT * FROM missing")
        self.assertEqual(caught.exception.errno, errorcode.ER_NO_SUCH_TABLE)
        self.assertEqual(caught.exception.sqlstate, "42S02")

    def test_sessions(self):
        self.connection.cmd_reset_connection()
        self.assertIn("Uptime", self.connection.cmd_statistics())
        self.cursor.execute("CREATE USER IF NOT EXISTS connector IDENTIFIED BY 'secret'")
        self.connection.cmd_change_user(username="connector", password="secret", database="connector")
        cursor = self.connection.cursor()
        cursor.execute("SELECT CURRENT_USER(), DATABASE()")
        user, database = cursor.fetchone()
        self.assertTrue(user.startswith("connector@"))
        self.assertEqual(database, "connector")
        for method in ["mysql_native_password", "caching_sha2_password"]:
            with self.subTest(method):
                other = connect(user="connector", password="secret", auth_plugin=method)
                self.assertTrue(other.is_connected())
                other.cmd_ping()
                other.close()
        with self.assertRaises(mysql.connector.Error) as caught:
            connect(user="connector", password="wrong")
        self.assertEqual(caught.exception.errno, errorcode.ER_ACCESS_DENIED_ERROR)
        cursor.execute("DROP USER connector")

    def test_several_results_and_big_ones(self):
        self.cursor.execute("CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(1000))")
        for start in range(0, 3000, 500):
            values = ", ".join(f"({i}, '{'v' * 1000}')" for i in range(start, start + 500))
            self.cursor.execute(f"INSERT INTO t VALUES {values}")
        self.connection.commit()
        self.cursor.execute("SELECT * FROM t ORDER BY id DESC")
        rows = self.cursor.fetchall()
        self.assertEqual((len(rows), rows[0], rows[-1][0]), (3000, (2999, "v" * 1000), 0))


if __name__ == "__main__":
    unittest.main()
