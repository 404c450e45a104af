"""The protocol's OpenAPI, from the client that was generated from it.  usage: specification.py MODEL…

The package has the schemas; the six paths are those that the specification lists, with a version everywhere
(its literal dollar signs left out). Names of models are those given, or any; the first takes 32x32 pixels.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from open_inference.openapi import types
from pydantic.v1.schema import schema

SCHEMAS = "#/components/schemas/"
FAILURE = "MetadataServerErrorResponse"
VERSION = "/v2/models/{MODEL_NAME}/versions/{MODEL_VERSION}"
KINDS = [types.InferenceRequest, types.InferenceResponse, types.MetadataModelResponse]
KINDS += [types.MetadataServerResponse, types.MetadataServerErrorResponse]


def content(name: str) -> dict[str, Any]:
    """A JSON body of this schema."""
    return {"application/json": {"schema": {"$ref": SCHEMAS + name}}}


def path(method: str, answer: str | None, parameters: list[Any], **more: Any) -> dict[str, Any]:
    """One path: what it answers, and one shape for whatever is wrong."""
    good = {"description": "OK"} | ({"content": content(answer)} if answer else {})
    responses = {"200": good, "default": {"description": "failure", "content": content(FAILURE)}}
    return {"parameters": parameters, method: {"responses": responses, **more}}


def wanted(name: str, values: list[str]) -> dict[str, Any]:
    """A parameter of the path: the first of these as example, one of them, or any text."""
    kind = {"anyOf": [{"enum": values}, {"type": "string"}]}
    return {"name": name, "in": "path", "required": True, "schema": kind, "example": values[0]}


def schemas() -> dict[str, Any]:
    """The package's, but null may stand for what is left out: clients send it, and we take it for that."""
    found: dict[str, Any] = schema(KINDS, ref_prefix=SCHEMAS)["definitions"]
    for each in found.values():
        for name, kind in each.get("properties", {}).items():
            if name not in each.get("required", ()):
                kind["nullable"] = True
    return found


def grey() -> dict[str, Any]:
    """A request that is answered."""
    data = [0.5] * (3 * 32 * 32)
    return {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": data}]}


def main(*models: str) -> None:
    """Print the document."""
    which = [wanted("MODEL_NAME", [*models, "nobody"]), wanted("MODEL_VERSION", ["v2", "2", "v1", "v9"])]
    body = content("InferenceRequest")
    body["application/json"]["example"] = grey()
    paths = {
        "/v2/": path("get", "MetadataServerResponse", []),
        "/v2/health/live": path("get", None, []),
        "/v2/health/ready": path("get", None, []),
        VERSION: path("get", "MetadataModelResponse", which),
        f"{VERSION}/ready": path("get", None, which),
        f"{VERSION}/infer": path("post", "InferenceResponse", which, requestBody={"content": body}),
    }
    told = {"openapi": "3.0.0", "info": {"title": "Data Plane", "version": "2.0"}, "paths": paths}
    print(json.dumps(told | {"components": {"schemas": schemas()}}))


main(*sys.argv[1:])
