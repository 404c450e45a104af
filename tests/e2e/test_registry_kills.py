"""The service, or a command, is killed in a change of production: what is production serves after a start.

Every step of every change is in `tests/registry/test_registry_kills.py`; here are real processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.sql import schema
from tests.e2e.harness import BIN, ROOT, Service, environment
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stops import PROMOTION, Stops
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.support.postgres import running_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_MODEL = "/api/v1/registry/models/m"
#: Between the record and the target, and between the switch and what is kept of it.
_EVERYDAY = ("after-record", "before-audit")
#: The first that is remembered of an activation is the note that it begins.
_BEFORE_THE_RECORD = ("before-record", "before-remember", "after-remember")


@pytest.fixture
def registries(kind: str, tmp_path: Path) -> Iterator[Iterator[dict[str, str]]]:
    """The settings of empty registries."""
    with ExitStack() as held:
        server = held.enter_context(running_server()) if kind == "postgresql" else None

        def each() -> Iterator[dict[str, str]]:
            for number in count():
                if kind == "file":
                    yield {}
                    continue
                url = f"sqlite:///{tmp_path}/{number}.db"
                url = held.enter_context(server.database()) if server else url
                schema.upgrade(url)
                yield {"OKAWARI_REGISTRY": url}

        yield each()


def _activate(service: Service, version: str) -> None:
    """Activate a version; nobody answers where the service is killed meanwhile."""
    with suppress(httpx.TransportError):
        answer = httpx.put(f"{service.url}{_MODEL}/{version}/activate", timeout=60)
        assert answer.status_code == 200, answer.text


def _okawari(service: Service, settings: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=ROOT,
        env=environment(service.store, service.home, **settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def _kill(service: Service) -> None:
    os.killpg(service.master.pid, signal.SIGKILL)
    for pid in service.children():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    service.ended()
    until(service.gone, "no worker is left")


def _production(service: Service) -> list[str]:
    found = httpx.get(f"{service.url}{_MODEL.rpartition('/')[0]}?status=production", timeout=60).json()[
        "models"
    ]
    return [f"v{entry['version']}" for entry in found]


def _audited(service: Service, action: str) -> list[Any]:
    """The versions of the records of one kind."""
    records = httpx.get(f"{service.url}/api/v1/audit?model=m&limit=1000", timeout=60).json()["records"]
    return [one["after"] for one in records if one["action"] == action]


def _wait_for_the_start(service: Service) -> None:
    """Wait for the records that are no step of the activation: of the imports, and of the first switch."""
    until(lambda: sorted(_audited(service, "import")) == ["v1", "v2"], "both imports are in the log")
    until(lambda: _served(service) == ["v2"], "the first switch is recorded")


def _served(service: Service) -> list[str | None]:
    """Which version answers now, as the registry has it."""
    moment = datetime.now(UTC).isoformat()
    found = httpx.get(f"{service.url}{_MODEL}/history", params={"at": moment}, timeout=60)
    return [f"v{one['version']}" for one in found.json().get("served", ())]


def _check_audit(service: Service, settings: dict[str, str]) -> None:
    """Every activation is in the audit log, in its order, once; and the log verifies."""
    history = httpx.get(f"{service.url}{_MODEL}/history?limit=1000", timeout=60).json()["history"]
    made = [f"v{one['after']}" for one in reversed(history) if one["action"] == "activate"]

    until(lambda: _audited(service, "promotion") == made, "all activations are in the log")
    verified = _okawari(service, settings, str(BIN / "okawari"), "audit", "--verify")
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        ("file", _EVERYDAY),
        *(
            pytest.param(kind, PROMOTION, marks=[pytest.mark.full, pytest.mark.timeout(1800)])
            for kind in ("file", "sqlite", "postgresql")
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else str(len(value)),
)
def test_a_service_killed_in_an_activation_comes_back_with_what_is_production(
    make_service: Start, tmp_path: Path, registries: Iterator[dict[str, str]], steps: tuple[str, ...]
) -> None:
    for number, step in enumerate(steps):
        registry = next(registries)
        store = Store(tmp_path / f"home{number}", tmp_path / f"scratch{number}")
        store.add("v1", 1)
        store.add("v2", 2)
        stops = Stops(tmp_path / f"stops{number}")
        stopping = {"serve": "tests.e2e.stopping_service:Okawari", "TEST_STOPS": str(stops.folder)}
        service = make_service(store.home, WORKERS="1", **stopping, **registry).ready()
        _wait_for_the_start(service)
        (stops.folder / f"{step}.SIGSTOP").touch()
        with ThreadPoolExecutor(1) as threads:
            sent = threads.submit(_activate, service, "v1")
            stops.reached(step)
            _kill(service)
            sent.result()
        service = make_service(store.home, **registry).ready()
        made = step not in _BEFORE_THE_RECORD
        assert _production(service) == (["v1"] if made else [])
        assert (service.version(), service.model()["target"]) == (
            ("v1", "@production") if made else ("v2", "latest")
        )
        _check_audit(service, registry)
        _kill(service)


@pytest.mark.parametrize(
    ("kind", "stride"),
    [
        ("file", 17),
        *(
            pytest.param(kind, 1, marks=[pytest.mark.full, pytest.mark.timeout(1800)])
            for kind in ("file", "sqlite", "postgresql")
        ),
    ],
)
def test_a_command_killed_in_a_promotion_leaves_one_production_version_that_serves(
    make_service: Start, store: Store, registries: Iterator[dict[str, str]], stride: int
) -> None:
    registry = next(registries)
    store.add("v1", 1)
    store.add("v2", 2)
    service = make_service(store.home, **registry).ready()
    _activate(service, "v1")
    production = "v1"
    for step in range(1 + stride // 2, 1000, stride):
        version = "v2" if production == "v1" else "v1"
        words = [str(step), "promote", "m", version, "--yes"]
        ended = _okawari(service, registry, sys.executable, "-m", "tests.e2e.killed_command", *words)
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
        (found,) = _production(service)
        assert found in (production, version)
        production = found
        service.serves(production)
        if ended.returncode == 0:
            break
    assert step > 30
    _kill(service)
    service = make_service(store.home, **registry).ready()
    assert [service.version()] == _production(service) == [version]
    _check_audit(service, registry)
