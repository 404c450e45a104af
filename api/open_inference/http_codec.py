"""Infer requests and responses over HTTP: JSON, optionally followed by binary tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson

from api.open_inference import images, tensors
from api.open_inference.metadata import BACKEND, ModelMetadata, ServerMetadata
from api.open_inference.repository import RepositoryEntry
from api.open_inference.statistics import Duration, ModelStatistics
from api.open_inference.types import (
    BYTES,
    DATATYPES,
    MOST_ID,
    MOST_PARAMETERS,
    MOST_TENSORS,
    Data,
    InferResponse,
    Parameter,
    Parameters,
    Tensor,
    check_datatype,
    check_names,
    check_parameter,
    count,
    shown,
)
from hotswap.errors import BadRequest
from hotswap.predictions import TensorSpec

_SIZE, _BINARY, _ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"


@dataclass(frozen=True, slots=True)
class Output:
    """A requested output. `binary`: in binary form; None: as the request sets for all outputs."""

    name: str
    binary: bool | None


@dataclass(frozen=True, slots=True)
class Parsed:
    """A parsed body. `binary`: outputs are binary unless requested otherwise."""

    id: str | None
    parameters: Parameters
    inputs: tuple[Tensor, ...]
    outputs: tuple[Output, ...]
    binary: bool

    def is_binary(self, name: str) -> bool:
        """Whether the output is requested in binary form."""
        requested = next((output.binary for output in self.outputs if output.name == name), None)
        return self.binary if requested is None else requested

    @property
    def held(self) -> int:
        """The bytes of tensors that were copied out of the body."""
        return sum(_owned(tensor.data) for tensor in self.inputs)


def _owned(data: Data) -> int:
    if not isinstance(data, np.ndarray):
        return sum(map(len, data))
    base: object = data
    while isinstance(base, np.ndarray):
        base = base.base
    return data.nbytes if base is None else 0


def json_size(header: str | None, size: int) -> int:
    """The bytes of JSON in a body of `size` bytes, by `Inference-Header-Content-Length`; all without it."""
    if header is None:
        return size
    if not (header.isascii() and header.isdecimal() and len(header) <= 12) or int(header) > size:
        raise BadRequest(
            f"Inference-Header-Content-Length: {header[:32]!r}: must be the number of JSON bytes, at most "
            f"the body's {size}"
        )
    return int(header)


def parse(body: bytes, json_bytes: int) -> Parsed:
    """Parse a body whose first `json_bytes` are JSON. Raises `BadRequest` naming the field.

    Arrays may be views of `body`. A body of some megabytes takes long: call it in a thread.
    """
    document, long = tensors.loads(body, json_bytes)
    if not isinstance(document, dict):
        raise BadRequest('the body must be an object such as {"inputs": […]}')
    parameters = _parameters("parameters", document.get("parameters"))
    binary = _Binary(memoryview(body)[json_bytes:])
    inputs = [_input(entry, long, binary) for entry in _objects("inputs", document.get("inputs"))]
    binary.check_end()
    if long:
        raise BadRequest("a field data with an array of numbers belongs to no input")
    requested = document.get("outputs")
    outputs = [] if requested is None else [_output(entry) for entry in _objects("outputs", requested)]
    if not inputs:
        raise BadRequest("inputs: send at least one")
    check_names("inputs", [tensor.name for tensor in inputs])
    check_names("outputs", [output.name for output in outputs])
    return Parsed(
        id=_id(document.get("id")),
        parameters=parameters,
        inputs=(images.plain(inputs[0]),) if images.has_pictures(inputs) else tuple(inputs),
        outputs=tuple(outputs),
        binary=_flag("parameters", parameters, _ALL_BINARY) or False,
    )


class _Binary:
    """The binary part of a body after the JSON, consumed from the front."""

    def __init__(self, rest: memoryview) -> None:
        self._rest = rest

    def take(self, name: str, size: Parameter) -> memoryview:
        """The next `size` bytes. Raises `BadRequest` if fewer are left."""
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(self._rest):
            raise BadRequest(
                f"{name}: {_SIZE}: found {shown(size)}, but {len(self._rest)} bytes are left after the JSON "
                "(whose length is the header Inference-Header-Content-Length)"
            )
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def check_end(self) -> None:
        """Raise `BadRequest` if bytes are left over."""
        if len(self._rest):
            raise BadRequest(f"{len(self._rest)} bytes after the JSON belong to no input; check {_SIZE}")


def _objects(field: str, value: object) -> list[dict[str, Any]]:
    valid = isinstance(value, list) and all(isinstance(item, dict) for item in value[: MOST_TENSORS + 1])
    if not isinstance(value, list) or not valid or len(value) > MOST_TENSORS:
        raise BadRequest(f"{field}: must be an array of at most {MOST_TENSORS} objects")
    return value


def _input(entry: Mapping[str, Any], long: dict[str, tensors.Long], binary: _Binary) -> Tensor:
    name, shape = _name("inputs", entry), entry.get("shape")
    parameters = _parameters(f"input {name}", entry.get("parameters"))
    datatype = check_datatype(f"input {name}", entry.get("datatype"))
    if not isinstance(shape, list):
        raise BadRequest(f"input {name}: shape: must be an array of whole numbers")
    count(f"input {name}", shape)
    size = parameters.get(_SIZE)
    if size is None:
        data = _data(name, entry, long)
        return _named(name, tensors.read(f"input {name}", datatype, shape, data))
    if "data" in entry:
        raise BadRequest(f"input {name}: has both data and {_SIZE}; send one")
    return _named(name, tensors.tensor(f"input {name}", datatype, shape, binary.take(f"input {name}", size)))


def _named(name: str, tensor: Tensor) -> Tensor:
    return Tensor(name, tensor.datatype, tensor.shape, tensor.data, tensor.text)


def _data(name: str, entry: Mapping[str, Any], long: dict[str, tensors.Long]) -> object:
    """The field `data`, or the long array that it stands for, which is removed from `long`."""
    if "data" not in entry:
        raise BadRequest(f"input {name}: no data, neither in JSON nor as binary tensor data ({_SIZE})")
    data = entry["data"]
    return long.pop(data, data) if isinstance(data, str) else data


def _output(entry: Mapping[str, Any]) -> Output:
    name = _name("outputs", entry)
    where = f"output {name}"
    return Output(name, _flag(where, _parameters(where, entry.get("parameters")), _BINARY))


def _name(field: str, entry: Mapping[str, Any]) -> str:
    name = entry.get("name")
    if not isinstance(name, str):
        raise BadRequest(f"{field}: each needs a name, a string")
    check_names(field, [name])
    return name


def _id(value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value) > MOST_ID):
        raise BadRequest(f"id: must be a string of at most {MOST_ID} characters")
    return value


def _flag(where: str, parameters: Parameters, name: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"{where}: {name}: must be true or false, found {shown(value)}")
    return value


def _parameters(where: str, parameters: object) -> Parameters:
    if parameters is None:
        return {}
    if not isinstance(parameters, dict) or len(parameters) > MOST_PARAMETERS:
        raise BadRequest(f"{where}: parameters: must be an object of at most {MOST_PARAMETERS} values")
    for name, value in parameters.items():
        check_parameter(where, name, value)
    return parameters


def http_request_names(outputs: Sequence[Output]) -> tuple[str, ...]:
    """The names of the requested outputs."""
    return tuple(output.name for output in outputs)


HEADER = "Inference-Header-Content-Length"


def encode(response: InferResponse, is_binary: Callable[[str], bool]) -> tuple[bytes, dict[str, str]]:
    """The body and its headers. Raises `BadRequest` for values that JSON cannot represent."""
    parts: list[bytes] = []
    outputs = [_written_output(item, parts, binary=is_binary(item.name)) for item in response.outputs]
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


def _written_output(tensor: Tensor, parts: list[bytes], *, binary: bool) -> dict[str, Any]:
    about = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    if not binary:
        return {**about, "data": orjson.Fragment(tensors.written(tensor.name, tensor.data))}
    parts.append(tensors.packed(tensor.data))
    return {**about, "parameters": {"binary_data_size": len(parts[-1])}}


def weight(response: InferResponse) -> int:
    """The approximate bytes of the response's tensors."""
    arrays = (tensor.data for tensor in response.outputs)
    return sum(data.nbytes if isinstance(data, np.ndarray) else sum(map(len, data)) for data in arrays)


def server(service: ServerMetadata) -> dict[str, Any]:
    """`GET /v2`."""
    return {"name": service.name, "version": service.version, "extensions": list(service.extensions)}


def metadata(model: ModelMetadata) -> dict[str, Any]:
    """`GET /v2/models/{name}`."""
    return {
        "name": model.name,
        "versions": list(model.versions),
        "platform": model.platform,
        "inputs": _tensors(model.inputs),
        "outputs": _tensors(model.outputs),
        "properties": dict(model.properties),
    }


def _tensors(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [{"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in specs]


def config(model: ModelMetadata) -> dict[str, Any]:
    """`GET /v2/models/{name}/config`, in Triton's form; the batch is the first of `dims`."""
    return {
        "name": model.name,
        "platform": model.platform,
        "backend": BACKEND,
        "max_batch_size": 0,
        "input": _dims(model.inputs),
        "output": _dims(model.outputs),
        "parameters": {name: {"string_value": value} for name, value in model.properties.items()},
    }


def data_type(datatype: str) -> str:
    """Triton's name of a datatype."""
    if datatype not in DATATYPES:
        return "TYPE_INVALID"
    return "TYPE_STRING" if datatype == BYTES else f"TYPE_{datatype}"


def _dims(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [
        {"name": spec.name, "data_type": data_type(spec.datatype), "dims": list(spec.shape)} for spec in specs
    ]


def statistics(model: ModelStatistics) -> dict[str, Any]:
    """One entry of `GET /v2/models/{name}/stats`; the service has no cache."""
    zero = asdict(Duration())
    durations = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": model.last_inference,
        "inference_count": model.count,
        "execution_count": model.count,
        "inference_stats": {
            **{name: asdict(getattr(model, name)) for name in durations},
            "cache_hit": zero,
            "cache_miss": zero,
        },
        "batch_stats": [],
    }


def names(entries: Sequence[RepositoryEntry]) -> dict[str, Any]:
    """`GET /v2/models` and `GET /v1/models`: the names without duplicates."""
    return {"models": list(dict.fromkeys(item.name for item in entries))}


def entry(item: RepositoryEntry) -> dict[str, Any]:
    """One entry of `POST /v2/repository/index`."""
    version = {} if item.version is None else {"version": item.version}
    return {"name": item.name, **version, "state": item.state, "reason": item.reason}
