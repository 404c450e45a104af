"""A registry in PostgreSQL, shared by several services, that goes away and comes back under load."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from adapters.sql import schema
from tests.e2e.harness import BIN, Service, environment
from tests.e2e.load import Load, Readiness
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.support.postgres import PostgresServer, running_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server of this file's own, since a test stops it."""
    with running_server() as server:
        if not server.is_own:
            pytest.skip("TEST_DATABASE_URL names a server that tests must not stop")
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database with the registry's tables."""
    with postgres.database() as url:
        schema.upgrade(url)
        yield url


def _activate(service: Service, version: str) -> httpx.Response:
    return httpx.put(f"{service.url}/api/v1/registry/models/m/{version}/activate", timeout=60)


def _readiness(service: Service) -> str | None:
    degraded: str | None = httpx.get(f"{service.url}/readyz", timeout=60).json().get("degraded")
    return degraded


def _store(tmp_path: Path, name: str) -> Store:
    store = Store(tmp_path / name, tmp_path / f"{name}-scratch")
    store.add("v1", 1)
    store.add("v2", 2)
    return store


def test_a_promotion_through_one_service_is_served_by_the_other(
    make_service: Start, database: str, tmp_path: Path
) -> None:
    first, second = (
        make_service(_store(tmp_path, name).home, OKAWARI_REGISTRY=database).ready() for name in ("a", "b")
    )
    assert second.target("v1").status_code == 200
    assert _activate(first, "v1").json()["serving"] == 1
    assert second.target("@production").status_code == 200
    with Load(second, kept=1, fresh=1) as load:
        for version in ("v2", "v1", "v2"):
            assert _activate(first, version).status_code == 200
            until(lambda version=version: second.version() == version, f"the other serves {version}")
    assert (load.failures, load.contradictions) == ([], [])
    history = httpx.get(f"{second.url}/api/v1/registry/models/m/history", timeout=60).json()["history"]
    assert [one["after"] for one in history[:3]] == [2, 1, 2]

    def served() -> set[tuple[str, int]]:
        url = f"{first.url}/api/v1/registry/models/m/history?at=2100-01-01T00:00:00Z"
        found = httpx.get(url, timeout=60).json()["served"]
        return {(one["service"].rpartition("/")[2], one["version"]) for one in found}

    until(lambda: served() == {("a", 2), ("b", 2)}, "both have told the registry what they serve")

    until(lambda: _promotions(first) == ["v1", "v2", "v1", "v2"], "each promotion is recorded once")
    assert _promotions(second) == _promotions(first)
    assert not any((service.home / "state" / "audit.jsonl").exists() for service in (first, second))
    keys = [str(service.home / "state" / "audit.pub") for service in (first, second)]
    verified = subprocess.run(
        [BIN / "okawari", "audit", "--verify", "--json", "--key", keys[0], "--key", keys[1]],
        env=environment(first.store, first.home, OKAWARI_REGISTRY=database),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, json.loads(verified.stdout)["whole"]) == (0, True), verified


def _promotions(service: Service) -> list[str]:
    records = httpx.get(f"{service.url}/api/v1/audit?model=m&limit=1000", timeout=60).json()["records"]
    return [record["after"] for record in records if record["action"] == "promotion"]


def test_a_promotion_reaches_another_service_long_before_it_would_look_by_itself(
    make_service: Start, database: str, tmp_path: Path
) -> None:
    settings = {"OKAWARI_REGISTRY": database, "OKAWARI_POLL_INTERVAL": "60"}
    first, second = (make_service(_store(tmp_path, name).home, **settings).ready() for name in ("a", "b"))
    assert _activate(first, "v1").status_code == 200
    assert second.target("@production").status_code == 200
    began = time.monotonic()
    for version in ("v2", "v1"):
        assert _activate(first, version).status_code == 200
        until(lambda version=version: second.version() == version, f"the other serves {version}")
    assert time.monotonic() - began < 30


def test_a_database_that_goes_away_and_comes_back_costs_no_request(
    make_service: Start, postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    service = make_service(_store(tmp_path, "a").home, OKAWARI_REGISTRY=database, WORKERS="2").ready()
    assert _activate(service, "v1").status_code == 200
    with Readiness(service) as readiness, Load(service) as load:
        load.reach(100)
        postgres.stop()
        until(lambda: _readiness(service) is not None, "readiness tells that the registry is away")
        # Each of the two workers finds it out by itself, and readiness is that of one.
        until(lambda: service.figure("registry_unavailable") == 1, "the figure tells it")
        refused = _activate(service, "v2")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "registry_unavailable")
        load.reach(len(load.shots) + 200)
        assert service.version() == "v1"
        postgres.start()
        until(lambda: _readiness(service) is None, "readiness tells that it is back")
        until(lambda: _activate(service, "v2").status_code == 200, "changes are taken again")
        load.sees("v2")
    assert (load.failures, load.contradictions, readiness.flaps) == ([], [], [])
    until(lambda: service.figure("registry_unavailable") == 0, "the figure tells that it is back")


def test_a_service_starts_while_the_database_is_away(
    make_service: Start, postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    postgres.stop()
    secret = make_url(database).set(password="geh@im").render_as_string(hide_password=False)
    try:
        service = make_service(_store(tmp_path, "a").home, OKAWARI_REGISTRY=secret).ready()
        assert service.version() == "v2"
        until(lambda: _readiness(service) is not None, "readiness tells that the registry is away")
        refused = _activate(service, "v1")
        assert refused.status_code == 503
        logged = "\n".join(service.lines())
        assert "the registry's last content holds" in logged
        for told in (_readiness(service) or "", refused.text, logged):
            assert not any(word in told for word in ("geh@im", "geh%40im"))
    finally:
        postgres.start()
    until(lambda: _activate(service, "v1").status_code == 200, "changes are taken")
    assert service.version() == "v1"
