"""The migrations of the records' tables with data in all of them, and the role that only reads."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, Table, create_engine, insert, inspect, make_url, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from adapters.sql import schema
from adapters.sql.database import RECORDS, Database
from adapters.sql.lineage_tables import ANNOTATIONS, DATASETS, TABLES, TOKENS
from adapters.sql.reader_role import make_reader, scram
from adapters.sql.sql_devices import SqlDevices
from adapters.sql.sql_rates import SqlRateLimit
from adapters.sql.sql_records import SqlRecords
from hotswap.errors import BadRequest, Conflict
from lineage.rate_limit import Rate
from tests.support.captures import NOON, a_capture, a_record, something
from tests.support.postgres import PostgresServer, running_server

READER = "okawari_test_reader"
ROLE = {"role": READER}
READABLE = [table for table in TABLES if table is not TOKENS]


def _fill(url: str) -> None:
    """Some rows in each table, as the service and a data scientist write them."""
    with closing(SqlRecords(url)) as records:
        for number in (1, 2):
            saved = records.save(a_record(a_capture(number), found=(something(), something())))
        SqlDevices(records.database).add("cam-2", "gate", f"{uuid4().hex}{uuid4().hex}", NOON)
        SqlRateLimit(records.database, Rate(1, 5)).take("cam-1")
        records.hold("retention", "a", 60)
        records.note_metrics(datetime.now(UTC), {"queue": (3.0, {"service": "a"})})
        with records.database.writing() as connection:
            row = {"id": uuid4(), "annotation_type": "wrong_label", "annotated_at": NOON}
            where = {"image_id": saved.image_id, "detection_id": saved.found[0].id}
            connection.execute(insert(ANNOTATIONS).values(row | where))
            tag = {"dataset": "d", "image_id": saved.image_id, "added_at": NOON}
            connection.execute(insert(DATASETS).values(tag))


def _rows(url: str, tables: list[Table] | tuple[Table, ...] = TABLES) -> dict[str, list[Any]]:
    with closing(Database(url, RECORDS)) as database, database.reading() as connection:
        return {table.name: sorted(map(str, connection.execute(select(table)))) for table in tables}


def test_up_down_and_up_with_rows_in_all_tables(empty_database: str) -> None:
    assert schema.upgrade(empty_database, purpose=RECORDS).is_current
    _fill(empty_database)
    before = _rows(empty_database)
    assert all(before.values()), "each table has rows"
    assert schema.upgrade(empty_database, purpose=RECORDS).is_current
    assert _rows(empty_database) == before, "what is up to date stays as it is"
    assert schema.downgrade(empty_database, "0003", RECORDS).current == "0003"
    with closing(Database(empty_database, RECORDS)) as database, database.reading() as connection:
        assert not set(before) & set(inspect(connection).get_table_names())
    assert schema.upgrade(empty_database, purpose=RECORDS).is_current
    assert not any(_rows(empty_database).values())
    _fill(empty_database)
    assert all(_rows(empty_database).values())
    assert schema.downgrade(empty_database, "base", RECORDS).current is None


def test_a_failed_migration_speaks_of_the_records(database_url: str) -> None:
    with pytest.raises(RECORDS.unavailable, match="the database of the records"):
        schema.upgrade(database_url, "9999", RECORDS)
    assert schema.check(database_url, RECORDS).is_current


@pytest.fixture
def server(postgres: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database with rows in all tables; the reader goes with it."""
    with postgres.database() as url:
        schema.upgrade(url, purpose=RECORDS)
        _fill(url)
        yield url
        with closing(Database(url, RECORDS)) as database, database.engine.begin() as connection:
            if connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), ROLE).first():
                connection.execute(text(f"DROP OWNED BY {READER}"))
                connection.execute(text(f"DROP ROLE {READER}"))


@contextmanager
def _as_reader(url: str) -> Iterator[Engine]:
    """Connections of the reader; where the server asks for a password, with it."""
    reader = make_url(url).set(drivername="postgresql+psycopg", username=READER, password="geheim-1")
    engine = create_engine(reader, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def _refused(engine: Engine, statement: str) -> str:
    """What the database says to a statement, after the reader has switched its read-only mode off."""
    with engine.connect() as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        with pytest.raises(DBAPIError) as refused:
            connection.execute(text(statement))
        return str(refused.value.orig)


@pytest.mark.process
class TestReader:
    def test_it_reads_every_table_but_the_tokens(self, server: str) -> None:
        make_reader(server, READER, "geheim-1")
        with _as_reader(server) as reader, reader.connect() as connection:
            read = {one.name: sorted(map(str, connection.execute(select(one)))) for one in READABLE}
            assert read == _rows(server, READABLE)
            with pytest.raises(ProgrammingError, match="permission denied for table device_tokens"):
                connection.execute(select(TOKENS))

    @pytest.mark.parametrize("table", [one.name for one in TABLES])
    def test_it_writes_no_table(self, server: str, table: str) -> None:
        make_reader(server, READER, None)
        before = _rows(server)
        column = next(iter(_table(table).columns)).name
        with _as_reader(server) as reader:
            for statement in (
                f"INSERT INTO {table} SELECT * FROM {table} LIMIT 0",  # noqa: S608 - a name of ours
                f"UPDATE {table} SET {column} = NULL",  # noqa: S608
                f"DELETE FROM {table}",  # noqa: S608
                f"TRUNCATE {table} CASCADE",
                f"DROP TABLE {table} CASCADE",
                f"ALTER TABLE {table} ADD COLUMN x integer",
            ):
                said = _refused(reader, statement)
                assert "permission denied" in said or "must be owner" in said
        assert _rows(server) == before

    def test_it_creates_nothing(self, server: str) -> None:
        make_reader(server, READER, None)
        with _as_reader(server) as reader:
            for statement in (
                "CREATE TABLE mine (x integer)",
                "CREATE SCHEMA mine",
                "CREATE ROLE mine",
                "CREATE VIEW mine AS SELECT 1",
                f"ALTER ROLE {READER} SUPERUSER",
            ):
                assert "permission denied" in _refused(reader, statement)

    def test_it_reads_what_later_migrations_make_and_still_no_tokens(self, server: str) -> None:
        make_reader(server, READER, None)
        schema.downgrade(server, "0003", RECORDS)
        schema.upgrade(server, purpose=RECORDS)
        _fill(server)
        with closing(Database(server, RECORDS)) as database, database.engine.begin() as connection:
            connection.execute(text("CREATE TABLE of_a_later_release AS SELECT 7 AS x"))
        with _as_reader(server) as reader, reader.connect() as connection:
            assert len(connection.execute(text("SELECT * FROM images")).all()) == 2
            assert connection.execute(text("SELECT x FROM of_a_later_release")).scalar_one() == 7
            with pytest.raises(ProgrammingError, match="permission denied"):
                connection.execute(select(TOKENS))

    def test_run_again_it_changes_the_password(self, server: str) -> None:
        make_reader(server, READER, "first")
        first = _kept_password(server)
        make_reader(server, READER, "second")
        second = _kept_password(server)
        make_reader(server, READER, None)
        assert _kept_password(server) == second != first
        for kept, password in ((first, "first"), (second, "second")):
            assert kept.startswith("SCRAM-SHA-256$4096:")
            assert kept == scram(password, _salt(kept))

    @pytest.mark.parametrize(
        "grant",
        ["ALTER ROLE {} CREATEDB", "GRANT INSERT ON images TO {}", "GRANT CREATE ON SCHEMA public TO {}"],
    )
    def test_a_role_that_may_write_is_no_reader(self, server: str, grant: str) -> None:
        with closing(Database(server, RECORDS)) as database:
            with database.engine.begin() as connection:
                connection.execute(text(f"CREATE ROLE {READER}"))
                connection.execute(text(grant.format(READER)))
            with pytest.raises(Conflict):
                make_reader(server, READER, "geheim-1")
            with database.engine.begin() as connection:
                login = text("SELECT rolcanlogin FROM pg_roles WHERE rolname = :role")
                assert connection.execute(login, ROLE).scalar_one() is False, "nothing was changed"

    def test_names_and_passwords_that_cannot_be_are_refused(self, server: str) -> None:
        for role, password in (('x"y', None), ("Upper", None), ("x" * 64, None), (READER, "ü"), (READER, "")):
            with pytest.raises(BadRequest):
                make_reader(server, role, password)


@pytest.mark.process
@pytest.mark.timeout(90)
def test_a_server_that_asks_for_the_password_lets_the_reader_in_with_it() -> None:
    with running_server() as own, own.database() as url:
        if not own.is_own:
            pytest.skip("the rules of the server of TEST_DATABASE_URL are not ours to change")
        schema.upgrade(url, purpose=RECORDS)
        make_reader(url, READER, "geheim-1")
        own.stop()
        own.ask_for_passwords(READER)
        own.start()
        with _as_reader(url) as reader, reader.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM images")).scalar_one() == 0
        make_reader(url, READER, "another")
        with _as_reader(url) as reader, pytest.raises(DBAPIError, match="password authentication failed"):
            reader.connect()


def _table(name: str) -> Table:
    return next(table for table in TABLES if table.name == name)


def _kept_password(url: str) -> str:
    with closing(Database(url, RECORDS)) as database, database.reading() as connection:
        query = text("SELECT rolpassword FROM pg_authid WHERE rolname = :role")
        return str(connection.execute(query, ROLE).scalar_one())


def _salt(kept: str) -> bytes:

    return b64decode(kept.split(":")[1].partition("$")[0])
