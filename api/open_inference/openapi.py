"""The routes under /v2 for `/docs.json`."""

from __future__ import annotations

from typing import Any

from api.open_inference.repository import LOADING, READY, UNAVAILABLE, UNLOADING
from api.open_inference.types import DATATYPES, MOST_AXES, MOST_NAME

_REF = "#/components/schemas/{}"
_TAG = "open inference protocol"
_STRING, _WHOLE, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_VALUES = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
#: Clients send null for omitted parameters.
_SENT = {**_VALUES, "type": ["object", "null"]}
_ID = {"type": ["string", "null"]}
_NAME = {"type": "string", "minLength": 1, "maxLength": MOST_NAME}
_SHAPE = {"type": "array", "items": {**_WHOLE, "minimum": 0}, "maxItems": MOST_AXES}
_DATATYPE = {"type": "string", "enum": list(DATATYPES)}
_DATA = {
    "type": "array",
    "description": "row-major, flat or nested like the shape; omitted for binary tensor data",
}


def schemas() -> dict[str, Any]:
    """The schemas of the operations."""
    tensor = {"name": _NAME, "datatype": _DATATYPE, "shape": _SHAPE, "parameters": _VALUES, "data": _DATA}
    sent = {**tensor, "parameters": _SENT}
    requested = _object({"name": _NAME, "parameters": _SENT}, "name")
    spec = _object(
        {"name": _STRING, "datatype": _STRING, "shape": _list(_WHOLE)}, "name", "datatype", "shape"
    )
    dims = _object(
        {"name": _STRING, "data_type": _STRING, "dims": _list(_WHOLE)}, "name", "data_type", "dims"
    )
    inputs = {**_list(_object(sent, "name", "datatype", "shape")), "minItems": 1}
    outputs = {**_list(requested), "type": ["array", "null"]}
    return {
        "ProtocolError": _object({"error": _STRING}, "error"),
        "ProtocolServer": _object(
            {"name": _STRING, "version": _STRING, "extensions": _list(_STRING)},
            "name",
            "version",
            "extensions",
        ),
        "ProtocolNames": _object({"models": _list(_STRING)}, "models"),
        "ProtocolLive": _object({"live": _FLAG}, "live"),
        "ProtocolReady": _object({"ready": _FLAG}, "ready"),
        "ProtocolModelReady": _object({"name": _STRING, "ready": _FLAG}, "name", "ready"),
        "ProtocolModel": _object(
            {
                "name": _STRING,
                "versions": _list(_STRING),
                "platform": _STRING,
                "inputs": _list(spec),
                "outputs": _list(spec),
                "properties": {"type": "object", "additionalProperties": _STRING},
            },
            "name",
            "platform",
            "inputs",
            "outputs",
        ),
        "ProtocolConfig": _object(
            {
                **dict.fromkeys(("name", "platform", "backend"), _STRING),
                "max_batch_size": _WHOLE,
                "input": _list(dims),
                "output": _list(dims),
                "parameters": {"type": "object"},
            },
            "name",
            "platform",
            "input",
            "output",
        ),
        "ProtocolRequest": _object(
            {"id": _ID, "parameters": _SENT, "inputs": inputs, "outputs": outputs}, "inputs"
        ),
        "ProtocolResponse": _object(
            {
                **dict.fromkeys(("model_name", "model_version", "id"), _STRING),
                "parameters": _VALUES,
                "outputs": _list(_object(tensor, "name", "datatype", "shape")),
            },
            "model_name",
            "model_version",
            "outputs",
        ),
        "ProtocolStatistics": _object({"model_stats": _list(_statistics())}, "model_stats"),
        "ProtocolIndex": _list(_entry()),
        "ProtocolIndexRequest": _object({"ready": _FLAG}),
        "ProtocolManagement": _object({"parameters": _SENT}),
        "ProtocolDone": {"type": "object", "maxProperties": 0},
    }


def _statistics() -> dict[str, Any]:
    duration = _object({"count": _WHOLE, "ns": _WHOLE}, "count", "ns")
    return _object(
        {
            "name": _STRING,
            "version": _STRING,
            **dict.fromkeys(("last_inference", "inference_count", "execution_count"), _WHOLE),
            "inference_stats": {"type": "object", "additionalProperties": duration},
            "batch_stats": _list({"type": "object"}),
        },
        "name",
        "version",
        "inference_stats",
    )


def _entry() -> dict[str, Any]:
    state = {"type": "string", "enum": [READY, UNAVAILABLE, LOADING, UNLOADING]}
    entry = {"name": _STRING, "version": _STRING, "state": state, "reason": _STRING}
    return _object(entry, "name", "state", "reason")


def paths() -> dict[str, Any]:
    """Every path with its operations."""
    server = ("The service and its extensions", "ProtocolServer")
    return {
        "/v2": {"get": _operation("v2_server", *server)},
        "/v2/": {"get": _operation("v2_server_slash", *server)},
        "/v2/health/live": {"get": _operation("v2_live", "The process is alive", "ProtocolLive")},
        "/v2/health/ready": {
            "get": _operation("v2_ready", "Every required model is serving", "ProtocolReady", 503)
        },
        "/v2/models": {"get": _operation("v2_models", "The names of all models", "ProtocolNames")},
        "/v2/models/stats": {"get": _operation("v2_stats", "Statistics of all models", "ProtocolStatistics")},
        **_models("", "", ("name",)),
        **_models("/versions/{version}", "_version", ("name", "version")),
        "/v2/repository/index": {"post": _index()},
        "/v2/repository/models/{name}/load": {
            "post": _management("v2_load", "Load a model's target; returns when it is serving")
        },
        "/v2/repository/models/{name}/unload": {
            "post": _management("v2_unload", "Unload a model; returns when no version is serving")
        },
    }


def _models(version: str, suffix: str, names: tuple[str, ...]) -> dict[str, Any]:
    errors = (400, 404, 503, 504)
    table: dict[str, tuple[str, str, str, tuple[int, ...]]] = {
        "": ("v2_model", "Inputs and outputs of the serving version", "ProtocolModel", errors),
        "/ready": ("v2_model_ready", "Whether the model is ready", "ProtocolModelReady", (400, 404)),
        "/config": ("v2_config", "Inputs and outputs in Triton's form", "ProtocolConfig", errors),
        "/stats": ("v2_model_stats", "The model's statistics over all workers", "ProtocolStatistics", (404,)),
    }
    operations: dict[str, Any] = {
        f"/v2/models/{{name}}{version}{path}": {
            "get": _with(_operation(name + suffix, text, good, *bad), names)
        }
        for path, (name, text, good, bad) in table.items()
    }
    return {**operations, f"/v2/models/{{name}}{version}/infer": {"post": _with(_infer(suffix), names)}}


def _infer(suffix: str) -> dict[str, Any]:
    text = (
        "Tensors for the graph, named as in the model's metadata, or pictures: one input of datatype BYTES "
        "and shape [N] or [N, 1]"
    )
    statuses = (400, 404, 413, 415, 429, 500, 503, 504)
    operation = _operation(f"v2_infer{suffix}", text, "ProtocolResponse", *statuses)
    binary = {"type": "string", "format": "binary", "description": "JSON, followed by binary tensors"}
    operation["responses"]["200"]["content"]["application/octet-stream"] = {"schema": binary}
    content = {**_json("ProtocolRequest"), "application/octet-stream": {"schema": binary}}
    return {**operation, "requestBody": {"required": True, "content": content}}


def _index() -> dict[str, Any]:
    text = "All versions of all models, or only the ready ones"
    operation = _operation("v2_index", text, "ProtocolIndex", 400, 413, 415, 429, 504)
    return {**operation, "requestBody": {"required": False, "content": _json("ProtocolIndexRequest")}}


def _management(name: str, text: str) -> dict[str, Any]:
    statuses = (400, 401, 403, 404, 413, 415, 429, 503, 504)
    return {
        **_with(_operation(name, text, "ProtocolDone", *statuses), ("name",)),
        "requestBody": {"required": False, "content": _json("ProtocolManagement")},
        "security": [{"adminToken": []}, {}],
    }


def _operation(name: str, text: str, good: str, *bad: int) -> dict[str, Any]:
    answers = {"200": good, **{str(status): "ProtocolError" for status in sorted(bad)}}
    responses = {status: {"description": body, "content": _json(body)} for status, body in answers.items()}
    return {"operationId": name, "description": text, "tags": [_TAG], "responses": responses}


def _with(operation: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {
        **operation,
        "parameters": [{"name": name, "in": "path", "required": True, "schema": _STRING} for name in names],
    }


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(schema)}}}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}
