"""SQLAlchemy over PyMySQL: tables from classes, sessions, queries of its own making, reflection."""

import datetime
import decimal
import unittest

import sqlalchemy as sa
from common import HOST, PORT, USER
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

URL = f"mysql+pymysql://{USER}@{HOST}:{PORT}/"


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    __table_args__ = (
        sa.UniqueConstraint("code", name="one_code"),
        sa.Index("by_price", "price"),
        {"mysql_engine": "ndbcluster", "comment": "things to sell"},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(20), nullable=False, comment="how it's called")
    name: Mapped[str | None] = mapped_column(sa.String(50))
    price: Mapped[decimal.Decimal] = mapped_column(sa.Numeric(10, 2), nullable=False)
    added: Mapped[datetime.datetime | None] = mapped_column(sa.DateTime)


class SQLAlchemy(unittest.TestCase):
    def setUp(self):
        with sa.create_engine(URL).connect() as connection:
            connection.execute(sa.text("DROP DATABASE IF EXISTS alchemy"))
            connection.execute(sa.text("CREATE DATABASE alchemy"))
        self.engine = sa.create_engine(URL + "alchemy", pool_pre_ping=True)
        Base.metadata.create_all(self.engine)

    def tearDown(self):
        self.engine.dispose()

    def add(self, session, count):
        session.add_all(
            Item(
                code=f"c{i}",
                name=f"item {i}" if i % 2 else None,
                price=decimal.Decimal(i) + decimal.Decimal("0.25"),
                added=datetime.datetime(2024, 1, 1, 0, 0, i),
            )
            for i in range(count)
        )

    def test_objects_are_written_read_changed_and_deleted(self):
        with Session(self.engine) as session:
            self.add(session, 20)
            session.commit()
            self.assertEqual(session.scalar(sa.select(sa.func.count()).select_from(Item)), 20)
            item = session.scalars(sa.select(Item).where(Item.code == "c7")).one()
            self.assertEqual((item.name, item.price), ("item 7", decimal.Decimal("7.25")))
            item.name = "another"
            session.commit()
            session.delete(session.get(Item, item.id))
            session.commit()
            cheap = sa.select(Item.code).where(Item.price < 3).order_by(Item.price.desc()).limit(2)
            self.assertEqual(session.scalars(cheap).all(), ["c2", "c1"])
            some = sa.select(Item.code).where(Item.code.in_(["c1", "c7", "c9"])).order_by(Item.code)
            self.assertEqual(session.scalars(some).all(), ["c1", "c9"])

    def test_transactions(self):
        with Session(self.engine) as session:
            self.add(session, 3)
            session.flush()
            session.rollback()
            self.assertEqual(session.scalars(sa.select(Item)).all(), [])
        with self.assertRaises(IntegrityError), Session(self.engine) as session:
            session.add_all([Item(code="same", price=1), Item(code="same", price=2)])
            session.commit()
        with Session(self.engine) as session:
            session.add(Item(code="kept", price=1))
            for code in ["kept", "second"]:
                try:
                    with session.begin_nested():
                        session.add(Item(code=code, price=2))
                except IntegrityError:
                    self.assertEqual(code, "kept")
            nested = session.begin_nested()
            session.query(Item).update({Item.price: 9})
            nested.rollback()
            session.commit()
            prices = session.execute(sa.select(Item.code, Item.price).order_by(Item.code)).all()
            self.assertEqual([tuple(row) for row in prices], [("kept", 1), ("second", 2)])
        with self.engine.connect() as connection, self.assertRaises(ProgrammingError):
            connection.execute(sa.text("SELECT * FROM missing"))

    def test_upserts(self):
        from sqlalchemy.dialects.mysql import insert

        statement = insert(Item.__table__).values(id=5, code="c", name="first", price=1)
        with self.engine.begin() as connection:
            connection.execute(statement)
            connection.execute(statement.on_duplicate_key_update(name="second"))
            self.assertEqual(connection.execute(sa.select(Item.name).where(Item.id == 5)).scalar(), "second")

    def test_reflection(self):
        inspector = sa.inspect(self.engine)
        self.assertIn("alchemy", inspector.get_schema_names())
        self.assertEqual(inspector.get_table_names(), ["items"])
        self.assertTrue(inspector.has_table("items"))
        self.assertFalse(inspector.has_table("missing"))
        columns = {column["name"]: column for column in inspector.get_columns("items")}
        self.assertEqual(list(columns), ["id", "code", "name", "price", "added"])
        self.assertIsInstance(columns["code"]["type"], sa.String)
        self.assertEqual((columns["price"]["type"].precision, columns["price"]["type"].scale), (10, 2))
        self.assertFalse(columns["code"]["nullable"])
        self.assertTrue(columns["name"]["nullable"])
        self.assertTrue(columns["id"]["autoincrement"])
        self.assertEqual((columns["code"]["comment"], columns["name"]["comment"]), ("how it's called", None))
        self.assertEqual(inspector.get_pk_constraint("items")["constrained_columns"], ["id"])
        indexes = {index["name"]: (index["column_names"], index["unique"]) for index in inspector.get_indexes("items")}
        self.assertEqual(indexes, {"one_code": (["code"], True), "by_price": (["price"], False)})
        self.assertEqual(inspector.get_foreign_keys("items"), [])
        self.assertEqual(inspector.get_table_comment("items"), {"text": "things to sell"})
        table = sa.Table("items", sa.MetaData(), autoload_with=self.engine)
        self.assertEqual([column.name for column in table.primary_key], ["id"])


if __name__ == "__main__":
    unittest.main()
