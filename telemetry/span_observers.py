"""Spans of what the core reports: inferences, and versions that are loaded and exchanged."""

from __future__ import annotations

from collections import OrderedDict

from hotswap.errors import ServingError
from hotswap.events import LoadedVersion, Observer, Swap
from hotswap.predictions import Answer, BaseAnswer, TensorAnswer
from manifest.tags import ModelTag
from telemetry import spans

#: Loads whose swap may still come.
_MOST = 100


class InferenceSpans(Observer):
    """`model.inference` of every inference, below the request that asked for it."""

    def predicted(self, answer: Answer | TensorAnswer) -> None:
        """From the moment that it waited for a thread until its answer was complete."""
        if spans.is_on():
            stages = answer.stages
            run = stages.decode + stages.preprocess + stages.inference + stages.postprocess
            spans.past(
                "model.inference",
                (answer.queue_ms + run) / 1e3,
                {**_version(answer), **_found(answer), spans.STATUS: spans.OK},
                ended=answer.ended,
            )

    def refused(self, request_id: str, model: str | None, error: ServingError, seconds: float) -> None:
        """One that was not answered, with its code."""
        if spans.is_on():
            named = {} if model is None else {"model_name": model[:200]}
            attributes = {"request_id": request_id, **named, spans.STATUS: error.code}
            spans.past("model.inference", seconds, attributes, error=error.message)


def _version(answer: BaseAnswer) -> dict[str, str | int | float]:
    stages = answer.stages
    return {
        "request_id": answer.request_id,
        "model_name": answer.model,
        "model_version": answer.version,
        "model_digest": answer.digest,
        "generation": answer.generation,
        "task": answer.task,
        "queue_ms": round(answer.queue_ms, 3),
        "decode_ms": round(stages.decode, 3),
        "preprocess_ms": round(stages.preprocess, 3),
        "inference_ms": round(stages.inference, 3),
        "postprocess_ms": round(stages.postprocess, 3),
    }


def _found(answer: BaseAnswer) -> dict[str, int]:
    if not isinstance(answer, Answer):
        return {}
    found = sum(len(prediction.detections) for prediction in answer.predictions)
    return {"num_images": len(answer.predictions), "num_detections": found}


class ModelSpans(Observer):
    """`model.load` of each version, `model.swap` of each that answers from then on, in one trace."""

    def __init__(self) -> None:
        self._loads: OrderedDict[ModelTag, spans.Span] = OrderedDict()

    def loaded(self, version: LoadedVersion) -> None:
        """How long it took to load it and to warm it up."""
        if not spans.is_on():
            return
        attributes: dict[str, str | float] = {
            "model_name": version.tag.name,
            "model_version": version.tag.version,
            "model_digest": version.digest,
            "load_ms": round(version.load_seconds * 1e3, 3),
            "warm_up_ms": round(version.warm_up_seconds * 1e3, 3),
            spans.STATUS: spans.OK,
        }
        self._loads[version.tag] = spans.past("model.load", version.seconds, attributes)
        while len(self._loads) > _MOST:
            self._loads.popitem(last=False)

    def failed(self, tag: ModelTag, reason: str, retry_in: float) -> None:  # noqa: ARG002
        """Why it does not serve."""
        if spans.is_on():
            named = {"model_name": tag.name, "model_version": tag.version, spans.STATUS: "failed"}
            spans.past("model.load", 0.0, named, error=reason)

    def published(self, swap: Swap) -> None:
        """What answered before, what answers now, and how long requests had to wait."""
        if not spans.is_on():
            return
        said: dict[str, str | int | None] = {
            "model_name": swap.name,
            "model_version": swap.after,
            "model_digest": swap.digest,
            "version_before": swap.before,
            "generation": swap.generation,
            "actor": swap.actor,
            "reason": swap.reason,
            spans.STATUS: spans.OK,
        }
        load = self._loads.pop(ModelTag(swap.name, swap.after), None) if swap.after else None
        attributes = {name: value for name, value in said.items() if value is not None}
        spans.past("model.swap", swap.pause_seconds, attributes, below=load)
