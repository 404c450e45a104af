"""The service `okawari.v1.Predictor` over gRPC: its calls, and their answers as messages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import grpc
import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from api import context, masks, predict_fields
from api.grpc.call_handler import Call, Pictures, meaning, tell_version
from api.grpc.concurrency import OpenStreams
from api.grpc.flow_control import Messages, RefusedMessage
from api.grpc.message_limits import parser
from api.options import MaskFormat
from api.protos import predictor_pb2 as messages
from hotswap import predictions
from hotswap.control import Control
from hotswap.errors import ServingError
from hotswap.predictions import Answer, Detection, Mask, Picture, PredictRequest, ServedVersion
from hotswap.status import ModelStatus, StateView
from hotswap.version_status import VersionStatus

_OPTIONAL = (
    "threshold",
    "box_threshold",
    "max_detections",
    "text_prompt",
    "text_threshold",
    "nms_threshold",
    "top_k",
)


def response(request_id: str, answer: Answer, mask_format: MaskFormat = "rle") -> messages.PredictResponse:
    """The answer for one picture; the same fields as `POST /predict` gives."""
    prediction = answer.predictions[0]
    embedding = prediction.embedding
    tensors = prediction.tensors or {}
    return messages.PredictResponse(
        request_id=request_id,
        model=answer.model,
        model_version=answer.version,
        model_digest=answer.digest,
        generation=answer.generation,
        task=answer.task,
        detections=[_detection(each, mask_format) for each in prediction.detections],
        scores=prediction.scores,
        image=messages.ImageSize(width=prediction.width, height=prediction.height),
        timings_ms=messages.TimingsMs(**predictions.timings(answer)),
        embedding=[] if embedding is None else embedding.tolist(),
        tensors={name: _tensor(array) for name, array in tensors.items()},
        detector=_detector(answer.detector),
    )


def _detector(detector: ServedVersion | None) -> messages.Detector | None:
    if detector is None:
        return None
    return messages.Detector(
        model=detector.model,
        model_version=detector.version,
        model_digest=detector.digest,
        generation=detector.generation,
    )


def answered(request_id: str, answer: Answer, mask_format: MaskFormat = "rle") -> messages.StreamReply:
    """The reply of a stream that is an answer."""
    return messages.StreamReply(request_id=request_id, answer=response(request_id, answer, mask_format))


def failed(request_id: str, error: ServingError) -> messages.StreamReply:
    """The reply of a stream that is an error."""
    message = messages.Error(code=error.code, message=error.message)
    return messages.StreamReply(request_id=request_id, error=message)


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


def _detection(found: Detection, mask_format: MaskFormat) -> messages.Detection:
    return messages.Detection(
        label=found.label,
        label_id=found.label_id,
        score=found.score,
        bbox=found.bbox or (),
        phrase=found.phrase or "",
        mask=None if found.mask is None else _mask(found.mask, mask_format),
    )


def _mask(mask: Mask, mask_format: MaskFormat) -> messages.Mask:
    if mask_format == "png":
        return messages.Mask(height=mask.height, width=mask.width, png=masks.png(mask))
    counts = masks.coco_counts(mask.counts)
    return messages.Mask(height=mask.height, width=mask.width, counts=counts)


def _tensor(array: NDArray[Any]) -> messages.TensorValue:
    return messages.TensorValue(shape=array.shape, data=array.astype(np.float64).ravel().tolist())


def _version(status: VersionStatus) -> messages.ModelVersion:
    return messages.ModelVersion(
        version=status.version,
        digest=status.digest,
        state=status.state,
        reason=status.reason,
        size_bytes=status.size_bytes,
        created=_moment(status.created),
        device=status.device,
        device_reason=status.device_reason,
    )


def _moment(when: datetime | None) -> Timestamp | None:
    if when is None:
        return None
    moment = Timestamp()
    moment.FromDatetime(when)
    return moment


NAME = "okawari.v1.Predictor"


class Predictor:
    """The servicer. A call of its own answer raises `ServingError`, which the server turns into a status."""

    def __init__(self, pictures: Pictures, view: StateView, control: Control) -> None:
        self._pictures = pictures
        self._view = view
        self._control = control
        self._open = OpenStreams(pictures.in_flight)

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._open)

    def drain(self) -> None:
        """Let every stream answer what it has read, and end: the service ends."""
        self._open.drain()

    async def predict(self, request: messages.PredictRequest, call: Call) -> messages.PredictResponse:
        """One picture."""
        state = context.current.get()
        request_id, name = _ids(request, state.request_id)
        answer, mask_format = await self._ask(request, request_id, state.deadline)
        tell_version(call, answer.version)
        return response(name, answer, mask_format)

    async def predict_stream(self, requests: Messages, call: Call) -> None:
        """A camera's pictures, answered in their order.

        Raises `ShuttingDown` when the service ends before the caller has.
        """

        async def one(request: messages.PredictRequest | RefusedMessage) -> messages.StreamReply:
            if isinstance(request, RefusedMessage):
                return self._unheld(request)
            request_id, name = _ids(request, context.request_id(None))
            try:
                return answered(name, *await self._ask(request, request_id, self._pictures.deadline(call)))
            except Exception as error:  # noqa: BLE001 - it belongs to this picture, the stream goes on
                return failed(name, meaning(error, request_id))

        await self._open.run(requests.lenient("request_id"), one, call.write)

    def _unheld(self, request: RefusedMessage) -> messages.StreamReply:
        name = request.name or context.request_id(None)
        self._pictures.recorder.refused(context.request_id(name), None, request.error)
        return failed(name, request.error)

    async def list_models(self, _: messages.ListModelsRequest, __: Call) -> messages.ListModelsResponse:
        """Every model with its versions and their states."""
        await self._control.fresh()
        return messages.ListModelsResponse(
            default=self._view.default,
            models=[model(each) for each in self._view.models()],
        )

    async def _ask(
        self, request: messages.PredictRequest, request_id: str, deadline: float
    ) -> tuple[Answer, MaskFormat]:
        with self._pictures.recorder.inference(request_id, request.model or None) as outcome:
            asked = _checked(request)
            outcome.answer = answer = await self._pictures.data_plane.predict(
                PredictRequest(
                    request_id=request_id,
                    pictures=(Picture(encoded=asked.image),),
                    deadline=deadline,
                    model=asked.model,
                    version=asked.version,
                    options=asked.options,
                )
            )
            return answer, asked.mask_format


def _ids(request: messages.PredictRequest, otherwise: str) -> tuple[str, str]:
    """What the log calls the request, and what its answer does: `otherwise` where its caller does not."""
    name = request.request_id or otherwise
    return context.request_id(name), name


def _checked(request: messages.PredictRequest) -> predict_fields.PredictFields:
    values = {name: getattr(request, name) for name in _OPTIONAL if request.HasField(name)}
    return predict_fields.checked(
        request.image,
        {
            "model": request.model,
            "version": request.version,
            "points": [[point.x, point.y, point.label] for point in request.points],
            "boxes": [[box.x1, box.y1, box.x2, box.y2] for box in request.boxes],
            "mask_format": request.mask_format,
            **values,
        },
    )


def handlers(servicer: Predictor) -> list[grpc.ServiceRpcHandler]:
    """The service."""
    parse = parser(messages.PredictRequest)
    methods = {
        "Predict": grpc.unary_unary_rpc_method_handler(
            servicer.predict, parse, messages.PredictResponse.SerializeToString
        ),
        "PredictStream": grpc.stream_stream_rpc_method_handler(
            servicer.predict_stream, parse, messages.StreamReply.SerializeToString
        ),
        "ListModels": grpc.unary_unary_rpc_method_handler(
            servicer.list_models,
            messages.ListModelsRequest.FromString,
            messages.ListModelsResponse.SerializeToString,
        ),
    }
    return [grpc.method_handlers_generic_handler(NAME, methods)]
