"""`okawari db` and `okawari device` on the database of the records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.sql import schema
from adapters.sql.database import RECORDS, Database
from adapters.sql.sql_devices import SqlDevices
from lineage.device_tokens import DeviceTokens
from lineage.devices import token_hash
from tests.cli.conftest import Okawari
from tests.support.databases import POSTGRESQL, postgres, postgresql_place, postgresql_template
from tests.support.postgres import PostgresServer

__all__ = ["postgres", "postgresql_place", "postgresql_template"]


@pytest.fixture
def embedded(home: Path) -> str:
    """The URL that holds without any setting."""
    return f"sqlite:///{home}/records.db"


class TestDatabases:
    def test_without_settings_it_is_the_file_in_the_home(
        self, okawari: Okawari, home: Path, embedded: str
    ) -> None:
        for words in (("db", "check"), ("db", "downgrade", "base")):
            assert "nothing yet" in okawari(*words).stdout
        assert not (home / "records.db").exists()
        assert "records, sqlite:" in okawari("db", "upgrade").stdout
        assert schema.check(embedded, RECORDS).is_current
        assert "as needed" in okawari("db", "check").stdout
        assert "0003" in okawari("db", "downgrade", "0003").stdout
        assert "okawari db upgrade" in okawari("db", "check", exit_code=1).stderr

    @pytest.mark.slow
    def test_two_databases_are_both_brought_up_and_named(
        self, okawari: Okawari, tmp_path: Path, embedded: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = f"sqlite:///{tmp_path}/registry.db"
        monkeypatch.setenv("OKAWARI_REGISTRY", registry)
        lines = okawari("db", "upgrade").stdout.splitlines()
        assert [line.partition(",")[0] for line in lines] == ["registry", "records"]
        assert schema.check(registry).is_current
        assert len(okawari("db", "check").stdout.splitlines()) == 2
        okawari("db", "downgrade", "0003", "--only", "registry")
        assert schema.check(registry).current == "0003"
        assert schema.check(embedded, RECORDS).is_current
        refused = okawari("db", "check", exit_code=1)
        assert "registry" in refused.stderr
        assert "records" in refused.stdout
        okawari("db", "check", "--only", "records")
        okawari("db", "check", "--only", "registry", exit_code=1)

    def test_one_database_for_both_is_done_once(
        self, okawari: Okawari, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("OKAWARI_REGISTRY", "OKAWARI_DATABASE"):
            monkeypatch.setenv(name, f"sqlite:///{tmp_path}/all.db")
        (line,) = okawari("db", "upgrade").stdout.splitlines()
        assert line.startswith("registry and records")

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("mysql://u:geheim@h/x", "OKAWARI_DATABASE"),
            ("postgresql://u:geheim@h:port/x", "cannot be read"),
            ("postgresql://u:geheim@127.0.0.1:9/x", "127.0.0.1"),
        ],
    )
    @pytest.mark.parametrize(
        "words", [("db", "check"), ("db", "upgrade"), ("device", "list"), ("db", "reader", "r")]
    )
    def test_a_database_that_cannot_be_used_is_said_without_its_password(
        self, okawari: Okawari, monkeypatch: pytest.MonkeyPatch, url: str, shown: str, words: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("OKAWARI_DATABASE", url)
        output = okawari(*words, exit_code=1).output
        assert shown in output
        assert "geheim" not in output

    def test_sqlite_has_no_readers(self, okawari: Okawari) -> None:
        assert "mode=ro" in okawari("db", "reader", "science", exit_code=1).stderr

    def test_the_statements_for_a_reader_are_shown_without_the_password(
        self, okawari: Okawari, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OKAWARI_DATABASE", "postgresql://u:geheim@127.0.0.1:9/birds")
        monkeypatch.setenv("READER", "secret")
        words = ("db", "reader", "science", "--dry-run")
        shown = okawari(*words, "--password-from-env", "READER").stdout
        assert "CREATE ROLE \"science\" LOGIN PASSWORD '***';" in shown
        assert "secret" not in shown
        assert "device_tokens" not in shown
        assert "PASSWORD" not in okawari(*words).stdout
        assert "NONE" in okawari(*words, "--password-from-env", "NONE", exit_code=1).stderr
        okawari("db", "reader", 'x"; DROP', "--dry-run", exit_code=1)

    @pytest.mark.process
    def test_a_reader_is_made_on_postgresql(
        self, okawari: Okawari, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("READER", "secret")
        with postgres.database() as url:
            monkeypatch.setenv("OKAWARI_DATABASE", url)
            refused = okawari("db", "reader", "okawari_cli_reader", exit_code=1)
            assert "okawari db upgrade" in refused.stderr
            okawari("db", "upgrade")
            for _ in range(2):
                okawari("db", "reader", "okawari_cli_reader", "--password-from-env", "READER")
            assert "may write" in okawari("db", "reader", "postgres", exit_code=1).stderr
            with closing(Database(url, RECORDS)) as database, database.engine.begin() as connection:
                connection.exec_driver_sql("DROP OWNED BY okawari_cli_reader")
                connection.exec_driver_sql("DROP ROLE okawari_cli_reader")


class TestDevices:
    @pytest.fixture(params=["sqlite", POSTGRESQL], autouse=True)
    def devices(
        self,
        request: pytest.FixtureRequest,
        okawari: Okawari,
        embedded: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[SqlDevices]:
        """What the service sees; SQLite needs no step by hand."""
        url = embedded
        if request.param == "postgresql":
            url = str(request.getfixturevalue("postgresql_place"))
            monkeypatch.setenv("OKAWARI_DATABASE", url)
        database = Database(url, RECORDS)
        yield SqlDevices(database)
        database.close()

    def test_a_token_is_printed_once_and_works(self, okawari: Okawari, devices: SqlDevices) -> None:
        added = okawari("device", "add", "cam-1", "--name", "north gate")
        token = added.stdout.strip()
        assert len(token) == 43
        assert token not in added.stderr
        assert DeviceTokens({}, devices).device_of(token) == "cam-1"
        listed = okawari("device", "list")
        assert "north gate" in listed.stdout
        assert token not in listed.output
        assert token_hash(token) not in listed.output
        assert "rotate" in okawari("device", "add", "cam-1", exit_code=1).stderr

    def test_rotation_keeps_the_token_before_for_the_grace_time(
        self, okawari: Okawari, devices: SqlDevices
    ) -> None:
        first = okawari("device", "add", "cam-1").stdout.strip()
        second = okawari("device", "rotate", "cam-1").stdout.strip()
        assert [DeviceTokens({}, devices).device_of(one) for one in (first, second)] == ["cam-1"] * 2
        tomorrow = datetime.now(UTC) + timedelta(hours=24, minutes=1)
        late = DeviceTokens({}, devices, clock=lambda: tomorrow)
        assert [late.device_of(one) for one in (first, second)] == [None, "cam-1"]
        third = okawari("device", "rotate", "cam-1", "--grace", "0").stdout.strip()
        known = DeviceTokens({}, devices)
        assert [known.device_of(one) for one in (first, second, third)] == [None, None, "cam-1"]
        okawari("device", "rotate", "cam-1", "--grace", "-1", exit_code=2)

    def test_a_disabled_device_is_refused_until_it_is_enabled(
        self, okawari: Okawari, devices: SqlDevices
    ) -> None:
        token = okawari("device", "add", "cam-1").stdout.strip()
        okawari("device", "disable", "cam-1")
        assert DeviceTokens({"cam-1": "static"}, devices).device_of("static") is None
        assert DeviceTokens({}, devices).device_of(token) is None
        (entry,) = json.loads(okawari("device", "list", "--json").stdout)["devices"]
        assert entry["disabled_at"]
        assert (entry["device_id"], entry["tokens"], entry["last_seen"]) == ("cam-1", 1, None)
        okawari("device", "enable", "cam-1")
        assert DeviceTokens({}, devices).device_of(token) == "cam-1"

    def test_what_cannot_be_is_refused(self, okawari: Okawari) -> None:
        for words in (
            ("add", "../etc"),
            ("add", ".hidden"),
            ("rotate", "no"),
            ("disable", "no"),
            ("enable", "no"),
        ):
            assert "okawari:" in okawari("device", *words, exit_code=1).stderr
        assert len(okawari("device", "list").stdout.splitlines()) == 1


def test_each_command_shows_examples(okawari: Okawari) -> None:
    for words in (
        ("device",),
        *(("device", name) for name in ("add", "list", "rotate", "disable", "enable")),
    ):
        assert f"okawari {' '.join(words)}" in okawari(*words, "--help").stdout.partition("Examples:")[2]
    assert "okawari db" in okawari("db", "reader", "--help").stdout.partition("Examples:")[2]
