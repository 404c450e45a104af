"""Runners and their loader, played: they say their code in every answer, and know when they are misused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotswap.predictions import (
    Detection,
    Options,
    Picture,
    Prediction,
    Predictions,
    Tensors,
    TensorSpec,
    Timings,
    Trial,
)
from hotswap.repository import Artifact
from hotswap.runner import Placement, Stop
from manifest.tags import ModelTag
from tests.hotswap.fakes import Hold


class FakeRunner:
    """Says its code in every answer, and knows when somebody uses it after its end."""

    inputs = (TensorSpec("x", "FP32", (-1, 2)),)
    outputs = (TensorSpec("code", "FP32", (-1,)),)
    takes: tuple[str, ...] = ()
    placement = Placement("cpu", "a fake is everywhere")

    def __init__(self, tag: ModelTag, code: int, hold: Hold | None = None) -> None:
        self.tag = tag
        self.code = code
        self.hold = hold
        self.closed = self.warms = self.checks = 0
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

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], stop: Stop | None = None
    ) -> Tensors:
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
        self.warms += 1
        self._fail("warm")

    def check(self) -> None:
        """Fail if told to."""
        self.checks += 1
        self._fail("check")

    def trials(self) -> Sequence[Trial]:
        """One picture."""
        return [Trial(Picture(encoded=b"trial"))]

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
