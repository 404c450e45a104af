"""The registry's database: migrations with data, the rules that the database itself keeps, no passwords."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from adapters.registries import open_registry
from adapters.sql import schema
from adapters.sql.change_hints import ChangeHints
from adapters.sql.database import Database
from adapters.sql.lineage_tables import TABLES as LINEAGE
from adapters.sql.tables import METADATA
from registry.audit import AuditedDecision
from registry.entries import By, Switch
from registry.errors import RegistryUnavailable
from registry.model_registry import ModelRegistry
from tests.registry.audit_logs import Place, close_all, opened, verified

ANN = By(actor="ann", reason="better boxes")
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
_END_LISTENERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = current_database() AND query LIKE 'LISTEN%'"
)
#: Each revision with the tables that it brings.
REVISIONS = {
    "0001": {"registry_revision", "registry_versions", "registry_aliases", "registry_changes"},
    "0002": {"registry_switches"},
    "0003": {"audit_records"},
    "0004": {table.name for table in LINEAGE},
}


@pytest.fixture
def database(empty_database: str) -> Iterator[Database]:
    """A database with the tables of this release."""
    schema.upgrade(empty_database)
    made = Database(empty_database)
    yield made
    made.close()


def _fill(url: str, folder: Path) -> None:
    with closing(open_registry(url)) as registry:
        for version in (1, 2):
            registry.register("m", version, f"models/m/v{version}", digest=f"sha256:{version}", by=ANN)
        registry.activate("m", 1, ANN)
        registry.activate("m", 2, ANN)
        registry.set_alias("m", "canary", 1, ANN)
        registry.record_switch(Switch(model_name="m", number=1, version="v2", time=NOON))
    opened(Place(folder, url)).record(AuditedDecision("promotion", "m", "ann", after="v2"))
    close_all()


def _content(registry: ModelRegistry) -> object:
    return registry.list(), registry.history("m"), registry.pointers()


def _tables(url: str) -> set[str]:
    with closing(Database(url)) as database, database.reading() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


@pytest.mark.slow
def test_each_migration_goes_down_and_up_again_and_leaves_what_is_not_its_own(
    empty_database: str, tmp_path: Path
) -> None:
    assert schema.upgrade(empty_database) == schema.SchemaState("0004", "0004")
    _fill(empty_database, tmp_path)
    with closing(open_registry(empty_database)) as registry:
        before = _content(registry)
        left = set().union(*REVISIONS.values())
        for below, revision in (("0003", "0004"), ("0002", "0003"), ("0001", "0002")):
            assert schema.downgrade(empty_database, below).current == below
            left -= REVISIONS[revision]
            assert _tables(empty_database) == left
            assert _content(registry) == before
        schema.upgrade(empty_database)
        assert _content(registry) == before
        assert registry.served_at("m", NOON) == ()
        assert registry.rollback("m", ANN).entry.version == "v1"
    assert schema.downgrade(empty_database, "base").current is None
    assert _tables(empty_database) == set()
    assert schema.upgrade(empty_database).is_current
    (tmp_path / "second").mkdir()
    _fill(empty_database, tmp_path / "second")
    assert verified(Place(tmp_path / "second", empty_database)).sequence == 2
    close_all()


def test_the_migrations_make_the_tables_that_the_program_expects(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_the_database_itself_refuses_a_second_production_version(
    database: Database, empty_database: str, tmp_path: Path
) -> None:
    _fill(empty_database, tmp_path)
    with pytest.raises(IntegrityError), database.engine.begin() as connection:
        connection.execute(text("UPDATE registry_versions SET status = 'production' WHERE version = 'v1'"))
    with pytest.raises(IntegrityError), database.engine.begin() as connection:
        connection.execute(text("UPDATE registry_versions SET status = 'best' WHERE version = 'v1'"))
    with database.engine.begin() as connection:  # of another model, or in another status, it is none
        connection.execute(text("UPDATE registry_versions SET status = 'archived' WHERE version = 'v1'"))


@pytest.mark.parametrize("statement", ["UPDATE audit_records SET record = '{}'", "DELETE FROM audit_records"])
def test_the_database_itself_refuses_to_change_the_audit_log(
    database: Database, empty_database: str, tmp_path: Path, statement: str
) -> None:
    _fill(empty_database, tmp_path)
    with pytest.raises(DBAPIError, match="never changed"), database.engine.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize("password", ["geheim", "ge@h:e/im", "ge heim%"])
def test_no_message_shows_a_password(password: str) -> None:
    named = make_url("postgresql://ann@127.0.0.1:9/registry")
    url = named.set(password=password).render_as_string(hide_password=False)
    for ask in (
        lambda: open_registry(url).pointers(),
        lambda: schema.check(url),
        lambda: schema.upgrade(url),
    ):
        with pytest.raises(RegistryUnavailable) as caught:
            ask()
        shown = "".join(str(error) for error in (caught.value, caught.value.__cause__) if error)
        assert "127.0.0.1" in shown
        assert password not in shown
        assert url not in shown


@pytest.mark.process
@pytest.mark.timeout(60)
def test_a_change_is_hinted_at_once_also_after_the_connection_was_lost(postgresql_place: str) -> None:
    hinted = threading.Event()
    hints = ChangeHints(postgresql_place, hinted.set, retry=0.01)
    hints.start()
    assert hinted.wait(20), "it listens"
    with (
        closing(open_registry(postgresql_place)) as registry,
        closing(Database(postgresql_place)) as database,
    ):
        for version in (1, 2):
            hinted.clear()
            registry.register("m", version, f"models/m/{version}")
            assert hinted.wait(20), "the change is told"
            hinted.clear()
            with database.engine.begin() as connection:
                assert connection.execute(text(_END_LISTENERS)).all() == [(True,)]
            assert hinted.wait(20), "it listens again, and what it may have missed is looked at"
    hints.stop(20)
    assert not any(thread.name == "okawari-hints" for thread in threading.enumerate())
