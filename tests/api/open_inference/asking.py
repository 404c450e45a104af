"""Requests of the Open Inference Protocol as any client could write them, and their answers read."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.e2e.harness import Service

HEADER = "Inference-Header-Content-Length"


def failed(answer: httpx.Response, status: int) -> str:
    """Assert that this is that error in the protocol's shape; its message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert set(document) == {"error"}
    assert isinstance(document["error"], str)
    assert document["error"]
    assert "Traceback" not in answer.text
    assert answer.headers["x-request-id"]
    return str(document["error"])


def pixels(rows: int = 1) -> dict[str, Any]:
    """The input of the graphs, in JSON, flat."""
    shape = [rows, 3, 32, 32]
    return {"name": "image", "datatype": "FP32", "shape": shape, "data": [0.5] * (rows * 3072)}


def pictures(*images: bytes, name: str = "image") -> dict[str, Any]:
    """Pictures in JSON."""
    data = [base64.b64encode(each).decode() for each in images]
    return {"name": name, "datatype": "BYTES", "shape": [len(images)], "data": data}


def packed(*elements: bytes) -> bytes:
    """BYTES elements in binary form."""
    return b"".join(struct.pack("<I", len(each)) + each for each in elements)


def binary(name: str, datatype: str, shape: list[int], data: bytes) -> tuple[dict[str, Any], bytes]:
    """An input in binary form: what the JSON says of it, and its bytes."""
    about = {"name": name, "datatype": datatype, "shape": shape}
    return about | {"parameters": {"binary_data_size": len(data)}}, data


def infer(
    service: Service, *inputs: dict[str, Any], model: str = "m", version: str | None = None, **more: Any
) -> httpx.Response:
    """POST an infer request in JSON."""
    return service.client.post(path(model, version), json={"inputs": list(inputs), **more})


def infer_binary(
    service: Service,
    *inputs: tuple[dict[str, Any], bytes],
    model: str = "m",
    version: str | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> httpx.Response:
    """POST an infer request whose inputs come behind the JSON."""
    body, size = joined(*inputs, **more)
    sent = {HEADER: str(size), "content-type": "application/octet-stream", **(headers or {})}
    return service.client.post(path(model, version), content=body, headers=sent)


def joined(*inputs: tuple[dict[str, Any], bytes], **more: Any) -> tuple[bytes, int]:
    """A body, and how much of it is JSON."""
    text = json.dumps({"inputs": [about for about, _ in inputs], **more}).encode()
    return text + b"".join(data for _, data in inputs), len(text)


def path(model: str, version: str | None = None, what: str = "/infer") -> str:
    """A path below a model."""
    return f"/v2/models/{model}" + ("" if version is None else f"/versions/{version}") + what


def outputs(answer: httpx.Response) -> dict[str, Any]:
    """The outputs of an answer by name, as lists or as arrays of their type."""
    assert answer.status_code == 200, answer.text
    size = answer.headers.get(HEADER)
    content = answer.content
    text, rest = (content, b"") if size is None else (content[: int(size)], content[int(size) :])
    assert answer.headers["content-type"] == (
        "application/json" if size is None else "application/octet-stream"
    )
    found: dict[str, Any] = {}
    for each in json.loads(text)["outputs"]:
        length = each.get("parameters", {}).get("binary_data_size")
        assert ("data" in each) == (length is None)
        if length is None:
            found[each["name"]] = each["data"]
        else:
            found[each["name"]] = _array(each["datatype"], each["shape"], rest[:length])
            rest = rest[length:]
    assert rest == b""
    return found


_TYPES = {"BOOL": "?", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"} | {
    f"{sign}INT{bits}": f"<{sign.lower() or 'i'}{bits // 8}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}


def _array(datatype: str, shape: list[int], data: bytes) -> NDArray[Any]:
    if datatype != "BYTES":
        return np.frombuffer(data, _TYPES[datatype]).reshape(shape)
    elements = []
    while data:
        (size,) = struct.unpack_from("<I", data)
        elements.append(data[4 : 4 + size])
        data = data[4 + size :]
    return np.array(elements, object).reshape(shape)


def document(answer: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer."""
    assert answer.status_code == 200, answer.text
    size = answer.headers.get(HEADER)
    return dict(json.loads(answer.content[: int(size)] if size else answer.content))
