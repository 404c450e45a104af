"""What the protocol tells, as the JSON of its HTTP answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from api.oip.describing import BACKEND, ModelMetadata, ServerMetadata
from api.oip.messages import BYTES, DATATYPES
from api.oip.repository import Entry
from api.oip.statistics import Duration, ModelStatistics
from hotswap.runner import TensorSpec


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


def names(entries: Sequence[Entry]) -> dict[str, Any]:
    """`GET /v2/models` and `GET /v1/models`: every name once."""
    return {"models": list(dict.fromkeys(each.name for each in entries))}


def entry(found: Entry) -> dict[str, Any]:
    """One entry of `POST /v2/repository/index`."""
    version = {} if found.version is None else {"version": found.version}
    return {"name": found.name, **version, "state": found.state, "reason": found.reason}
