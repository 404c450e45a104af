"""Requests, answers and descriptions of the Open Inference Protocol as its messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.open_inference import tensors
from api.open_inference.http_codec import data_type
from api.open_inference.statistics import Duration, ModelStatistics
from api.open_inference.types import (
    BYTES,
    DTYPES,
    MOST_AXES,
    MOST_ID,
    MOST_PARAMETERS,
    MOST_TENSORS,
    Data,
    InferRequest,
    InferResponse,
    Parameter,
    Tensor,
    check_datatype,
    check_names,
    check_parameter,
    count,
    shown,
)
from api.protos import inference_pb2 as messages
from hotswap.errors import BadRequest
from hotswap.predictions import TensorSpec


def dims(spec: TensorSpec) -> dict[str, Any]:
    """A tensor of the graph, as configurations describe it."""
    return {"name": spec.name, "data_type": data_type(spec.datatype), "dims": spec.shape}


def statistics(found: ModelStatistics) -> messages.ModelStatistics:
    """What one version was asked."""
    nothing = Duration()
    return messages.ModelStatistics(
        name=found.name,
        version=found.version,
        last_inference=found.last_inference,
        inference_count=found.count,
        execution_count=found.count,
        inference_stats=messages.InferStatistics(
            success=_duration(found.success),
            fail=_duration(found.fail),
            queue=_duration(found.queue),
            compute_input=_duration(found.compute_input),
            compute_infer=_duration(found.compute_infer),
            compute_output=_duration(found.compute_output),
            cache_hit=_duration(nothing),
            cache_miss=_duration(nothing),
        ),
    )


def _duration(found: Duration) -> messages.StatisticDuration:
    return messages.StatisticDuration(count=found.count, ns=found.ns)


#: Datatype → the field of its elements; FP16 and BF16 have none.
_FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
#: Integers come in fields that are wider than they are; elements read at once, so that other threads go on.
_WIDE = {"i": np.dtype("i8"), "u": np.dtype("u8")}
PIECE, _WIDEST = 16_384, 8
_PARAMETERS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}


def is_raw(request: messages.ModelInferRequest) -> bool:
    """Whether tensors come as bytes."""
    return len(request.raw_input_contents) > 0


def weight(request: messages.ModelInferRequest) -> int:
    """How many elements are to be read one by one."""
    if is_raw(request):
        return 0
    return sum(len(found) for each in request.inputs for _, found in each.contents.ListFields())


def widened(request: messages.ModelInferRequest) -> int:
    """About how many bytes typed elements take here, which may be one each on the wire, and their array."""
    return 2 * _WIDEST * weight(request)


def read(request: messages.ModelInferRequest, **about: Any) -> InferRequest:
    """What a message asks, `about` being what it does not say; raise `BadRequest` naming the field.

    Arrays may look into the message's bytes.
    """
    _check_counts(request)
    for each in request.inputs:
        parameters(f"input {each.name[:64]}", each.parameters)
    for asked in request.outputs:
        parameters(f"output {asked.name[:64]}", asked.parameters)
    check_names("inputs", [each.name for each in request.inputs])
    check_names("outputs", [each.name for each in request.outputs])
    return InferRequest(
        model=request.model_name,
        version=request.model_version or None,
        id=request.id or None,
        parameters=parameters("parameters", request.parameters),
        inputs=_raw_inputs(request) if is_raw(request) else _typed_inputs(request),
        outputs=tuple(each.name for each in request.outputs),
        **about,
    )


def _check_counts(request: messages.ModelInferRequest) -> None:
    if not 1 <= len(request.inputs) <= MOST_TENSORS or len(request.outputs) > MOST_TENSORS:
        raise BadRequest(f"inputs: send at least one, and no more than {MOST_TENSORS} inputs or outputs")
    if len(request.id) > MOST_ID:
        raise BadRequest(f"id: it may have {MOST_ID} characters")


def parameters(where: str, found: Mapping[str, Any]) -> dict[str, Parameter]:
    """Parameters as plain values; raise `BadRequest` for one that is empty or unknown."""
    if len(found) > MOST_PARAMETERS:
        raise BadRequest(f"{where}: at most {MOST_PARAMETERS} parameters")
    plain: dict[str, Parameter] = {}
    for name, value in found.items():
        kind = value.WhichOneof("parameter_choice")
        content: Any = getattr(value, kind) if kind else None
        check_parameter(where, name, content)
        plain[name] = content
    return plain


def _raw_inputs(request: messages.ModelInferRequest) -> tuple[Tensor, ...]:
    if any(each.HasField("contents") for each in request.inputs):
        raise BadRequest("raw_input_contents is there, so no input may have contents: send one of them")
    if len(request.raw_input_contents) != len(request.inputs):
        raise BadRequest(
            f"raw_input_contents: one entry for each of {len(request.inputs)} inputs, "
            f"found {len(request.raw_input_contents)}"
        )
    pairs = zip(request.inputs, request.raw_input_contents, strict=True)
    return tuple(_named(each.name, tensors.tensor(*_about(each), data)) for each, data in pairs)


def _typed_inputs(request: messages.ModelInferRequest) -> tuple[Tensor, ...]:
    return tuple(_named(each.name, _typed(*_about(each), each.contents)) for each in request.inputs)


def _about(found: messages.ModelInferRequest.InferInputTensor) -> tuple[str, str, list[int]]:
    """Its name as errors quote it, its datatype and its shape, both checked."""
    # A shape may take one byte an axis: no more of them are looked at than it takes to refuse it.
    where, shape = f"input {found.name}", list(found.shape[: MOST_AXES + 1])
    datatype = check_datatype(where, found.datatype)
    count(where, shape)
    return where, datatype, shape


def _named(name: str, tensor: Tensor) -> Tensor:
    return Tensor(name, tensor.datatype, tensor.shape, tensor.data)


def _typed(where: str, datatype: str, shape: Sequence[int], contents: messages.InferTensorContents) -> Tensor:
    field = _FIELDS.get(datatype)
    if field is None:
        raise BadRequest(f"{where}: {datatype} has no field in contents; send it as raw_input_contents")
    used = [each.name for each, _ in contents.ListFields()]
    if set(used) - {field}:
        raise BadRequest(f"{where}: contents: the elements of {datatype} are in {field}, found {shown(used)}")
    found = getattr(contents, field)
    if len(found) != count(where, shape):
        raise BadRequest(
            f"{where}: {shape} has {count(where, shape)} elements, found {len(found)} in {field}"
        )
    if datatype == BYTES:
        return Tensor(where, datatype, tuple(shape), list(found))
    return Tensor(where, datatype, tuple(shape), _array(where, datatype, found).reshape(tuple(shape)))


def _array(where: str, datatype: str, found: Sequence[Any]) -> NDArray[Any]:
    dtype = DTYPES[datatype]
    array = np.empty(len(found), dtype)
    for start in range(0, len(found), PIECE):
        piece = np.array(found[start : start + PIECE], _WIDE.get(dtype.kind, dtype))
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            if piece.min() < limits.min or piece.max() > limits.max:
                raise BadRequest(f"{where}: an element is not within the range of {datatype}")
        array[start : start + PIECE] = piece
    return array


def written(response: InferResponse, *, as_raw: bool) -> messages.ModelInferResponse:
    """An answer as a message: tensors as bytes, or in the fields of their datatypes where each has one."""
    answer = messages.ModelInferResponse(
        model_name=response.model,
        model_version=response.version,
        id=response.id or "",
        parameters={name: parameter(value) for name, value in response.parameters.items()},
    )
    whole = as_raw or any(each.datatype not in _FIELDS for each in response.outputs)
    for each in response.outputs:
        tensor = answer.outputs.add(name=each.name, datatype=each.datatype, shape=each.shape)
        if whole:
            answer.raw_output_contents.append(tensors.packed(each.data))
        else:
            getattr(tensor.contents, _FIELDS[each.datatype]).extend(_flat(each.data))
    return answer


def _flat(data: Data) -> Sequence[Any]:
    return data.ravel().tolist() if isinstance(data, np.ndarray) else data


def parameter(value: Parameter) -> messages.InferParameter:
    """One parameter's value."""
    found = messages.InferParameter()
    setattr(found, _PARAMETERS[type(value)], value)
    return found


def size(response: InferResponse) -> int:
    """How many bytes are to be written."""
    arrays = (each.data for each in response.outputs)
    return sum(each.nbytes if isinstance(each, np.ndarray) else sum(map(len, each)) for each in arrays)
