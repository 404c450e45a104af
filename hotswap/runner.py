"""The contracts of runner and loader: how a model is loaded, and how it answers.

A loader turns an artifact into a runner; a runner takes pictures and gives predictions. The core
knows nothing more of them, so that a fake of ten lines can stand in a test of the swap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from hotswap.predictions import Options, Picture, Predictions, Tensors, TensorSpec, Trial
from hotswap.repository import Artifact
from manifest.crop_config import CropConfig

#: The device that every machine has.
CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a loaded version runs, such as `cpu` or `cuda:0`, and why there."""

    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fallback:
    """A graph runs on the CPU instead of `device`.

    `cause`: `missing` (the provider is not there), `load` or `run` (it failed then).
    """

    device: str
    cause: str
    reason: str


class Stop:
    """Ends a run whose answer is no longer awaited. May be used by several threads at once."""

    def __init__(self) -> None:
        self.given = False
        self._call: Callable[[], None] | None = None

    def on(self, call: Callable[[], None]) -> None:
        """Have `call` called when it is given, perhaps at once and perhaps twice."""
        self._call = call
        if self.given:
            call()

    def give(self) -> None:
        """End the run soon."""
        self.given = True
        if self._call is not None:
            self._call()


class Runner(Protocol):
    """A loaded model. `predict` and `infer` may be called from several threads at once; `close` once.

    `inputs` and `outputs` are the graph's own, `takes` the options beside those that every family takes.
    `placement` may change while it runs.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    takes: tuple[str, ...]

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        ...

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], stop: Stop | None = None
    ) -> Tensors:
        """Run the graph on tensors, without pictures and family; no `outputs` named: all of them.

        Its loops may run as long as a tensor says: it ends soon after `stop`, where one is given.

        Raises `BadRequest` naming the tensor, what is wrong and what is allowed, or `ModelFailed`.
        """
        ...

    def predict(self, pictures: Sequence[Picture], options: Options) -> Predictions:
        """Answer for each picture.

        Raises `BadPicture` and its kin, which say which of several pictures is meant (`naming`), or
        `ModelFailed`.
        """
        ...

    def warm(self) -> None:
        """Run often enough that the first request is as fast as the next; raise `VersionFailed`."""
        ...

    def check(self) -> None:
        """Prove on pictures that the version can answer; raise `VersionFailed` with the reason."""
        ...

    def trials(self) -> Sequence[Trial]:
        """What the version is checked on, at least one; it may read files, and runs nothing.

        Raises `VersionFailed` where a file is missing.
        """
        ...

    def close(self) -> None:
        """Free what the model holds. `predict` is not called after it."""
        ...


@runtime_checkable
class BatchRunner(Protocol):
    """A runner whose graph takes pictures of several requests in one run."""

    @property
    def batches(self) -> bool:
        """Whether it does; False also where the answer for one picture would depend on the others."""
        ...

    def predict_each(
        self, requests: Sequence[Sequence[Picture]], options: Options
    ) -> Sequence[Predictions | Exception]:
        """Answer requests of one picture each; in the place of one that fails stands what `predict` raises.

        Raises what concerns all of them.
        """
        ...


class CropStep(Protocol):
    """Asks a classifier about what a detector finds."""

    def __call__(
        self,
        detector: Runner,
        classifier: Runner,
        artifact: Artifact,
        crop: CropConfig,
        *,
        pictures: Sequence[Picture],
        options: Options,
    ) -> Predictions:
        """The detector's boxes with the classifier's labels, for each picture; `artifact` is its version.

        `options` are the classifier's; `max_detections` bounds the boxes, `top_k` the labels of each (1).
        Raises what `Runner.predict` raises.
        """
        ...


class Loader(Protocol):
    """Turns an artifact into a runner."""

    def load(self, artifact: Artifact) -> Runner:
        """Load it; raise `VersionFailed` with the reason. Leaves nothing behind when it raises."""
        ...
