"""A home of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models_import import subprocesses
from models_import.store import ModelStore
from tests.models_import.bentoml_server import BentoML
from tests.models_import.shop import day, stock


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where this test's store lies."""
    return tmp_path / "home"


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The store's clock."""
    return Clock()


@pytest.fixture
def store(home: Path, clock: Clock) -> ModelStore:
    """A reader of this test's store."""
    return ModelStore(home / "models", clock=clock)


@pytest.fixture
def version(home: Path, tmp_path: Path) -> Path:
    """A version in this test's store."""
    return stock(home, tmp_path, "code", "v1", 7, created=day(1))


@pytest.fixture
def quick_children(bentoml: BentoML, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children import BentoML, which takes a second: they are forked from one that has done so."""
    monkeypatch.setattr(subprocesses, "run_module", bentoml.run_module)


@pytest.fixture(scope="session")
def bentoml() -> Iterator[BentoML]:
    """BentoML's own command line: `bentoml(home, "models", "list")`."""
    server = BentoML()
    yield server
    server.close()
