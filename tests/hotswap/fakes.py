"""Stand-ins for everything around the core, made to be stopped, scripted and questioned by a test."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotswap.artifact import Artifact, ModelSight, Settling, Unsettled, VersionSight
from hotswap.background import Task
from hotswap.hooks import Swap
from hotswap.manifest import ModelConfig
from hotswap.runner import (
    Detection,
    Options,
    Picture,
    Prediction,
    Predictions,
    Tensors,
    TensorSpec,
    Timings,
)
from hotswap.tags import ModelTag

#: Longer than any thread of a test needs, shorter than the limit of a test.
PATIENCE = 5.0

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

    def submit(self, task: Task) -> None:
        """Do it."""
        task()


class StepBackground:
    """Keeps tasks until the test runs them, one by one or all."""

    def __init__(self) -> None:
        self.tasks: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Keep it."""
        self.tasks.append(task)

    def run(self) -> None:
        """Do the oldest."""
        self.tasks.popleft()()

    def run_all(self) -> None:
        """Do all, those that are added meanwhile too."""
        while self.tasks:
            self.run()


class FakeRunner:
    """Says its code in every answer, and knows when somebody uses it after its end."""

    inputs = (TensorSpec("x", "FP32", (-1, 2)),)
    outputs = (TensorSpec("code", "FP32", (-1,)),)

    def __init__(self, tag: ModelTag, code: int, hold: Hold | None = None) -> None:
        self.tag = tag
        self.code = code
        self.hold = hold
        self.closed = 0
        self.running = 0
        self.most_running = 0
        self.served = 0
        self.misused: list[str] = []
        self.fails: dict[str, Exception] = {}
        self._lock = threading.Lock()

    def predict(self, pictures: Sequence[Picture], options: Options) -> Predictions:
        """One detection a picture, whose `label_id` is the code, and a vector that is the code and 1."""
        self._enter()
        try:
            if self.hold is not None:
                self.hold.stop_here()
            self._fail("predict")
            found = Detection(label="code", label_id=self.code, score=1.0, bbox=None)
            vector = np.array([self.code, 1], np.float32)
            one = Prediction((found,), self.tag.version, 8, 8, embedding=vector)
            return Predictions((one,) * len(pictures), Timings(inference=1.0))
        finally:
            self._leave()

    def infer(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> Tensors:
        """The code, once for each row."""
        self._enter()
        try:
            if self.hold is not None:
                self.hold.stop_here()
            rows = len(inputs["x"])
            return Tensors({"code": np.full(rows, self.code, np.float32)}, Timings(inference=1.0))
        finally:
            self._leave()

    def warm(self) -> None:
        """Fail if told to."""
        self._fail("warm")

    def check(self) -> None:
        """Fail if told to."""
        self._fail("check")

    def close(self) -> None:
        """Count; nobody may be inside."""
        with self._lock:
            self.closed += 1
            if self.running:
                self.misused.append("closed while it runs")
        self._fail("close")

    def _enter(self) -> None:
        with self._lock:
            if self.closed:
                self.misused.append("used after close")
            self.running += 1
            self.most_running = max(self.most_running, self.running)

    def _leave(self) -> None:
        with self._lock:
            self.running -= 1
            self.served += 1
            if self.closed:
                self.misused.append("closed under a running thread")

    def _fail(self, stage: str) -> None:
        if stage in self.fails:
            raise self.fails[stage]


class FakeLoader:
    """Makes fake runners. `codes` and `fails` (stage by stage) are by version; `made` is all of them."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.fails: dict[str, dict[str, Exception]] = {}
        self.holds: dict[str, Hold] = {}
        self.before_load: Callable[[ModelTag], None] = lambda _: None
        self.loads: list[str] = []
        self.made: list[FakeRunner] = []

    def load(self, artifact: Artifact) -> FakeRunner:
        """A runner of that version."""
        tag = artifact.tag
        self.loads.append(str(tag))
        self.before_load(tag)
        fails = self.fails.get(tag.version, {})
        if "load" in fails:
            raise fails["load"]
        runner = FakeRunner(tag, self.codes.get(tag.version, 0), self.holds.get(tag.version))
        runner.fails = fails
        self.made.append(runner)
        return runner

    def holds_load(self, version: str) -> Hold:
        """Stop whoever loads that version."""
        hold = Hold()
        self.before_load = lambda tag: hold.stop_here() if tag.version == version else None
        return hold

    def of(self, version: str) -> FakeRunner:
        """The newest runner of a version."""
        return next(each for each in reversed(self.made) if each.tag.version == version)

    @property
    def misused(self) -> list[str]:
        """Whatever any runner met that must never be."""
        return [f"{each.tag} {what}" for each in self.made for what in each.misused]


@dataclass
class FakeSource:
    """A store of models: name → version → digest. `settled` overrides what settling a tag says."""

    models: dict[str, dict[str, str]] = field(default_factory=dict)
    latest: dict[str, str | None] = field(default_factory=dict)
    settled: dict[ModelTag, Settling | Exception] = field(default_factory=dict)
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

    def look(self) -> Mapping[str, ModelSight] | None:
        """What there is at the moment of the call, even if it is stopped after that."""
        self.looks += 1
        seen = None if self.away else {name: self._sight(name) for name in tuple(self.models)}
        self.during_look()
        return seen

    def settle(self, tag: ModelTag) -> Settling:
        """What the script says, else the artifact if it is there."""
        scripted = self.settled.get(tag)
        if isinstance(scripted, Exception):
            raise scripted
        if scripted is not None:
            return scripted
        digest = self.models.get(tag.name, {}).get(tag.version)
        return Unsettled(f"{tag} is not in the store") if digest is None else artifact(tag, digest)

    def _sight(self, name: str) -> ModelSight:
        there = self.models[name].copy()  # at once: a test may add one while a thread looks
        versions = {version: VersionSight(version, digest) for version, digest in there.items()}
        latest = self.latest.get(name)
        return ModelSight(name, latest, versions, None if latest else "latest is empty")


class FakeObserver:
    """Writes down what the core tells: as hooks' `after_swap`, too."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.swaps: list[Swap] = []

    def loaded(self, tag: ModelTag, seconds: float) -> None:
        """Write it down."""
        self.events.append(f"loaded {tag}")

    def failed(self, tag: ModelTag, reason: str, retry_in: float) -> None:
        """Write it down."""
        self.events.append(f"failed {tag} {retry_in:g}")

    def swapped(self, swap: Swap) -> None:
        """Write it down."""
        self.swaps.append(swap)
        self.events.append(f"swapped {swap.name} {swap.before} {swap.after}")

    def closed(self, tag: ModelTag) -> None:
        """Write it down."""
        self.events.append(f"closed {tag}")
