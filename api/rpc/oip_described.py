"""What the Open Inference Protocol tells of models, as its messages."""

from __future__ import annotations

from typing import Any

from api.oip.http_answers import data_type
from api.oip.statistics import Duration, ModelStatistics
from api.protos import inference_pb2 as messages
from hotswap.runner import TensorSpec


def dims(spec: TensorSpec) -> dict[str, Any]:
    """A tensor of the graph, as configurations tell it."""
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
