"""The tensors that a graph declares, and the check of a caller's tensors against them.

The datatypes are those of the Open Inference Protocol, https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotswap.errors import BadRequest, VersionFailed
from hotswap.predictions import TensorSpec

#: onnxruntime's type → the protocol's datatype. BYTES and BF16 have no numpy type and are not accepted.
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
_DTYPES: Mapping[str, type[np.generic]] = {
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
    """The specs of a graph's inputs or outputs. A type that the protocol lacks keeps onnxruntime's name."""
    return tuple(
        TensorSpec(node.name, _DATATYPES.get(node.type, node.type), tuple(map(_side, node.shape)))
        for node in nodes
    )


def numpy_type(kind: str) -> type[np.generic]:
    """The numpy type of onnxruntime's type `kind`; float32 for one that has none."""
    return _DTYPES.get(_DATATYPES.get(kind, ""), np.float32)


def dtype_of(spec: TensorSpec) -> type[np.generic]:
    """The numpy type of an input. Raises `VersionFailed` for one that no request can give."""
    dtype = _DTYPES.get(spec.datatype)
    if dtype is None:
        raise VersionFailed(
            f"graph input {spec.name}: {spec.datatype} is not supported; export it with numbers or booleans: "
            f"{', '.join(_DTYPES)}"
        )
    return dtype


def check_inputs(declared: Sequence[TensorSpec], sent: Mapping[str, NDArray[Any]]) -> None:
    """Raise `BadRequest` unless `sent` has exactly the declared inputs, with their types and shapes."""
    known = {spec.name for spec in declared}
    if known != sent.keys():
        unknown = sorted(sent.keys() - known)
        problem = (
            f"there is no input {unknown[0][:64]!r}" if unknown else f"{_listed(known - sent.keys())} missing"
        )
        raise BadRequest(f"inputs: {problem}; the model takes {_listed(known)}")
    for spec in declared:
        _check(spec, sent[spec.name])


def check_outputs(available: Sequence[TensorSpec], requested: Sequence[str]) -> tuple[str, ...]:
    """The requested outputs, or all when none is named. Raises `BadRequest` for an unknown name."""
    names = tuple(spec.name for spec in available)
    for name in requested:
        if name not in names:
            raise BadRequest(f"outputs: there is no output {name[:64]!r}; the model has {_listed(names)}")
    return tuple(requested) or names


def _check(spec: TensorSpec, array: NDArray[Any]) -> None:
    dtype = _DTYPES.get(spec.datatype)
    if dtype is None or array.dtype != dtype:
        raise BadRequest(f"input {spec.name}: the model takes {spec.datatype}, found {array.dtype}")
    fits = len(array.shape) == len(spec.shape) and all(
        side in (-1, actual) for side, actual in zip(spec.shape, array.shape, strict=True)
    )
    # onnxruntime gives [] for a scalar and for an input without a declared rank: the graph itself must judge.
    if spec.shape and not fits:
        raise BadRequest(f"input {spec.name}: the model takes {list(spec.shape)}, found {list(array.shape)}")


def _side(side: int | str | None) -> int:
    return side if isinstance(side, int) and side >= 0 else -1


def _listed(names: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(names) if isinstance(names, set) else names)
