"""Answers on HTTP: the shapes of JSON, and how the core's plain data becomes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from pydantic import BaseModel, Field, StrictInt
from starlette.responses import Response

from hotswap.predictions import Answer, BaseAnswer, Prediction, timings
from hotswap.status import ModelStatus


class DetectionBody(BaseModel):
    """Something found; `bbox` is [x1, y1, x2, y2] in 0..1 of the upright picture, null: whole image."""

    label: str
    label_id: int
    score: float
    bbox: tuple[float, float, float, float] | None


class ImageBody(BaseModel):
    """The upright picture's size in pixels."""

    width: int
    height: int


class TimingsBody(BaseModel):
    """Milliseconds."""

    queue: float
    decode: float
    preprocess: float
    inference: float
    postprocess: float
    total: float


class PredictBody(BaseModel):
    """The answer to `POST /predict`: what was found, and which version of which model found it."""

    request_id: str
    model: str
    model_version: str
    model_digest: str
    generation: int
    task: str
    detections: list[DetectionBody]
    scores: list[float]
    image: ImageBody
    timings_ms: TimingsBody
    embedding: list[float] = Field(
        description="the picture's vector; empty unless the task is image-embedding"
    )


class VersionBody(BaseModel):
    """One version: a lifecycle word, `available` or `unservable`, and why."""

    version: str
    digest: str | None
    state: str
    reason: str | None
    size_bytes: int
    created: datetime | None


class ModelBody(BaseModel):
    """One model; `revision` counts changes of the desired state up to this model's last one."""

    name: str
    target: str | None
    serving: str | None
    generation: int | None
    revision: int
    reason: str | None
    versions: list[VersionBody]


class ModelsBody(BaseModel):
    """The answer to `GET /models`."""

    default: str | None
    models: list[ModelBody]


class TargetBody(BaseModel, extra="forbid"):
    """The body of `PUT /models/{name}/target`."""

    target: str | StrictInt = Field(description="`latest` or a version; an integer n means vn")
    expected_current: str | StrictInt | None = Field(default=None, description="refuse if another serves")
    reason: str | None = Field(default=None, max_length=500)


class ErrorDetail(BaseModel):
    """What went wrong: `code` for programs, `message` for people, and the id under which the log knows it."""

    code: str
    message: str
    request_id: str


class ErrorBody(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail


def predicted(answer: Answer) -> Response:
    """The response that carries an answer for one picture."""
    return Response(orjson.dumps(_predict_body(answer)), 200, named(answer), "application/json")


def named(answer: BaseAnswer) -> dict[str, str]:
    """The headers that say who answered."""
    return {
        "X-Model-Name": answer.model,
        "X-Model-Version": answer.version,
        "X-Model-Digest": answer.digest,
        "X-Model-Generation": str(answer.generation),
    }


def _predict_body(answer: Answer) -> dict[str, Any]:
    found = picture(answer.predictions[0])
    embedding = found.pop("embedding")
    return {
        "request_id": answer.request_id,
        "model": answer.model,
        "model_version": answer.version,
        "model_digest": answer.digest,
        "generation": answer.generation,
        "task": answer.task,
        **found,
        "timings_ms": timings(answer),
        "embedding": embedding,
    }


def picture(prediction: Prediction) -> dict[str, Any]:
    """What was found in one picture."""
    embedding = prediction.embedding
    return {
        "detections": [
            {"label": each.label, "label_id": each.label_id, "score": each.score, "bbox": each.bbox}
            for each in prediction.detections
        ],
        "scores": prediction.scores,
        "image": {"width": prediction.width, "height": prediction.height},
        # BentoML's client reads no null where it is told of a list.
        "embedding": [] if embedding is None else embedding.tolist(),
    }


def model_entry(status: ModelStatus) -> ModelBody:
    """One model as `GET /models` shows it."""
    return ModelBody.model_validate(status, from_attributes=True)
