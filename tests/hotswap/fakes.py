"""Stand-ins for everything around the core, made to be stopped, scripted and questioned by a test."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hotswap.events import LoadedVersion, Observer, Swap
from hotswap.repository import Artifact, Incomplete, ModelInfo, Verified, VersionInfo
from hotswap.threads import Task
from manifest.tags import ModelTag
from manifest.version_manifest import ModelConfig

#: Longer than any thread of a test needs, shorter than the limit of a test.
PATIENCE = 20.0

_CONFIG = ModelConfig.model_validate(
    {
        "task": "object-detection",
        "family": "fake",
        "input": {"width": 8, "height": 8},
        "labels": ["code"],
    }
)


def artifact(tag: ModelTag, digest: str = "sha256:1") -> Artifact:
    """A settled version whose files nobody reads."""
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    return Artifact(tag, Path("/nowhere"), Path("/nowhere/weights"), digest, _CONFIG, moment, size_bytes=7)


class FakeClock:
    """Time goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Hold:
    """A place where threads stop: `reached` by them, `let_go` by the test."""

    def __init__(self) -> None:
        self._arrivals = threading.Semaphore(0)
        self._open = threading.Event()

    def stop_here(self) -> None:
        """Called by the code under test."""
        self._arrivals.release()
        assert self._open.wait(PATIENCE), "nobody let go"

    def reached(self) -> None:
        """Wait until one more thread has stopped."""
        assert self._arrivals.acquire(timeout=PATIENCE), "nobody came"

    def let_go(self) -> None:
        """Let everybody pass, now and later."""
        self._open.set()


class InlineBackground:
    """Does every task at once."""

    def submit(self, task: Task, *, urgent: bool = False) -> None:
        """Do it."""
        task()


class StepBackground:
    """Keeps tasks until the test runs them, one by one or all; `urgent` says of each if it was so."""

    def __init__(self) -> None:
        self.tasks: deque[Task] = deque()
        self.urgent: list[bool] = []

    def submit(self, task: Task, *, urgent: bool = False) -> None:
        """Keep it."""
        self.tasks.append(task)
        self.urgent.append(urgent)

    def run(self) -> None:
        """Do the oldest."""
        self.tasks.popleft()()

    def run_all(self) -> None:
        """Do all, those that are added meanwhile too."""
        while self.tasks:
            self.run()


@dataclass
class FakeSource:
    """A store of models: name → version → digest. `settled` overrides what settling a tag says."""

    models: dict[str, dict[str, str]] = field(default_factory=dict)
    latest: dict[str, str | None] = field(default_factory=dict)
    settled: dict[ModelTag, Verified | Exception] = field(default_factory=dict)
    aliases: dict[str, dict[str, str]] = field(default_factory=dict)
    away: bool = False
    looks: int = 0
    during_look: Callable[[], None] = lambda: None

    def add(self, tag: str, digest: str = "sha256:1", *, latest: bool = True) -> None:
        """A version comes in."""
        name, _, version = tag.partition(":")
        self.models.setdefault(name, {})[version] = digest
        if latest:
            self.latest[name] = version

    def remove(self, tag: str) -> None:
        """Its files vanish."""
        name, _, version = tag.partition(":")
        del self.models[name][version]
        if self.latest.get(name) == version:
            self.latest[name] = None

    def look(self) -> Mapping[str, ModelInfo] | None:
        """What there is at the moment of the call, even if it is stopped after that."""
        self.looks += 1
        seen = None if self.away else {name: self._sight(name) for name in tuple(self.models)}
        self.during_look()
        return seen

    def settle(self, tag: ModelTag) -> Verified:
        """What the script says, else the artifact if it is there."""
        scripted = self.settled.get(tag)
        if isinstance(scripted, Exception):
            raise scripted
        if scripted is not None:
            return scripted
        digest = self.models.get(tag.name, {}).get(tag.version)
        return Incomplete(f"{tag} is not in the store") if digest is None else artifact(tag, digest)

    def _sight(self, name: str) -> ModelInfo:
        there = self.models[name].copy()  # at once: a test may add one while a thread looks
        versions = {version: VersionInfo(version, digest) for version, digest in there.items()}
        latest = self.latest.get(name)
        problem = None if latest else "latest is empty"
        return ModelInfo(name, latest, versions, problem, dict(self.aliases.get(name, {})))


class FakeObserver(Observer):
    """Writes down what the core says of versions."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.swaps: list[Swap] = []
        self.loads: list[LoadedVersion] = []

    def loaded(self, version: LoadedVersion) -> None:
        """Write it down."""
        self.loads.append(version)
        self.events.append(f"loaded {version.tag}")

    def failed(self, tag: ModelTag, reason: str, retry_in: float) -> None:
        """Write it down."""
        self.events.append(f"failed {tag} {retry_in:g}")

    def published(self, swap: Swap) -> None:
        """Write it down."""
        self.swaps.append(swap)
        self.events.append(f"published {swap.name} {swap.before} {swap.after}")

    def closed(self, tag: ModelTag) -> None:
        """Write it down."""
        self.events.append(f"closed {tag}")

    def evicted(self, tag: ModelTag, reason: str, bytes_freed: int, idle_seconds: float) -> None:
        """Write it down."""
        assert idle_seconds >= 0
        self.events.append(f"{reason}: {tag} {bytes_freed}")
