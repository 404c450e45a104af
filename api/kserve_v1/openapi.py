"""The routes under /v1 for `/docs.json`."""

from __future__ import annotations

from typing import Any

from api import options
from api.open_inference.images import MOST
from hotswap.errors import PICTURE_FORMATS

_REF = "#/components/schemas/{}"
_TAG = "kserve v1"
_STRING = {"type": "string"}
_ENCODED = {"type": "string", "contentEncoding": "base64", "minLength": 1}
_B64 = {
    "type": "object",
    "properties": {"b64": _ENCODED},
    "required": ["b64"],
    "additionalProperties": False,
}
_NAMED = {
    "type": "object",
    "additionalProperties": {"anyOf": [_ENCODED, _B64]},
    "minProperties": 1,
    "maxProperties": 1,
}


def schemas() -> dict[str, Any]:
    """The schemas of the operations."""
    picture = {"anyOf": [_NAMED, _B64, _ENCODED], "description": f"{PICTURE_FORMATS} in base64"}
    pictures = {"type": "array", "items": picture, "minItems": 1, "maxItems": MOST}
    status = _object({"error_code": _STRING, "error_message": _STRING})
    state = {"type": "string", "enum": ["AVAILABLE", "LOADING", "UNLOADING", "END"]}
    found = _object(
        {
            "detections": {"type": "array", "items": {"$ref": _REF.format("DetectionBody")}},
            "scores": {"type": "array", "items": {"type": "number"}},
            "image": {"$ref": _REF.format("ImageBody")},
            "embedding": {"type": "array", "items": {"type": "number"}},
        }
    )
    return {
        "V1Model": _object(
            {
                "name": _STRING,
                "ready": {"type": "boolean"},
                "model_version_status": {
                    "type": "array",
                    "items": _object({"version": _STRING, "state": state, "status": status}),
                },
            }
        ),
        "V1Request": {
            "type": "object",
            "properties": {
                "instances": pictures,
                "inputs": {"description": "the pictures as a column: an array, or an object with one array"},
                "parameters": {
                    "type": ["object", "null"],
                    "properties": options.schema(),
                    "additionalProperties": False,
                },
                "signature_name": {"type": ["string", "null"]},
            },
            "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
            "additionalProperties": False,
        },
        "V1Response": {
            "type": "object",
            "properties": {
                "predictions": {"type": "array", "items": found, "description": "one per instance"},
                "outputs": {"description": "the answer to inputs"},
                "model_name": _STRING,
                "model_version": _STRING,
            },
            "required": ["model_name", "model_version"],
        },
    }


def paths() -> dict[str, Any]:
    """Every path with its operations."""
    return {
        "/v1/models": {"get": _operation("v1_models", "The names of all models", "ProtocolNames", ())},
        **_of_model("", "", ("name",)),
        **_of_model("/versions/{version}", "_version", ("name", "version")),
    }


def _of_model(version: str, suffix: str, names: tuple[str, ...]) -> dict[str, Any]:
    path = f"/v1/models/{{name}}{version}"
    about = "Whether the model is ready, and the state of each version"
    text = f"Predictions for up to {MOST} pictures, all by one version"
    statuses = (400, 404, 413, 415, 429, 500, 503, 504)
    predict = _operation(f"v1_predict{suffix}", text, "V1Response", names, *statuses)
    predict["requestBody"] = {"required": True, "content": _json("V1Request")}
    return {
        path: {"get": _operation(f"v1_model{suffix}", about, "V1Model", names, 404)},
        f"{path}:predict": {"post": predict},
    }


def _operation(name: str, text: str, good: str, names: tuple[str, ...], *bad: int) -> dict[str, Any]:
    answers = {"200": good, **{str(status): "ProtocolError" for status in bad}}
    responses = {status: {"description": body, "content": _json(body)} for status, body in answers.items()}
    parameters = [{"name": name, "in": "path", "required": True, "schema": _STRING} for name in names]
    operation = {"operationId": name, "description": text, "tags": [_TAG], "responses": responses}
    return {**operation, "parameters": parameters} if names else operation


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(schema)}}}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
