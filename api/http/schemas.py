"""JSON schemas of answers, and their construction from the core's data."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from pydantic import BaseModel, Field, StrictInt
from starlette.responses import Response

from hotswap.predictions import Answer, BaseAnswer, Prediction, timings
from hotswap.status import ModelStatus


class DetectionBody(BaseModel):
    """A detection; `bbox` is [x1, y1, x2, y2] in 0..1 of the upright picture, null for the whole image."""

    label: str
    label_id: int
    score: float
    bbox: tuple[float, float, float, float] | None


class ImageBody(BaseModel):
    """The upright picture's size in pixels."""

    width: int
    height: int


class TimingsBody(BaseModel):
    """The duration of each stage in milliseconds."""

    queue: float
    decode: float
    preprocess: float
    inference: float
    postprocess: float
    total: float


class PredictBody(BaseModel):
    """The answer to `POST /predict`: the detections, and the model and version that made them."""

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
    """One version; `state` is a lifecycle state, `available` or `unservable`, with its reason."""

    version: str
    digest: str | None
    state: str
    reason: str | None
    size_bytes: int
    created: datetime | None


class ModelBody(BaseModel):
    """One model; `revision` is that of the desired state at this model's last change."""

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

    target: str | StrictInt = Field(
        description="`latest`, an alias such as `@production`, or a version; an integer n means vn"
    )
    expected_current: str | StrictInt | None = Field(
        default=None, description="refuse if another version is serving"
    )
    reason: str | None = Field(default=None, max_length=500)


class ErrorDetail(BaseModel):
    """`code` for programs, `message` for people, and the request id to search the log for."""

    code: str
    message: str
    request_id: str


class ErrorBody(BaseModel):
    """The shape of all errors."""

    error: ErrorDetail


def predicted(answer: Answer) -> Response:
    """The response to one picture."""
    return Response(orjson.dumps(_predict_body(answer)), 200, named(answer), "application/json")


def named(answer: BaseAnswer) -> dict[str, str]:
    """The headers that name the model and version of an answer."""
    return {
        "X-Model-Name": answer.model,
        "X-Model-Version": answer.version,
        "X-Model-Digest": answer.digest,
        "X-Model-Generation": str(answer.generation),
    }


def _predict_body(answer: Answer) -> dict[str, Any]:
    result = picture(answer.predictions[0])
    embedding = result.pop("embedding")
    return {
        "request_id": answer.request_id,
        "model": answer.model,
        "model_version": answer.version,
        "model_digest": answer.digest,
        "generation": answer.generation,
        "task": answer.task,
        **result,
        "timings_ms": timings(answer),
        "embedding": embedding,
    }


def picture(prediction: Prediction) -> dict[str, Any]:
    """The prediction of one picture as JSON."""
    embedding = prediction.embedding
    return {
        "detections": [
            {"label": item.label, "label_id": item.label_id, "score": item.score, "bbox": item.bbox}
            for item in prediction.detections
        ],
        "scores": prediction.scores,
        "image": {"width": prediction.width, "height": prediction.height},
        # BentoML's client rejects null for a list.
        "embedding": [] if embedding is None else embedding.tolist(),
    }


def model_entry(status: ModelStatus) -> ModelBody:
    """One model as in `GET /models`."""
    return ModelBody.model_validate(status, from_attributes=True)
