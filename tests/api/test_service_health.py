"""`GET /health`: what it says of models and dependencies, in time, and nothing piles up behind a hang."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.registries import open_registry
from api.probe import FRESH, DependencyState, Probe
from api.service_health import PATIENCE, Dependency, HealthSources, ServiceHealth
from hotswap.desired import seed
from hotswap.errors import StateUnavailable
from hotswap.status import StateView
from residency.planner import Residence
from tests.api.test_routes import _served
from tests.hotswap.fakes import FakeClock, Hold
from tests.hotswap.world import World

_MB = 1_000_000


def _sources(world: World, **changes: Any) -> HealthSources:
    given: dict[str, Any] = {
        "view": world.reconciler.view,
        "version": "9",
        "started": lambda: time.time() - 60,
        "not_ready": lambda: None,
        "degraded": lambda: None,
        "disk_percent": lambda: 12.5,
    }
    return HealthSources(**{**given, **changes})


def _report(world: World, **changes: Any) -> dict[str, Any]:
    report = asyncio.run(ServiceHealth(_sources(world, **changes)).report())
    return report.model_dump(mode="json")


def _serving(*tags: str, serve: str = "*") -> World:
    world = World(*tags)
    world.store.edit(seed(serve, None))
    world.settle()
    return world


def test_a_healthy_service_says_what_is_loaded_and_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _serving("m:v1", "n:v1", "o:v1", serve="m,n")
    loaded = {"m": Residence(True, 300 * _MB), "n": Residence(True, 200 * _MB)}
    monkeypatch.setattr(StateView, "residence", lambda _, name: loaded.get(name, Residence(False)))
    told = _report(world, memory_budget=lambda: 2048 * _MB)
    assert (told["status"], told["reason"], told["dependencies"]) == ("healthy", None, {})
    assert told["models_loaded"] == ["m", "n"]
    assert told["models"] == {"loaded": 2, "count": 3, "memory_used_mb": 500.0, "memory_max_mb": 2048.0}
    assert told["service"] == {"name": "okawari", "version": "9", "uptime_seconds": told["uptime_seconds"]}
    assert 60 <= told["uptime_seconds"] < 70
    assert told["memory_usage_mb"] > 1
    assert told["resources"]["disk_percent"] == 12.5
    assert 0 < told["resources"]["memory_percent"] <= 100
    assert told["timestamp"].endswith("Z")
    assert _report(world)["models"]["memory_max_mb"] is None


def _reason(world: World) -> str | None:
    return None if world.reconciler.view.ready() else "some are missing"


def test_a_service_is_unhealthy_where_no_required_model_answers_and_degraded_where_one_does() -> None:
    none = _serving()
    assert _report(none, not_ready=lambda: _reason(none))["status"] == "unhealthy"
    absent = _serving("m:v1", serve="n,o")
    assert _report(absent, not_ready=lambda: _reason(absent))["status"] == "unhealthy"
    half = _serving("m:v1", serve="m,n")
    told = _report(half, not_ready=lambda: _reason(half))
    assert (told["status"], told["reason"]) == ("degraded", "some are missing")
    whole = _serving("m:v1", serve="m")
    assert _report(whole, not_ready=lambda: _reason(whole))["status"] == "healthy"


def test_what_does_not_work_beside_the_models_degrades() -> None:
    world = _serving("m:v1")
    assert _report(world, degraded=lambda: "delivery waits")["reason"] == "delivery waits"

    def away() -> None:
        raise StateUnavailable("the registry is away")

    told = _report(world, dependencies={"registry": Dependency(away), "database": Dependency(lambda: None)})
    assert (told["status"], told["reason"]) == ("degraded", "registry: the registry is away")
    assert told["dependencies"] == {
        "registry": {"status": "unhealthy", "reason": "the registry is away"},
        "database": {"status": "healthy", "reason": None},
    }


def test_what_is_not_used_is_neither_asked_nor_told() -> None:
    asked: list[str] = []
    unused = Dependency(lambda: asked.append("database"), is_used=lambda: False)
    assert _report(_serving("m:v1"), dependencies={"database": unused})["dependencies"] == {}
    assert asked == []


def test_an_error_of_a_driver_is_told_by_its_kind_alone() -> None:
    def broken() -> None:
        raise ValueError("password=secret")

    told = _report(_serving("m:v1"), dependencies={"database": Dependency(broken)})
    assert told["dependencies"]["database"]["reason"] == "ValueError"


# --- what hangs ------------------------------------------------------------------------------------


@contextmanager
def _silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def _threads(name: str) -> int:
    return sum(each.name == f"okawari-probe-{name}" for each in threading.enumerate())


@pytest.mark.slow
def test_a_database_that_accepts_and_says_nothing_is_told_in_time_and_asked_once() -> None:
    pytest.importorskip("psycopg")
    world = _serving("m:v1")
    with _silent() as port:
        registry = open_registry(f"postgresql://user:secret@127.0.0.1:{port}/db")
        dependency = Dependency(lambda: registry.list("okawari"))
        health = ServiceHealth(_sources(world, dependencies={"registry": dependency}))

        async def ask() -> None:
            seconds: list[float] = []
            for _ in range(3):
                begun = time.perf_counter()
                reports = await asyncio.gather(*(health.report() for _ in range(20)))
                seconds.append(time.perf_counter() - begun)
                assert {each.status for each in reports} == {"degraded"}
                assert all(str(each.reason).startswith("registry: no answer for ") for each in reports)
                assert _threads("registry") == 1
            assert sorted(seconds)[1] < 1.0, "the machine may be busy now and then"
            assert "secret" not in reports[0].model_dump_json()

        asyncio.run(ask())
        registry.close()


@pytest.mark.slow
def test_a_disk_that_hangs_keeps_nobody_waiting() -> None:
    hold = Hold()
    told = _report(_serving("m:v1"), disk_percent=lambda: hold.stop_here() or 1.0)
    assert (told["status"], told["resources"]["disk_percent"]) == ("healthy", None)
    hold.let_go()


async def _result(probe: Probe[int], seconds: float = PATIENCE) -> DependencyState[int]:
    return await probe.result(seconds)


def test_a_probe_is_asked_once_at_a_time_and_again_when_its_answer_is_old() -> None:
    clock, hold, asked = FakeClock(), Hold(), [0]

    def ask() -> int:
        asked[0] += 1
        hold.stop_here()
        return asked[0]

    probe = Probe("test", ask, clock)

    async def several() -> list[DependencyState[int]]:
        waiting = [asyncio.create_task(probe.result(5)) for _ in range(50)]
        await asyncio.to_thread(hold.reached)
        hold.let_go()
        return list(await asyncio.gather(*waiting))

    assert asyncio.run(several()) == [DependencyState(1)] * 50
    assert asyncio.run(_result(probe)) == DependencyState(1)
    clock.now += FRESH
    assert asyncio.run(_result(probe)) == DependencyState(2)


def test_who_comes_to_a_question_that_hangs_is_not_kept_waiting_and_leaves_nothing_behind() -> None:
    clock, hold = FakeClock(), Hold()
    probe: Probe[int] = Probe("hangs", lambda: hold.stop_here() or 7, clock)

    async def ask() -> None:
        first = await probe.result(0.01)
        assert first.problem is not None
        clock.now += 60
        for _ in range(100):
            assert await probe.result(30) == DependencyState(problem="no answer for 60.0 s")
        future, _ = probe._asked()
        assert len(future._done_callbacks) <= 1  # type: ignore[attr-defined]
        hold.let_go()
        assert (await asyncio.wrap_future(future)).value == 7

    asyncio.run(ask())
    assert asyncio.run(_result(probe)) == DependencyState(7)


# --- over HTTP -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("problem", "status"), [(None, 200), ("no model serves yet", 503)])
def test_the_status_over_http(tmp_path: Path, problem: str | None, status: int) -> None:
    health = ServiceHealth(_sources(_serving("m:v1"), not_ready=lambda: problem))
    with _served(tmp_path, health=health) as wire:
        answer = wire("GET", "/health")
        assert (answer.status_code, answer.headers.get("retry-after")) == (status, "1" if problem else None)
        assert answer.json()["status"] == ("unhealthy" if problem else "healthy")
        assert answer.json()["reason"] == problem
        assert wire("HEAD", "/health").status_code == status
