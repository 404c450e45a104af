"""How a model answers: the contract of every model family.

A loader turns an artifact into a runner; a runner takes pictures and gives predictions. The core
knows nothing more of them, so that a fake of ten lines can stand in a test of the swap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hotswap.artifact import Artifact

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: encoded bytes, or an RGB array [height, width, 3] of uint8.

    Encoded bytes are decoded by the runner, in its thread, because it knows the size it needs.
    """

    encoded: bytes | None = None
    pixels: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if (self.encoded is None) == (self.pixels is None):
            raise ValueError("a picture holds either encoded bytes or pixels")


@dataclass(frozen=True, slots=True)
class Options:
    """What a request may ask of a model. `extra` is for families with wishes of their own."""

    threshold: float | None = None
    max_detections: int = 100
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Detection:
    """Something found. `bbox` is [x1, y1, x2, y2] in 0..1 of the upright picture; None: whole image."""

    label: str
    label_id: int
    score: float
    bbox: Box | None


@dataclass(slots=True)
class Timings:
    """Milliseconds spent in each stage of one call."""

    decode: float = 0.0
    preprocess: float = 0.0
    inference: float = 0.0
    postprocess: float = 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one version says of one picture; detections by falling score.

    `width` and `height` are those of the upright picture, in pixels. The optional parts belong to
    families that make them: `embedding` float32 [D], `masks` uint8 [K, height, width], `tensors` by
    output name, `texts`.
    """

    detections: tuple[Detection, ...]
    model_version: str
    width: int
    height: int
    embedding: NDArray[np.float32] | None = None
    masks: NDArray[np.uint8] | None = None
    tensors: Mapping[str, NDArray[Any]] | None = None
    texts: tuple[str, ...] | None = None

    @property
    def scores(self) -> tuple[float, ...]:
        """The score of each detection, in the same order."""
        return tuple(found.score for found in self.detections)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a graph as it declares it.

    `datatype` is a word of the Open Inference Protocol, such as FP32; a side of `shape` that is open is -1.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensors:
    """Outputs of a graph by name, as they came from it, and where the time went."""

    arrays: Mapping[str, NDArray[Any]]
    timings: Timings


@dataclass(frozen=True, slots=True)
class Predictions:
    """One prediction per picture, in order, and where the time went."""

    items: tuple[Prediction, ...]
    timings: Timings


class Runner(Protocol):
    """A loaded model. `predict` and `infer` may be called from several threads at once; `close` once.

    `inputs` and `outputs` are the graph's own.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def infer(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> Tensors:
        """Run the graph on tensors, without pictures and family; no `outputs` named: all of them.

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

    def close(self) -> None:
        """Free what the model holds. Nobody calls `predict` after it."""
        ...


class Loader(Protocol):
    """Turns an artifact into a runner."""

    def load(self, artifact: Artifact) -> Runner:
        """Load it; raise `VersionFailed` with the reason. Leaves nothing behind when it raises."""
        ...
