"""Whoever changes production is killed before any step: the record stays whole, and is served and audited."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.registry.kill_changes import served_trials
from tests.registry.kill_trials import Registries, Trial, record_trials, run

pytestmark = pytest.mark.process

_STORES = ("file", "sqlite", "postgresql")


@pytest.fixture
def registries(request: pytest.FixtureRequest, kind: str) -> Registries:
    """Fresh registries of a kind."""
    server = request.getfixturevalue("postgres").url if kind == "postgresql" else ""
    return Registries(kind, server)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory: what was written outlives a killed process there, too, and fsync takes no time."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="okawari-kills-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


def _run(folder: Path, trials: Iterable[Trial], stride: int, seconds: float) -> list[int]:
    """Run trials; the count of kills of each, after none of which anything was wrong."""
    running = multiprocessing.get_context("spawn").Process(target=run, args=(folder, [*trials], stride))
    running.start()
    running.join(seconds)
    running.kill()  # where it has not ended
    running.join()
    assert running.exitcode == 0
    results = json.loads((folder / "results.json").read_text())
    for name, kills, problems in results:
        print(f"{kills} kills: {name}")
        assert problems == [], name
    return [kills for _, kills, _ in results]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "stride"), [("file", 1), ("sqlite", 5), ("postgresql", 24)])
def test_the_record_is_whole_after_a_kill_before_any_step(
    folder: Path, registries: Registries, stride: int
) -> None:
    kills = _run(folder, record_trials(registries), stride, 290)
    assert min(kills) >= 30 // stride


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "stride"),
    [
        ("file", 109),
        pytest.param("sqlite", 211, marks=pytest.mark.full),
        pytest.param("postgresql", 293, marks=pytest.mark.full),
    ],
)
def test_what_a_killed_change_left_is_served_after_the_next_start(
    folder: Path, registries: Registries, stride: int
) -> None:
    kills = _run(folder, served_trials(registries), stride, 290)
    assert min(kills) >= 1


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", _STORES)
def test_what_a_change_left_that_was_killed_before_any_step_is_served(
    folder: Path, registries: Registries
) -> None:
    trials = [*record_trials(registries), *served_trials(registries)]
    kills = _run(folder, trials, 1, 7100)
    assert min(kills) >= 30
