"""JSON schemas of answers, and their construction from the core's data."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel, Field, StrictInt
from starlette.responses import Response

from api.masks import mask_body
from api.options import MaskFormat
from hotswap.predictions import Answer, BaseAnswer, Detection, Prediction, ServedVersion, timings


class MaskBody(BaseModel):
    """The pixels of a detection: `counts` are run lengths as COCO writes them, `png` is base64."""

    size: tuple[int, int] = Field(description="[height, width] in pixels of the upright picture")
    counts: str | None = None
    png: str | None = None


class DetectionBody(BaseModel):
    """A detection. `bbox` is [x1, y1, x2, y2] in 0..1 of the upright picture, null for the whole image."""

    label: str
    label_id: int
    score: float
    bbox: tuple[float, float, float, float] | None
    phrase: str | None = Field(default=None, description="the part of the text prompt that names it")
    mask: MaskBody | None = Field(default=None, description="its pixels, where the model gives them")


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


class TensorBody(BaseModel):
    """An output of the graph; `data` in row-major order."""

    shape: list[int]
    data: list[float | int | bool]


class DetectorBody(BaseModel):
    """The version that found the boxes which the model was asked about."""

    model: str
    model_version: str
    model_digest: str
    generation: int


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
    detector: DetectorBody | None = Field(
        default=None, description="what found the boxes, where the model's config has crop_with"
    )
    tensors: dict[str, TensorBody] | None = Field(
        default=None, description="the graph's outputs, where the task is tensors"
    )
    result: dict[str, Any] | None = Field(
        default=None, description="what the adapter of a team says, where the task is custom"
    )


class TargetBody(BaseModel, extra="forbid"):
    """The body of `PUT /models/{name}/target`."""

    target: str | StrictInt = Field(
        description="`latest`, an alias such as `@production`, or a version; an integer n means vn"
    )
    expected_current: str | StrictInt | None = Field(
        default=None, description="refuse if another version is serving"
    )
    reason: str | None = Field(default=None, max_length=500)


class CanaryChangeBody(BaseModel, extra="forbid"):
    """The body of `PUT /models/{name}/canary`."""

    version: str | StrictInt = Field(description="the candidate; an integer n means vn")
    share: float = Field(gt=0, lt=1, description="its part of the requests")
    reason: str | None = Field(default=None, max_length=500)


class WarmUpBody(BaseModel):
    """The answer to `POST /models/{name}/warmup`: what was run, by which version, and how long it took."""

    model: str
    version: str
    samples: int
    warmup_time_ms: float
    latencies_ms: list[float] = Field(description="of each inference, waiting for a thread included")


class ErrorDetail(BaseModel):
    """`code` for programs, `message` for people, and the request id to search the log for."""

    code: str
    message: str
    request_id: str
    transient: bool = Field(description="whether the same request may succeed later, without being changed")


class ErrorBody(BaseModel):
    """The shape of all errors."""

    error: ErrorDetail


def predicted(answer: Answer, mask_format: MaskFormat = "rle") -> Response:
    """The response to one picture."""
    return Response(orjson.dumps(predict_body(answer, mask_format)), 200, named(answer), "application/json")


def named(answer: BaseAnswer) -> dict[str, str]:
    """The headers that name the model and version of an answer, and those of its detector."""
    headers = {
        "X-Model-Name": answer.model,
        "X-Model-Version": answer.version,
        "X-Model-Digest": answer.digest,
        "X-Model-Generation": str(answer.generation),
    }
    if isinstance(answer, Answer) and answer.detector is not None:
        headers |= {
            "X-Detector-Name": answer.detector.model,
            "X-Detector-Version": answer.detector.version,
            "X-Detector-Digest": answer.detector.digest,
            "X-Detector-Generation": str(answer.detector.generation),
        }
    return headers


def predict_body(answer: Answer, mask_format: MaskFormat = "rle") -> dict[str, Any]:
    """The answer for one picture as JSON; see `PredictBody`."""
    result = picture(answer.predictions[0], mask_format)
    last: dict[str, Any] = {
        name: result.pop(name) for name in ("embedding", "tensors", "result") if name in result
    }
    if answer.detector is not None:
        last["detector"] = detector_body(answer.detector)
    return {
        "request_id": answer.request_id,
        "model": answer.model,
        "model_version": answer.version,
        "model_digest": answer.digest,
        "generation": answer.generation,
        "task": answer.task,
        **result,
        "timings_ms": timings(answer),
        **last,
    }


def detector_body(detector: ServedVersion) -> dict[str, Any]:
    """The version that found the boxes."""
    return {
        "model": detector.model,
        "model_version": detector.version,
        "model_digest": detector.digest,
        "generation": detector.generation,
    }


def picture(prediction: Prediction, mask_format: MaskFormat = "rle") -> dict[str, Any]:
    """The prediction of one picture as JSON."""
    embedding, tensors = prediction.embedding, prediction.tensors
    body: dict[str, Any] = {
        "detections": [_detection(item, mask_format) for item in prediction.detections],
        "scores": prediction.scores,
        "image": {"width": prediction.width, "height": prediction.height},
        # BentoML's client rejects null for a list.
        "embedding": [] if embedding is None else embedding.tolist(),
    }
    if tensors is not None:
        body["tensors"] = {
            name: {"shape": array.shape, "data": array.ravel().tolist()} for name, array in tensors.items()
        }
    if prediction.result is not None:
        body["result"] = prediction.result
    return body


def _detection(item: Detection, mask_format: MaskFormat) -> dict[str, Any]:
    """One detection; `phrase` and `mask` only where the model gives them."""
    body: dict[str, Any] = {
        "label": item.label,
        "label_id": item.label_id,
        "score": item.score,
        "bbox": item.bbox,
    }
    if item.phrase is not None:
        body["phrase"] = item.phrase
    if item.mask is not None:
        body["mask"] = mask_body(item.mask, mask_format)
    return body
