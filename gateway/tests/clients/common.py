"""Where the gateway is, and a database of one's own."""

import os

HOST = "127.0.0.1"
PORT = int(os.environ["DUET_PORT"])
USER = "root"


def fresh_database(cursor, name):
    cursor.execute(f"DROP DATABASE IF EXISTS {name}")
    cursor.execute(f"CREATE DATABASE {name}")
    cursor.execute(f"USE {name}")
