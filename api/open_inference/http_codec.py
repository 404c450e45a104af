"""An infer request as it comes over HTTP: JSON, after which tensors may lie in binary form."""

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
    """An output that is asked for by name. `binary`: in binary form; None: as the request says for all."""

    name: str
    binary: bool | None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a body says. `binary`: outputs come in binary form unless they are asked for otherwise."""

    id: str | None
    parameters: Parameters
    inputs: tuple[Tensor, ...]
    outputs: tuple[Output, ...]
    binary: bool

    def is_binary(self, name: str) -> bool:
        """Whether that output is to be in binary form."""
        asked = next((each.binary for each in self.outputs if each.name == name), None)
        return self.binary if asked is None else asked

    @property
    def held(self) -> int:
        """Bytes of the tensors that do not lie in the body itself."""
        return sum(_owned(each.data) for each in self.inputs)


def _owned(data: Data) -> int:
    if not isinstance(data, np.ndarray):
        return sum(map(len, data))
    base: object = data
    while isinstance(base, np.ndarray):
        base = base.base
    return data.nbytes if base is None else 0


def json_size(header: str | None, size: int) -> int:
    """How much of a body of `size` bytes is JSON, by `Inference-Header-Content-Length`; all without it."""
    if header is None:
        return size
    if not (header.isascii() and header.isdecimal() and len(header) <= 12) or int(header) > size:
        raise BadRequest(
            f"Inference-Header-Content-Length: {header[:32]!r}: it must be the bytes of JSON, "
            f"of the body's {size}"
        )
    return int(header)


def parse(body: bytes, json_bytes: int) -> Parsed:
    """Read a body whose first `json_bytes` are JSON; raise `BadRequest` naming the field.

    Arrays may look into `body`. A body of some megabytes takes long: call it in a thread.
    """
    document, long = tensors.loads(body, json_bytes)
    if not isinstance(document, dict):
        raise BadRequest('the body must be an object such as {"inputs": […]}')
    parameters = _parameters("parameters", document.get("parameters"))
    binary = _Binary(memoryview(body)[json_bytes:])
    inputs = [_input(each, long, binary) for each in _objects("inputs", document.get("inputs"))]
    binary.check_end()
    if long:
        raise BadRequest("an array behind the name data belongs to no input")
    wanted = document.get("outputs")
    outputs = [] if wanted is None else [_output(each) for each in _objects("outputs", wanted)]
    if not inputs:
        raise BadRequest("inputs: send at least one")
    check_names("inputs", [each.name for each in inputs])
    check_names("outputs", [each.name for each in outputs])
    return Parsed(
        id=_id(document.get("id")),
        parameters=parameters,
        inputs=(images.plain(inputs[0]),) if images.meant(inputs) else tuple(inputs),
        outputs=tuple(outputs),
        binary=_flag("parameters", parameters, _ALL_BINARY) or False,
    )


class _Binary:
    """The part of a body behind the JSON, taken from its front."""

    def __init__(self, rest: memoryview) -> None:
        self._rest = rest

    def take(self, name: str, size: Parameter) -> memoryview:
        """The next `size` bytes; raise `BadRequest` where there are fewer."""
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(self._rest):
            raise BadRequest(
                f"{name}: {_SIZE}: {shown(size)}; {len(self._rest)} bytes are left behind the JSON "
                "(the header Inference-Header-Content-Length tells where it ends)"
            )
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def check_end(self) -> None:
        """Raise `BadRequest` when something is left."""
        if len(self._rest):
            raise BadRequest(f"{len(self._rest)} bytes behind the JSON belong to no input; see {_SIZE}")


def _objects(what: str, found: object) -> list[dict[str, Any]]:
    listed = isinstance(found, list) and all(isinstance(each, dict) for each in found[: MOST_TENSORS + 1])
    if not isinstance(found, list) or not listed or len(found) > MOST_TENSORS:
        raise BadRequest(f"{what}: it must be an array of at most {MOST_TENSORS} objects")
    return found


def _input(found: Mapping[str, Any], long: dict[str, tensors.Long], binary: _Binary) -> Tensor:
    name, shape = _name("inputs", found), found.get("shape")
    parameters = _parameters(f"input {name}", found.get("parameters"))
    datatype = check_datatype(f"input {name}", found.get("datatype"))
    if not isinstance(shape, list):
        raise BadRequest(f"input {name}: shape: it must be an array of whole numbers")
    count(f"input {name}", shape)
    size = parameters.get(_SIZE)
    if size is None:
        data = _data(name, found, long)
        return _named(name, tensors.read(f"input {name}", datatype, shape, data))
    if "data" in found:
        raise BadRequest(f"input {name}: it has both data and {_SIZE}; send one")
    return _named(name, tensors.tensor(f"input {name}", datatype, shape, binary.take(f"input {name}", size)))


def _named(name: str, tensor: Tensor) -> Tensor:
    return Tensor(name, tensor.datatype, tensor.shape, tensor.data, tensor.text)


def _data(name: str, found: Mapping[str, Any], long: dict[str, tensors.Long]) -> object:
    """The field `data`, or the text of it that was taken out, which is then in `long` no more."""
    if "data" not in found:
        raise BadRequest(f"input {name}: it has no data, neither in JSON nor as binary tensor data ({_SIZE})")
    data = found["data"]
    return long.pop(data, data) if isinstance(data, str) else data


def _output(found: Mapping[str, Any]) -> Output:
    name = _name("outputs", found)
    where = f"output {name}"
    return Output(name, _flag(where, _parameters(where, found.get("parameters")), _BINARY))


def _name(what: str, found: Mapping[str, Any]) -> str:
    name = found.get("name")
    if not isinstance(name, str):
        raise BadRequest(f"{what}: every one needs a name, a string")
    check_names(what, [name])
    return name


def _id(found: object) -> str | None:
    if found is not None and (not isinstance(found, str) or len(found) > MOST_ID):
        raise BadRequest(f"id: it must be a string of at most {MOST_ID} characters")
    return found


def _flag(where: str, parameters: Parameters, name: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"{where}: {name}: it must be true or false, found {shown(value)}")
    return value


def _parameters(where: str, found: object) -> Parameters:
    if found is None:
        return {}
    if not isinstance(found, dict) or len(found) > MOST_PARAMETERS:
        raise BadRequest(f"{where}: parameters: an object of at most {MOST_PARAMETERS} values was expected")
    for name, value in found.items():
        check_parameter(where, name, value)
    return found


def http_request_names(outputs: Sequence[Output]) -> tuple[str, ...]:
    """The names that are asked for."""
    return tuple(each.name for each in outputs)


HEADER = "Inference-Header-Content-Length"


def encode(response: InferResponse, is_binary: Callable[[str], bool]) -> tuple[bytes, dict[str, str]]:
    """The body and the headers that tell what it is; raise `BadRequest` for what JSON cannot tell."""
    parts: list[bytes] = []
    outputs = [_written_output(each, parts, binary=is_binary(each.name)) for each in response.outputs]
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
    """About how many bytes of tensors are to be written."""
    arrays = (each.data for each in response.outputs)
    return sum(each.nbytes if isinstance(each, np.ndarray) else sum(map(len, each)) for each in arrays)


def server(found: ServerMetadata) -> dict[str, Any]:
    """`GET /v2`."""
    return {"name": found.name, "version": found.version, "extensions": list(found.extensions)}


def metadata(found: ModelMetadata) -> dict[str, Any]:
    """`GET /v2/models/{name}`."""
    return {
        "name": found.name,
        "versions": list(found.versions),
        "platform": found.platform,
        "inputs": _tensors(found.inputs),
        "outputs": _tensors(found.outputs),
        "properties": dict(found.properties),
    }


def _tensors(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in specs]


def config(found: ModelMetadata) -> dict[str, Any]:
    """`GET /v2/models/{name}/config`: Triton's form; the batch is the first of `dims`."""
    return {
        "name": found.name,
        "platform": found.platform,
        "backend": BACKEND,
        "max_batch_size": 0,
        "input": _dims(found.inputs),
        "output": _dims(found.outputs),
        "parameters": {name: {"string_value": value} for name, value in found.properties.items()},
    }


def data_type(datatype: str) -> str:
    """Triton's word for a datatype of the protocol."""
    if datatype not in DATATYPES:
        return "TYPE_INVALID"
    return "TYPE_STRING" if datatype == BYTES else f"TYPE_{datatype}"


def _dims(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "data_type": data_type(each.datatype), "dims": list(each.shape)} for each in specs
    ]


def statistics(found: ModelStatistics) -> dict[str, Any]:
    """One entry of `GET /v2/models/{name}/stats`; there is no cache."""
    nothing = asdict(Duration())
    durations = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
    return {
        "name": found.name,
        "version": found.version,
        "last_inference": found.last_inference,
        "inference_count": found.count,
        "execution_count": found.count,
        "inference_stats": {
            **{name: asdict(getattr(found, name)) for name in durations},
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [],
    }


def names(entries: Sequence[RepositoryEntry]) -> dict[str, Any]:
    """`GET /v2/models` and `GET /v1/models`: every name once."""
    return {"models": list(dict.fromkeys(each.name for each in entries))}


def entry(found: RepositoryEntry) -> dict[str, Any]:
    """One entry of `POST /v2/repository/index`."""
    version = {} if found.version is None else {"version": found.version}
    return {"name": found.name, **version, "state": found.state, "reason": found.reason}
