"""What is asked of the data plane and what it answers, whatever wire it came by."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from hotswap.runner import Options, Picture, Prediction, Predictions, Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What every request says. `deadline` is a moment of `time.monotonic()`."""

    request_id: str
    deadline: float
    model: str | None = None
    version: str | None = None
    received: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest(Asked):
    """Pictures, for whatever family the model is of.

    `task`, where given, is what the model must be for. `begun` is called by the thread that begins with the
    request; it must be quick and must not raise. `then` takes further what the model found, such as drawing
    it: after the model, in the same thread, under the same permit and lease; not when the deadline has
    passed meanwhile.
    """

    pictures: tuple[Picture, ...]
    options: Options = field(default_factory=Options)
    task: str | None = None
    begun: Callable[[], None] | None = None
    then: Callable[[Predictions], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRequest(Asked):
    """Tensors for the graph itself, by input name. `outputs`: the names to give, none for all."""

    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Who answered and how long it took, in milliseconds."""

    request_id: str
    model: str
    version: str
    digest: str
    generation: int
    task: str
    queue_ms: float
    stages: Timings
    total_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Answered):
    """What is answered for pictures, with all that a record of it needs."""

    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorAnswer(Answered):
    """What is answered for tensors: outputs of the graph by name."""

    tensors: Mapping[str, NDArray[Any]]
