"""The runner of versions that a team's own code answers for: limits, the picture's check, and its answer."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hotswap.errors import AdapterFailed, BadRequest, ModelFailed, ServingError, VersionFailed, for_image
from hotswap.predictions import (
    Detection,
    Options,
    Picture,
    Prediction,
    Predictions,
    TensorSpec,
    Timings,
    Trial,
)
from hotswap.repository import Artifact
from hotswap.runner import CPU, Placement, Stop
from runners.check_images import generated_pictures, golden_pictures
from runners.decode import decode
from runners.teams import TeamAdapter, made, reason_of

#: Most characters of what an adapter says of a picture.
_LONGEST = 200_000
_DEEPEST = 50
_CHECK_SIZE = (640, 480)
#: A JPEG is decoded at an eighth to see whether it is whole: the adapter decodes it as it needs it.
_SMALL = (1, 1)
_PLACEMENT = Placement(CPU, "the adapter chooses")


class AdapterRunner:
    """One loaded version. Implements `hotswap.runner.Runner`.

    One picture runs at a time, unless the class says `thread_safe = True`.
    """

    def __init__(self, artifact: Artifact, adapter: type[TeamAdapter], max_pixels: int) -> None:
        """Raise `VersionFailed` where the adapter cannot be made."""
        self._artifact = artifact
        self._max_pixels = max_pixels
        self._adapter: TeamAdapter | None = made(adapter, str(artifact.weights), str(artifact.tag))
        self._name = adapter.__name__
        self._turn = None if getattr(adapter, "thread_safe", False) is True else threading.Lock()
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[TensorSpec, ...] = ()
        self.takes: tuple[str, ...] = ()

    @property
    def placement(self) -> Placement:
        """See `Runner.placement`."""
        return _PLACEMENT

    def infer(
        self,
        inputs: Mapping[str, NDArray[Any]],  # noqa: ARG002 - there is no graph
        outputs: Sequence[str],  # noqa: ARG002
        stop: Stop | None = None,  # noqa: ARG002
    ) -> NoReturn:
        """See `Runner.infer`. Raises `BadRequest`."""
        raise BadRequest(
            f"{self._artifact.tag} is answered by an adapter, which takes pictures and no tensors"
        )

    def predict(self, pictures: Sequence[Picture], options: Options) -> Predictions:
        """See `Runner.predict`. Raises `AdapterFailed` with what the adapter raises."""
        if options.named:
            raise BadRequest(f"{options.named[0]}: adapters take no such option; send extra to /infer_json")
        timings = Timings()
        extra: dict[str, Any] | None = None if options.extra is None else json.loads(options.extra)
        items = []
        for index in range(len(pictures)):
            with for_image(index, len(pictures)):
                items.append(self._one(pictures[index], extra, options, timings))
        return Predictions(tuple(items), timings)

    def warm(self) -> None:
        """See `Runner.warm`."""
        name, picture = self._check_pictures()[0]
        for _ in range(self._artifact.config.warm_up.runs):
            self._try(f"warm-up on {name}", picture)

    def check_options(self) -> Options:
        """Options that every picture can be asked with."""
        return Options()

    def check(self) -> None:
        """See `Runner.check`: golden or generated pictures; the adapter must answer for each."""
        for name, picture in self._check_pictures():
            self._try(f"self-check on {name}", picture)

    def trials(self) -> list[Trial]:
        """See `Runner.trials`: golden or generated pictures."""
        return [Trial(picture) for _, picture in self._check_pictures()]

    def close(self) -> None:
        """See `Runner.close`."""
        self._adapter = None

    def _check_pictures(self) -> list[tuple[str, Picture]]:
        return golden_pictures(self._artifact) or generated_pictures(*_CHECK_SIZE)

    def _try(self, where: str, picture: Picture) -> None:
        try:
            self.predict([picture], Options())
        except ServingError as error:
            raise VersionFailed(f"{where}: {error.message}") from None

    def _one(
        self, picture: Picture, extra: dict[str, Any] | None, options: Options, timings: Timings
    ) -> Prediction:
        start = perf_counter()
        decoded = decode(picture, _SMALL, self._max_pixels)
        data = _png(picture.pixels) if picture.encoded is None else picture.encoded
        between = perf_counter()
        said = self._answer(data, extra)
        timings.decode += (between - start) * 1000
        timings.inference += (perf_counter() - between) * 1000
        return Prediction(
            _detections(said)[: options.max_detections],
            self._artifact.tag.version,
            decoded.width,
            decoded.height,
            task=self._artifact.config.task,
            result=said,
        )

    def _answer(self, data: bytes, extra: dict[str, Any] | None) -> dict[str, Any]:
        adapter = self._adapter
        if adapter is None:
            raise ModelFailed("the model is closed")
        try:
            if self._turn is None:
                said = adapter.run(data, model_tag=str(self._artifact.tag), extra=extra)
            else:
                with self._turn:
                    said = adapter.run(data, model_tag=str(self._artifact.tag), extra=extra)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the code of others
            raise AdapterFailed(f"{self._name}: {reason_of(error)}") from None
        return _as_json(said, self._name)


def _png(pixels: NDArray[np.uint8] | None) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.zeros((1, 1, 3), np.uint8) if pixels is None else pixels).save(
        written, "PNG", compress_level=1
    )
    return written.getvalue()


def _as_json(said: object, name: str) -> dict[str, Any]:
    """An answer as plain JSON values. Raises `AdapterFailed` where it is none."""
    if not isinstance(said, dict):
        raise AdapterFailed(f"{name}: run should give a dict, found {type(said).__name__}")
    try:
        text = json.dumps(said, allow_nan=False, default=_number)
    except (TypeError, ValueError, RecursionError) as error:
        raise AdapterFailed(f"{name}: run gave what is no JSON: {reason_of(error)}") from None
    if len(text) > _LONGEST:
        raise AdapterFailed(
            f"{name}: run gave {len(text)} characters of JSON, at most {_LONGEST} are allowed"
        )
    document: dict[str, Any] = json.loads(text)
    if (trouble := _unwritable(document)) is not None:
        raise AdapterFailed(f"{name}: run gave what no answer can hold: {trouble}")
    return document


def _unwritable(value: object, depth: int = 0) -> str | None:
    """What of plain JSON values strict readers refuse; None if nothing."""
    if depth > _DEEPEST:
        return f"more than {_DEEPEST} levels"
    if isinstance(value, str):
        return (
            None if value.isascii() or value.encode(errors="ignore").decode() == value else "half a character"
        )
    if isinstance(value, bool) or not isinstance(value, int | list | dict):
        return None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else "a whole number of more than 64 bits"
    inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return next(filter(None, (_unwritable(each, depth + 1) for each in inner)), None)


def _number(value: object) -> object:
    """Numbers and arrays of numpy as JSON has them."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def _detections(said: Mapping[str, Any]) -> tuple[Detection, ...]:
    """What an answer says in the service's own words: `detections`, else one `label` with its score."""
    listed = said.get("detections")
    rows = listed if isinstance(listed, list) else [said] if "label" in said else []
    found = [each for each in map(_detection, rows) if each is not None]
    return tuple(sorted(found, key=lambda each: -each.score))


def _detection(row: object) -> Detection | None:
    if not isinstance(row, dict):
        return None
    label, score = row.get("label"), row.get("score", row.get("confidence", 1.0))
    if not isinstance(label, str) or isinstance(score, bool) or not isinstance(score, int | float):
        return None
    box = row.get("bbox")
    corners = isinstance(box, list) and len(box) == 4 and all(isinstance(each, int | float) for each in box)
    bbox = (float(box[0]), float(box[1]), float(box[2]), float(box[3])) if corners and box else None
    number = row.get("label_id")
    return Detection(label[:200], number if isinstance(number, int) else 0, float(score), bbox)
