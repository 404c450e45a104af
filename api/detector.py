"""The detection server's request path: checked picture → known? → model → record → kept → answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

import anyio.to_thread

from api.hand_in import HandIn
from hotswap.dataplane import DataPlane
from hotswap.errors import (
    BadPicture,
    BadRequest,
    ModelFailed,
    ServingError,
    UnsupportedPicture,
    VersionFailed,
    deadline_exceeded,
)
from hotswap.events import Recorder, notify
from hotswap.predictions import Answer, Detection, Options, Picture, Prediction, PredictRequest
from lineage.acceptance import Acceptance
from lineage.records import Capture, FoundObject, ImageRecord, InferenceRun, ProcessingStatus
from telemetry import spans

logger = logging.getLogger("bentoml.okawari.devices")

#: Pictures that go through the model together.
GROUP = 8
_WHOLE = (0.0, 0.0, 1.0, 1.0)
#: Tasks whose answers are findings; those of a classifier are of the whole picture.
_TASKS = (
    "object-detection",
    "open-vocabulary-detection",
    "instance-segmentation",
    "image-classification",
    "zero-shot-classification",
)
_TAKE_PROMPTS = ("open-vocabulary-detection", "zero-shot-classification")
_PROMPTED = ("text_prompt", "text_threshold")
_LONGEST_LABEL = 100
_EXTENSIONS = {"JPEG": "jpg", "PNG": "png"}

#: Format, and upright width and height in pixels, by a picture's header.
Measure = Callable[[bytes], tuple[str, int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRules:
    """What is accepted and what counts as found. Sizes in bytes and pixels.

    `formats` are names such as JPEG; `usual` are the options of requests that leave them out.
    """

    max_bytes: int
    formats: tuple[str, ...]
    min_width: int
    min_height: int
    usual: Options
    max_detections: int
    min_box_area: float


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture that is kept; `again`: it was before."""

    record: ImageRecord
    again: bool = False


class Detector:
    """Answers hand-ins of devices and keeps them."""

    def __init__(
        self,
        data_plane: DataPlane,
        recorder: Recorder,
        acceptance: Acceptance,
        rules: DetectionRules,
        *,
        measure: Measure,
        model: Callable[[], str | None],
        stored: Callable[[ImageRecord], None],
    ) -> None:
        """`model` names the model that answers (None: the default). `stored` gets each new record."""
        self._data_plane = data_plane
        self._recorder = recorder
        self._acceptance = acceptance
        self._rules = rules
        self._measure = measure
        self._model = model
        self._stored = stored

    async def answer(
        self, hand_ins: Sequence[HandIn], request_id: str, deadline: float
    ) -> list[Kept | ServingError]:
        """What became of each picture, in order. `deadline` is a moment of `time.monotonic()`.

        Raises nothing of a picture: one that fails stops no other.
        """
        devices = sorted({each.device_id for each in hand_ins})
        with spans.span(
            "service.detect", {"device_id": ", ".join(devices), "request_id": request_id}
        ) as span:
            answers = await self._answers(hand_ins, request_id, deadline)
            if spans.is_on():
                span.set_attributes(_described(answers))
            return answers

    async def _answers(
        self, hand_ins: Sequence[HandIn], request_id: str, deadline: float
    ) -> list[Kept | ServingError]:
        answers = await asyncio.gather(*(self._begin(each, deadline) for each in hand_ins))
        todo = [index for index, answer in enumerate(answers) if isinstance(answer, Capture)]
        found = await self._predict([hand_ins[index] for index in todo], request_id, deadline)
        kept = await asyncio.gather(
            *(
                self._keep(answers[index], hand_ins[index], outcome, deadline)
                for index, outcome in zip(todo, found, strict=True)
            )
        )
        for index, outcome in zip(todo, kept, strict=True):
            answers[index] = outcome
        return answers

    # --- before the model ------------------------------------------------------------------------

    async def _begin(self, hand_in: HandIn, deadline: float) -> Any:
        """`Capture` of a picture that is new, else what became of it."""
        try:
            return await _in_thread(partial(self._check, hand_in), deadline)
        except ServingError as error:
            return error
        except Exception:  # noqa: BLE001 - it is logged, and stops no other picture
            return _fault()

    def _check(self, hand_in: HandIn) -> Capture | Kept:
        capture = self.capture(hand_in)
        known = self._acceptance.known(capture)
        return capture if known is None else Kept(known, again=True)

    def capture(self, hand_in: HandIn) -> Capture:
        """The picture as it is recorded. Raises `BadPicture`, `UnsupportedPicture`."""
        rules, data = self._rules, hand_in.data
        if len(data) > rules.max_bytes:
            raise BadPicture(f"the picture has {len(data)} bytes; at most {rules.max_bytes} are allowed")
        allowed = f"allowed are {' and '.join(rules.formats)}"
        try:
            kind, width, height = self._measure(data)
        except (BadPicture, UnsupportedPicture) as error:
            raise type(error)(f"{error.message.partition(';')[0]}; {allowed}") from None
        if kind not in rules.formats:
            raise UnsupportedPicture(f"the picture is {kind}; {allowed}")
        if width < rules.min_width or height < rules.min_height:
            raise BadPicture(
                f"the picture has {width}x{height} pixels; at least {rules.min_width}x{rules.min_height} are "
                "needed"
            )
        return Capture(
            device_id=hand_in.device_id,
            captured_at=hand_in.captured_at,
            sha256=sha256(data).hexdigest(),
            size_bytes=len(data),
            format=_EXTENSIONS[kind],
            width=width,
            height=height,
            filename=hand_in.filename,
            idempotency_key=hand_in.idempotency_key,
            clock_offset_ms=hand_in.clock_offset_ms,
            metadata=dict(hand_in.metadata),
        )

    # --- the model -------------------------------------------------------------------------------

    async def _predict(
        self, hand_ins: Sequence[HandIn], request_id: str, deadline: float
    ) -> list[_Run | ServingError]:
        """One run of the model for all; where a picture spoils it, one for each."""
        if not hand_ins:
            return []
        try:
            return await self._run(hand_ins, request_id, deadline)
        except (BadRequest, ModelFailed) as error:
            if len(hand_ins) == 1:
                return [error]
        except ServingError as error:
            return [error] * len(hand_ins)
        singly = [await self._predict([each], request_id, deadline) for each in hand_ins]
        return [outcome for outcomes in singly for outcome in outcomes]

    async def _run(
        self, hand_ins: Sequence[HandIn], request_id: str, deadline: float
    ) -> list[_Run | ServingError]:
        name, started = self._model(), datetime.now(UTC)
        with self._recorder.inference(request_id, name) as outcome:
            request = PredictRequest(
                request_id=request_id,
                key=hand_ins[0].device_id,
                pictures=tuple(Picture(encoded=each.data) for each in hand_ins),
                deadline=deadline,
                model=name,
                options=hand_ins[0].options.limited(self._rules.max_detections),
                usual=self._rules.usual,
            )
            outcome.answer = answer = await self._data_plane.predict(request)
        if answer.task not in _TASKS:
            raise VersionFailed(
                f"{answer.model}:{answer.version} is a model for {answer.task}, which finds nothing: "
                "set model.name"
            )
        return [
            _Run(answer, prediction, started, len(hand_ins), self._used(each, answer.task))
            for each, prediction in zip(hand_ins, answer.predictions, strict=True)
        ]

    def _used(self, hand_in: HandIn, task: str) -> dict[str, object]:
        """The options of a run as they are recorded: the request's, else the usual ones."""
        names = ("threshold", "text_prompt", "text_threshold", "nms_threshold")
        own, usual = hand_in.options, self._rules.usual
        used = {
            name: getattr(usual if getattr(own, name) is None else own, name)
            for name in names
            if name not in _PROMPTED or task in _TAKE_PROMPTS
        }
        return {
            **used,
            "max_detections": self._rules.max_detections,
            "min_box_area": self._rules.min_box_area,
        }

    # --- after the model -------------------------------------------------------------------------

    async def _keep(
        self, capture: Capture, hand_in: HandIn, run: _Run | ServingError, deadline: float
    ) -> Kept | ServingError:
        if isinstance(run, ServingError):
            return run
        record = _record(capture, run, self._rules.min_box_area)
        try:
            with spans.span("storage.save", _saved(record)) as span:
                stands = await _in_thread(partial(self._acceptance.accept, record, hand_in.data), deadline)
                span.set_attribute("path", stands.path)
        except ServingError as error:
            return error
        except Exception:  # noqa: BLE001 - it is logged, and stops no other picture
            return _fault()
        again = stands.uploaded_at != record.uploaded_at
        if not again:
            notify(self._stored, stands)
        return Kept(stands, again)


def _saved(record: ImageRecord) -> dict[str, str | int]:
    """What a trace says of a picture that is stored."""
    capture, run = record.capture, record.run
    said: dict[str, str | int] = {
        "device_id": capture.device_id,
        "image_id": str(record.image_id),
        "image_size_bytes": capture.size_bytes,
    }
    if run is not None:
        said |= {
            "model_name": run.model_name,
            "model_version": run.model_version,
            "model_digest": run.model_digest,
        }
    return said


def _described(answers: Sequence[Kept | ServingError]) -> dict[str, str | int]:
    """What a trace says of a request of a device: of its pictures, and of the version that answered."""
    kept = [each.record for each in answers if isinstance(each, Kept)]
    refused = [each.code for each in answers if isinstance(each, ServingError)]
    said: dict[str, str | int] = {
        "image_id": ", ".join(str(each.image_id) for each in kept),
        "num_images": len(answers),
        spans.STATUS: refused[0] if refused else spans.OK,
    }
    run = next((each.run for each in kept if each.run is not None), None)
    if run is not None:
        said |= {
            "model_name": run.model_name,
            "model_version": run.model_version,
            "model_digest": run.model_digest,
        }
    return said


@dataclass(frozen=True, slots=True)
class _Run:
    """What the model said of one picture, in a run over `pictures` of them."""

    answer: Answer
    prediction: Prediction
    started: datetime
    pictures: int
    config: Mapping[str, object]

    @property
    def milliseconds(self) -> float:
        """The picture's share of the time that the graph ran."""
        return self.answer.stages.inference / self.pictures


def _record(capture: Capture, run: _Run, min_area: float) -> ImageRecord:
    now, image_id, answer = datetime.now(UTC), capture.image_id, run.answer
    found = _large_enough(run.prediction, min_area)
    return ImageRecord(
        image_id=image_id,
        capture=capture,
        path="",
        uploaded_at=now,
        status=ProcessingStatus.COMPLETED,
        processed_at=now,
        found=tuple(_found(each, image_id, index, now) for index, each in enumerate(found)),
        run=InferenceRun(
            id=uuid5(image_id, "run"),
            model_name=answer.model,
            model_version=answer.version,
            model_digest=answer.digest,
            started_at=run.started,
            completed_at=run.started + timedelta(milliseconds=answer.total_ms),
            duration_ms=run.milliseconds,
            text_prompt=_text(run.config.get("text_prompt")),
            config={name: value for name, value in run.config.items() if value is not None},
        ),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _large_enough(prediction: Prediction, min_area: float) -> list[Detection]:
    """Without boxes whose area is below `min_area` pixels of the upright picture."""
    pixels = prediction.width * prediction.height
    return [each for each in prediction.detections if _area(each) * pixels >= min_area]


def _area(detection: Detection) -> float:
    left, top, right, bottom = detection.bbox or _WHOLE
    return (right - left) * (bottom - top)


def _found(detection: Detection, image_id: UUID, index: int, now: datetime) -> FoundObject:
    left, top, right, bottom = (min(1.0, max(0.0, side)) for side in detection.bbox or _WHOLE)
    noted: dict[str, Any] = {"label_id": detection.label_id}
    if detection.phrase is not None:
        noted["phrase"] = detection.phrase
    return FoundObject(
        id=uuid5(image_id, str(index)),
        label=(detection.phrase or detection.label)[:_LONGEST_LABEL],
        confidence=min(1.0, max(0.0, detection.score)),
        bbox=(left, top, right, bottom),
        created_at=now,
        metadata=noted,
    )


def _fault() -> ServingError:
    """A fault of ours with one picture, which stops no other."""
    logger.exception("a picture of a device")
    return ServingError("internal error; find the request id in the service's log")


async def _in_thread(work: Callable[[], Any], deadline: float) -> Any:
    """Wait for a disk or a database, not longer than the request may: what is done then, a retry finds."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    except TimeoutError:
        raise deadline_exceeded() from None
