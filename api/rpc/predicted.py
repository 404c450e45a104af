"""Answers of `okawari.v1.Predictor`: how the core's plain data becomes its messages."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from api import answers
from api.protos import predictor_pb2 as messages
from hotswap.errors import ServingError
from hotswap.requests import Answer
from hotswap.runner import Detection
from hotswap.status import ModelStatus, VersionStatus


def response(request_id: str, answer: Answer) -> messages.PredictResponse:
    """The answer for one picture; the same fields as `POST /predict` gives."""
    prediction = answer.predictions[0]
    embedding = prediction.embedding
    return messages.PredictResponse(
        request_id=request_id,
        model=answer.model,
        model_version=answer.version,
        model_digest=answer.digest,
        generation=answer.generation,
        task=answer.task,
        detections=[_detection(each) for each in prediction.detections],
        scores=prediction.scores,
        image=messages.ImageSize(width=prediction.width, height=prediction.height),
        timings_ms=messages.TimingsMs(**answers.timings(answer)),
        embedding=[] if embedding is None else embedding.tolist(),
    )


def answered(request_id: str, answer: Answer) -> messages.StreamReply:
    """The reply of a stream that is an answer."""
    return messages.StreamReply(request_id=request_id, answer=response(request_id, answer))


def failed(request_id: str, error: ServingError) -> messages.StreamReply:
    """The reply of a stream that is an error."""
    told = messages.Error(code=error.code, message=error.message)
    return messages.StreamReply(request_id=request_id, error=told)


def model(status: ModelStatus) -> messages.Model:
    """One model; the same fields as `GET /models` gives."""
    return messages.Model(
        name=status.name,
        target=status.target,
        serving=status.serving,
        generation=status.generation,
        revision=status.revision,
        reason=status.reason,
        versions=[_version(each) for each in status.versions],
    )


def _detection(found: Detection) -> messages.Detection:
    return messages.Detection(
        label=found.label, label_id=found.label_id, score=found.score, bbox=found.bbox or ()
    )


def _version(status: VersionStatus) -> messages.ModelVersion:
    return messages.ModelVersion(
        version=status.version,
        digest=status.digest,
        state=status.state,
        reason=status.reason,
        size_bytes=status.size_bytes,
        created=_moment(status.created),
    )


def _moment(when: datetime | None) -> Timestamp | None:
    if when is None:
        return None
    moment = Timestamp()
    moment.FromDatetime(when)
    return moment
