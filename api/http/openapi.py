"""`/docs.json`: BentoML's generated document for `/predict`, corrected, and all other routes."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from api import options
from api.access.needs import Need, http_need
from api.http import content_encoding, detect_openapi, image_response
from api.http.schemas import ErrorBody, PredictBody
from api.kserve_v1 import openapi as v1_documents
from api.open_inference import openapi
from hotswap.errors import PICTURE_FORMATS

_ABOUT = (
    "Image inference with models that are exchanged without downtime. Every answer names the version that "
    "made it. All errors have one shape; under /v1 and /v2 it is that of the Open Inference Protocol."
)
_REF = "#/components/schemas/{model}"
_FIELDS = ("model", "version", *options.NAMES)

_COMPRESSED = f"It may be compressed: Content-Encoding {' or '.join(content_encoding.ACCEPTED)}."


_GAP = re.compile(r"\{[^}]*\}")
_SCHEMES = {
    "bearerToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "a token of the identity provider; one of the named scopes is needed",
    },
    "deviceToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Token",
        "description": "the token of a device; the name of the header can be configured",
    },
}


class HealthBody(BaseModel):
    """The process is alive."""

    ok: bool
    team: str | None


class ReadyBody(BaseModel):
    """Every required model has a serving version."""

    ready: bool
    degraded: str | None = Field(default=None, description="what does not work, though models answer")


class PredictFieldsBody(BaseModel):
    """The optional fields of a predict request."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str | None = Field(
        default=None, max_length=128, description="default: the service's default model"
    )
    version: str | None = Field(default=None, max_length=128, description="an integer n means vn")


_BODIES: tuple[type[BaseModel], ...] = (
    PredictBody,
    ErrorBody,
    HealthBody,
    ReadyBody,
    PredictFieldsBody,
)


def document(generated: dict[str, Any], routes: dict[str, Any], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the whole service.

    `generated` is BentoML's, `routes` FastAPI's for the routes beside it.
    """
    _, definitions = models_json_schema([(body, "serialization") for body in _BODIES], ref_template=_REF)
    schemas = definitions["$defs"]
    predict = _predict("Predict", generated["paths"]["/predict"]["post"], schemas)
    drawn = _annotated(
        _predict("Predict and draw", generated["paths"]["/predict/annotated"]["post"], schemas)
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "okawari",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "."}],
        "paths": _secured(
            {
                "/predict": {"post": predict},
                "/predict/annotated": {"post": drawn},
                **{path: _ours(operations) for path, operations in routes["paths"].items()},
                **_other_routes(),
                **openapi.paths(),
                **v1_documents.paths(),
                **detect_openapi.paths(),
            }
        ),
        "components": {
            "schemas": {
                **routes["components"]["schemas"],
                **schemas,
                **openapi.schemas(),
                **v1_documents.schemas(),
                **detect_openapi.schemas(),
            },
            "securitySchemes": {**routes["components"]["securitySchemes"], **_SCHEMES},
        },
    }


def _secured(paths: dict[str, Any]) -> dict[str, Any]:
    """The operations with the tokens that they take; a service may be set up to need none."""
    for path, operations in paths.items():
        for method, operation in operations.items():
            need = http_need(method.upper(), _GAP.sub("x", path))
            if need is not None and need is not Need.OPEN:
                other = "deviceToken" if need is Need.DETECT else "adminToken"
                scopes = [str(scope) for scope in need.scopes]
                operation["security"] = [{"bearerToken": scopes}, {other: []}, {}]
                operation["responses"] |= _refused(path, operation["responses"])
    return paths


def _refused(path: str, responses: dict[str, Any]) -> dict[str, Any]:
    """What callers are told who may not, or not now, in the error shape of the path."""
    error = _answer("ProtocolError" if path.startswith(("/v1", "/v2")) else "ErrorBody")
    return {status: responses.get(status, error) for status in ("401", "403", "429", "503")}


def _predict(summary: str, generated: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """The generated operation with its request bodies and responses."""
    fields = {**schemas["PredictFieldsBody"]["properties"], **options.schema()}
    return {
        "summary": summary,
        **{key: generated[key] for key in ("operationId", "description") if key in generated},
        "tags": ["predict"],
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": fields[name]} for name in _FIELDS
        ],
        "requestBody": {"required": True, "description": _COMPRESSED, "content": _predict_bodies(fields)},
        "responses": _responses(("200", "PredictBody"), 400, 404, 409, 413, 415, 422, 429, 500, 503, 504),
    }


def _annotated(operation: dict[str, Any]) -> dict[str, Any]:
    """The predict operation with an annotated picture as response."""
    picture = {"schema": {"type": "string", "format": "binary"}}
    good = {
        "description": "The picture with the detections drawn",
        "content": dict.fromkeys(image_response.OFFERED, picture),
    }
    responses = {**operation["responses"], "200": good, "406": _answer("ErrorBody")}
    return {**operation, "responses": dict(sorted(responses.items()))}


def _predict_bodies(fields: dict[str, Any]) -> dict[str, Any]:
    binary = {"type": "string", "format": "binary", "description": PICTURE_FORMATS}
    about = "base64 in either alphabet, or a base64 data URL"
    encoded = {"type": "string", "contentEncoding": "base64", "description": about}
    return {
        "multipart/form-data": {"schema": _object({"image": binary, **fields})},
        "image/*": {"schema": binary},
        "application/octet-stream": {"schema": binary},
        "application/json": {"schema": _object({"image": encoded, **fields})},
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": ["image"],
        "additionalProperties": False,
    }


def _ours(operations: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's operations without its own error shape, which no route answers in."""
    for operation in operations.values():
        if "HTTPValidationError" in str(operation["responses"].get("422")):
            del operation["responses"]["422"]
    return operations


def _other_routes() -> dict[str, Any]:
    """The routes of the middleware and of BentoML."""
    return {
        "/livez": {"get": _operation("livez", "The process lives", ("200", "HealthBody"))},
        "/healthz": {"get": _operation("healthz", "The process lives", ("200", "HealthBody"))},
        "/readyz": {
            "get": _operation(
                "readyz", "Every required model has a serving version", ("200", "ReadyBody"), 503
            )
        },
        "/schema.json": {"get": _text("schema", "The schema for BentoML's client", "application/json")},
        "/": {"get": _text("index", "Interactive API pages", "text/html")},
    }


def _operation(name: str, text: str, good: tuple[str, str], *bad: int) -> dict[str, Any]:
    return {"operationId": name, "description": text, "tags": ["models"], "responses": _responses(good, *bad)}


def _text(name: str, text: str, media: str) -> dict[str, Any]:
    good = {"description": text, "content": {media: {}}}
    return {"operationId": name, "description": text, "tags": ["models"], "responses": {"200": good}}


def _responses(good: tuple[str, str], *bad: int) -> dict[str, Any]:
    status, body = good
    return {status: _answer(body), **{str(code): _answer("ErrorBody") for code in bad}}


def _answer(body: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=body)}
    return {"description": body, "content": {"application/json": {"schema": schema}}}
