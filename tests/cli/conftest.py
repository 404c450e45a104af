"""A home, a command line on it, and a service that is played."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cli.import_commands
import cli.target_commands
import cli.target_edit
from cli.main import main
from cli.swap_wait import SwapWatch
from models_import.importer import Importer
from models_import.store import ModelStore
from registry.file_store import DesiredFile
from tests.data import VARIABLE
from tests.models_import.conftest import bentoml
from tests.models_import.shop import not_tried
from workers.run_folder import RunFolder

__all__ = ["bentoml"]

Okawari = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One home for store and state."""
    ours = {name for name in os.environ if name.startswith("OKAWARI_")} - {VARIABLE}
    for name in ours:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def okawari(home: Path, monkeypatch: pytest.MonkeyPatch) -> Okawari:
    """The command line, whose imports trust every model."""

    def trusting(home: Path, **parts: Any) -> Importer:
        return Importer(home, probe=not_tried, **parts)

    monkeypatch.setattr(cli.import_commands, "Importer", trusting)

    def run(*arguments: object, exit_code: int = 0) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="okawari")
        assert result.exit_code == exit_code, result.output
        return result

    return run


@pytest.fixture
def desired(home: Path) -> DesiredFile:
    """What is wished."""
    return DesiredFile(home)


class Service:
    """A service that is up and whose workers do what a test says, one turn per look of a waiting command."""

    def __init__(self, home: Path) -> None:
        self.run = RunFolder(home)
        self.run.claim()
        self.turns: list[Callable[[], None]] = []
        self.models: dict[str, Any] = {}
        self.seen = 0

    def says(self, name: str, serving: str | None, **generations: tuple[str, str | None]) -> None:
        """Let the worker say what serves, and of other versions their state and reason."""
        live = {serving: ("serving", None)} if serving else {}
        self.models[name] = {
            "target": "latest",
            "serving": serving,
            "generation": 1,
            "generations": [
                {"version": version, "state": state, "reason": reason, "digest": None}
                for version, (state, reason) in (live | generations).items()
            ],
        }
        self.write()

    def write(self, pid: int | None = None, **changes: Any) -> None:
        """Publish the worker's state."""
        state = {"pid": pid or os.getpid(), "started": 0.0, "host": "127.0.0.1", "port": 3000, "ready": True}
        self.run.write_worker(state | {"reload_seen": self.seen, "models": self.models} | changes)

    def look(self) -> None:
        """The worker has looked again, as it was asked."""
        self.seen = self.run.reload_asked()
        self.write()

    def turn(self, _seconds: float) -> None:
        """What happens while a command sleeps."""
        assert self.turns, "the command waits for something that will not come"
        self.turns.pop(0)()

    def end(self) -> None:
        """The service ends; the lock is all that counts."""
        handle, self.run._held = self.run._held, None
        if handle is not None:
            os.close(handle)


@pytest.fixture
def service(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service that is up."""
    played = Service(home)

    def watch(run: RunFolder, timeout: float) -> SwapWatch:
        return SwapWatch(run, timeout, sleep=played.turn)

    monkeypatch.setattr(cli.target_commands, "SwapWatch", watch)
    monkeypatch.setattr(cli.target_edit, "SwapWatch", watch)
    yield played
    played.end()


@pytest.fixture
def store(home: Path) -> ModelStore:
    """A reader of this test's store."""
    return ModelStore(home / "models")
