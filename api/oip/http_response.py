"""An infer response as it goes over HTTP: JSON, after which tensors may lie in binary form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from api.oip import json_data, raw
from api.oip.messages import InferResponse, Tensor

HEADER = "Inference-Header-Content-Length"


def encode(response: InferResponse, is_binary: Callable[[str], bool]) -> tuple[bytes, dict[str, str]]:
    """The body and the headers that tell what it is; raise `BadRequest` for what JSON cannot tell."""
    parts: list[bytes] = []
    outputs = [_output(each, parts, binary=is_binary(each.name)) for each in response.outputs]
    text = orjson.dumps(
        {
            "model_name": response.model,
            "model_version": response.version,
            **({} if response.id is None else {"id": response.id}),
            "parameters": dict(response.parameters),
            "outputs": outputs,
        }
    )
    if not parts:
        return text, {"Content-Type": "application/json"}
    return b"".join((text, *parts)), {"Content-Type": "application/octet-stream", HEADER: str(len(text))}


def _output(tensor: Tensor, parts: list[bytes], *, binary: bool) -> dict[str, Any]:
    about = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    if not binary:
        return {**about, "data": orjson.Fragment(json_data.written(tensor.name, tensor.data))}
    parts.append(raw.packed(tensor.data))
    return {**about, "parameters": {"binary_data_size": len(parts[-1])}}


def weight(response: InferResponse) -> int:
    """About how many bytes of tensors are to be written."""
    arrays = (each.data for each in response.outputs)
    return sum(each.nbytes if isinstance(each, np.ndarray) else sum(map(len, each)) for each in arrays)
