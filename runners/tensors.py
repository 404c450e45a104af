"""Tensors as callers send them: what a graph declares, and whether what was sent fits it.

The datatypes are those of the Open Inference Protocol, https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotswap.errors import BadRequest
from hotswap.predictions import TensorSpec

#: The graph's word → the protocol's. BYTES and BF16 have no plain numpy type and are not fed.
_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(bfloat16)": "BF16",
    "tensor(string)": "BYTES",
}
_DTYPES = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}


def specs(nodes: Sequence[Any]) -> tuple[TensorSpec, ...]:
    """What onnxruntime says of inputs or outputs. A type that no caller can send keeps the graph's word."""
    return tuple(
        TensorSpec(node.name, _DATATYPES.get(node.type, node.type), tuple(map(_side, node.shape)))
        for node in nodes
    )


def check_inputs(wanted: Sequence[TensorSpec], sent: Mapping[str, NDArray[Any]]) -> None:
    """Raise `BadRequest` unless exactly the wanted inputs were sent, with their types and shapes."""
    known = {spec.name for spec in wanted}
    if known != sent.keys():
        unknown = sorted(sent.keys() - known)
        what = (
            f"there is no input {unknown[0][:64]!r}" if unknown else f"{_listed(known - sent.keys())} missing"
        )
        raise BadRequest(f"inputs: {what}; the model takes {_listed(known)}")
    for spec in wanted:
        _check(spec, sent[spec.name])


def check_outputs(available: Sequence[TensorSpec], wanted: Sequence[str]) -> tuple[str, ...]:
    """The names of the outputs to give, all when none is wanted; raise `BadRequest` for an unknown one."""
    names = tuple(spec.name for spec in available)
    for name in wanted:
        if name not in names:
            raise BadRequest(f"outputs: there is no {name[:64]!r}; the model gives {_listed(names)}")
    return tuple(wanted) or names


def _check(spec: TensorSpec, array: NDArray[Any]) -> None:
    dtype = _DTYPES.get(spec.datatype)
    if dtype is None or array.dtype != dtype:
        raise BadRequest(f"input {spec.name}: the model takes {spec.datatype}, found {array.dtype}")
    fits = len(array.shape) == len(spec.shape) and all(
        side in (-1, found) for side, found in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise BadRequest(f"input {spec.name}: the model takes {list(spec.shape)}, found {list(array.shape)}")


def _side(side: int | str | None) -> int:
    return side if isinstance(side, int) and side >= 0 else -1


def _listed(names: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(names) if isinstance(names, set) else names)
