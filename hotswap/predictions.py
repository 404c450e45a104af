"""Requests, predictions and answers of the data plane as plain values, whatever wire they came by."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hotswap.errors import deadline_exceeded

Box = tuple[float, float, float, float]
#: x and y in 0..1 of the upright picture, and 1 for the object or 0 for what is not part of it.
Point = tuple[float, float, int]


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


class DeadlineBoundImages(Sequence[Picture]):
    """Pictures that are handed out until `deadline`, a moment of `time.monotonic()`.

    A runner that asks for one later gets `DeadlineExceeded`: a thread that decoded the rest, which may
    take many times as long as the caller waited, would only keep others from being answered.
    """

    def __init__(self, pictures: Sequence[Picture], deadline: float) -> None:
        self._pictures = pictures
        self._deadline = deadline

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, index: int) -> Picture: ...

    @overload
    def __getitem__(self, index: slice) -> DeadlineBoundImages: ...

    def __getitem__(self, index: int | slice) -> Picture | DeadlineBoundImages:
        if isinstance(index, slice):
            return DeadlineBoundImages(self._pictures[index], self._deadline)
        picture = self._pictures[index]
        if time.monotonic() >= self._deadline:
            raise deadline_exceeded()
        return picture


@dataclass(frozen=True, slots=True)
class Options:
    """What a request may ask of a model; None and empty: what the version's config says.

    `threshold` is the least score, `text_threshold` the least score of a token that names a detection,
    `nms_threshold` the overlap (IoU) from which the weaker of two boxes is dropped, all in 0..1. `boxes` are
    in 0..1 of the upright picture. `top_k` bounds the labels of a whole picture. `extra` is a JSON object for
    the adapter of a team; others pass it over.
    """

    threshold: float | None = None
    max_detections: int = 100
    text_prompt: str | None = None
    text_threshold: float | None = None
    nms_threshold: float | None = None
    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()
    top_k: int | None = None
    extra: str | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The options that a family need not take, as far as the request has them."""
        return tuple(name for name in FAMILY_OPTIONS if getattr(self, name) not in (None, ()))

    def limited(self, most: int) -> Options:
        """These options with at most so many detections."""
        return replace(self, max_detections=min(self.max_detections, most))

    def completed(self, usual: Options, takes: Sequence[str]) -> Options:
        """These options, and those of `usual` that are left out here and that the family `takes`."""
        wanted = (*(name for name in takes if name in FAMILY_OPTIONS), "threshold")
        missing = [name for name in wanted if getattr(self, name) in (None, ())]
        return replace(self, **{name: getattr(usual, name) for name in missing})


#: Options that only some families take; all take `threshold` and `max_detections`.
FAMILY_OPTIONS = ("text_prompt", "text_threshold", "nms_threshold", "points", "boxes", "top_k")


@dataclass(frozen=True, slots=True)
class Mask:
    """Some pixels of a picture of `width` and `height`, as run lengths.

    `counts` int64 [R] are the lengths of runs through the columns, from left to right and each from top to
    bottom, of pixels outside and inside in turn; the first run is of pixels outside, perhaps empty. This is
    the uncompressed RLE of COCO (https://github.com/cocodataset/cocoapi, common/maskApi.h).
    """

    width: int
    height: int
    counts: NDArray[np.int64]

    @property
    def area(self) -> int:
        """How many pixels are inside."""
        return int(self.counts[1::2].sum())

    def pixels(self) -> NDArray[np.bool_]:
        """The mask as an array [height, width] that says which pixels are inside."""
        inside = np.arange(len(self.counts)) % 2 == 1
        flat = np.repeat(inside, self.counts)
        return np.ascontiguousarray(flat.reshape(self.width, self.height).T)


@dataclass(frozen=True, slots=True)
class Detection:
    """Something found. `bbox` is [x1, y1, x2, y2] in 0..1 of the upright picture; None: whole image.

    `phrase` is the part of the text prompt that names it, `mask` its pixels, where the family gives them.
    """

    label: str
    label_id: int
    score: float
    bbox: Box | None
    phrase: str | None = None
    mask: Mask | None = None


@dataclass(slots=True)
class Timings:
    """Milliseconds spent in each stage of one call."""

    decode: float = 0.0
    preprocess: float = 0.0
    inference: float = 0.0
    postprocess: float = 0.0

    def __add__(self, other: Timings) -> Timings:
        return Timings(
            self.decode + other.decode,
            self.preprocess + other.preprocess,
            self.inference + other.inference,
            self.postprocess + other.postprocess,
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one version says of one picture; detections by falling score.

    `width` and `height` are those of the upright picture, in pixels. The optional parts belong to
    families that make them: `embedding` float32 [D], `tensors` the outputs of a graph by name, `result`
    what the adapter of a team says, as plain JSON values. `task` is the version's.
    """

    detections: tuple[Detection, ...]
    model_version: str
    width: int
    height: int
    embedding: NDArray[np.float32] | None = None
    tensors: Mapping[str, NDArray[Any]] | None = None
    task: str | None = None
    result: Mapping[str, Any] | None = None

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
class Trial:
    """Something that a version is tried on: a picture with options, or tensors where it takes no pictures."""

    picture: Picture | None = None
    options: Options = field(default_factory=Options)
    tensors: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Predictions:
    """One prediction per picture, in order, and where the time went, in a run of `sharing` requests."""

    items: tuple[Prediction, ...]
    timings: Timings
    sharing: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRequest:
    """What every request says. `deadline` is a moment of `time.monotonic()`.

    Requests with the same `key`, such as a camera's name, get the same version where several share a model.
    """

    request_id: str
    deadline: float
    model: str | None = None
    version: str | None = None
    key: str | None = None
    received: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest(BaseRequest):
    """Pictures, for whatever family the model is of.

    `usual` are options for the version that answers, as far as its family takes them. `task`, where given,
    is what the model must be for. `begun` is called by the thread that begins with the request; it must be
    quick and must not raise. `then` takes further what the model found, such as drawing it: after the model,
    in the same thread, under the same permit and lease; not when the deadline has passed meanwhile.
    """

    pictures: tuple[Picture, ...]
    options: Options = field(default_factory=Options)
    usual: Options | None = None
    task: str | None = None
    begun: Callable[[], None] | None = None
    then: Callable[[Predictions], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRequest(BaseRequest):
    """Tensors for the graph itself, by input name. `outputs`: the names to give, none for all."""

    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseAnswer:
    """Who answered and how long it took, in milliseconds; `ended` is a moment of `time.perf_counter()`."""

    request_id: str
    model: str
    version: str
    digest: str
    generation: int
    task: str
    queue_ms: float
    stages: Timings
    total_ms: float
    ended: float = field(default_factory=time.perf_counter, compare=False)


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A version that took part in an answer."""

    model: str
    version: str
    digest: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(BaseAnswer):
    """What is answered for pictures, with all that a record of it needs. `image_bytes`: encoded, of all.

    `detector` is the version that found the boxes which the model was asked about, where it crops.
    """

    predictions: tuple[Prediction, ...]
    image_bytes: int = 0
    detector: ServedVersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorAnswer(BaseAnswer):
    """What is answered for tensors: outputs of the graph by name."""

    tensors: Mapping[str, NDArray[Any]]


def timings(answer: BaseAnswer) -> dict[str, float]:
    """Where the time of an answer went, in milliseconds."""
    stages = answer.stages
    return {
        "queue": round(answer.queue_ms, 3),
        "decode": round(stages.decode, 3),
        "preprocess": round(stages.preprocess, 3),
        "inference": round(stages.inference, 3),
        "postprocess": round(stages.postprocess, 3),
        "total": round(answer.total_ms, 3),
    }
