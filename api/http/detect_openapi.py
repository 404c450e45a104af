"""The routes for devices in `/docs.json`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from api import options
from api.hand_in import OPTIONS
from api.http import detect_routes

_REF = "#/components/schemas/{model}"


class KeptDetectionBody(BaseModel):
    """Something found on a kept picture."""

    id: UUID
    image_id: UUID
    bbox: tuple[float, float, float, float] = Field(description="[x1, y1, x2, y2] in 0..1")
    confidence: float
    label: str
    created_at: datetime


class DetectBody(BaseModel):
    """A kept picture; the same for every retry but for `request_id`."""

    model_config = ConfigDict(protected_namespaces=())

    image_id: UUID
    lakefs_path: str = Field(description="its path in the picture store")
    detections: list[KeptDetectionBody]
    inference_time_ms: float | None
    model_version: str | None
    model: str | None
    model_digest: str | None
    request_id: str


class BatchItemBody(DetectBody):
    """A kept picture of a batch."""

    filename: str | None


class BatchFailureBody(BaseModel):
    """A picture of a batch that was not kept; send it again, or mend it, by `code`."""

    filename: str | None
    code: str
    message: str


class BatchBody(BaseModel):
    """What became of each picture of a batch."""

    results: list[BatchItemBody]
    total_processed: int
    total_failed: int
    failed_images: list[str | None]
    failures: list[BatchFailureBody]
    request_id: str


class DeviceHealthBody(BaseModel):
    """Pictures can be answered."""

    status: str


_BODIES: tuple[type[BaseModel], ...] = (DetectBody, BatchBody, DeviceHealthBody)
_ERRORS = (400, 401, 403, 429, 500, 503)


def schemas() -> dict[str, Any]:
    """The schemas of the answers."""
    _, definitions = models_json_schema([(body, "serialization") for body in _BODIES], ref_template=_REF)
    found: dict[str, Any] = definitions["$defs"]
    return found


def paths() -> dict[str, Any]:
    """The operations by path."""
    metrics = {"200": {"description": "Metrics for Prometheus", "content": {"text/plain": {}}}}
    return {
        detect_routes.DETECT: {"post": _detect()},
        detect_routes.BATCH: {"post": _batch()},
        detect_routes.HEALTH: {
            "get": _operation("device_health", "Whether pictures can be answered", "DeviceHealthBody", 503)
        },
        detect_routes.METRICS: {
            "get": {
                "operationId": "device_metrics",
                "description": "The text of /metrics",
                "tags": ["devices"],
                "responses": {**metrics, "503": _answer("ErrorBody")},
            }
        },
    }


def _detect() -> dict[str, Any]:
    fields = {"image": _BINARY, "device_id": _DEVICE, "timestamp": _TIME, "metadata": _METADATA, **_options()}
    return {
        **_operation("detect", "Answer a picture and keep it with its answer", "DetectBody", *_ERRORS),
        "parameters": _HEADERS,
        "requestBody": _form(fields, "image", "device_id", "timestamp"),
    }


def _batch() -> dict[str, Any]:
    fields = {
        "images": {"type": "array", "items": _BINARY},
        "device_id": _DEVICE,
        "metadata": _METADATA,
        "timestamps": {**_JSON, "description": "a JSON list with one time for each picture"},
        "metadatas": {**_JSON, "description": "a JSON list with one object for each picture"},
        **_options(),
    }
    return {
        **_operation(
            "detect_batch", "Answer and keep up to 50 pictures; one that fails stops no other", "BatchBody",
            *_ERRORS, 501,
        ),
        "parameters": _HEADERS,
        "requestBody": _form(fields, "images", "device_id"),
    }  # fmt: skip


_BINARY = {"type": "string", "format": "binary", "description": "JPEG or PNG"}
_DEVICE = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"}
_TIME = {"type": "string", "format": "date-time", "description": "when it was taken, by ISO 8601"}
_JSON = {"type": "string", "contentMediaType": "application/json"}
_METADATA = {**_JSON, "description": "a JSON object that is kept with the picture"}
_HEADERS = [
    {
        "name": "X-API-Token",
        "in": "header",
        "required": False,
        "description": "the device's token; the header's name can be configured",
        "schema": {"type": "string"},
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "the same for every try to hand in the same picture",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
]


def _options() -> dict[str, Any]:
    known = options.schema()
    return {name: known[name] for name in OPTIONS}


def _form(fields: dict[str, Any], *required: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def _operation(name: str, text: str, good: str, *bad: int) -> dict[str, Any]:
    refusals = {str(status): _answer("ErrorBody") for status in bad}
    responses = {"200": _answer(good), **refusals}
    return {"operationId": name, "description": text, "tags": ["devices"], "responses": responses}


def _answer(body: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=body)}
    return {"description": body, "content": {"application/json": {"schema": schema}}}
