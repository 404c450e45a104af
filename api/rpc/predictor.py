"""`okawari.v1.Predictor`: what `/predict` and `/models` do, with messages, and streams for cameras."""

from __future__ import annotations

import grpc

from api import context, fields
from api.protos import predictor_pb2 as messages
from api.rpc import predicted
from api.rpc.calls import tell_version
from api.rpc.counting import limited
from api.rpc.flight import OpenStreams
from api.rpc.pictures import Call, Pictures, meaning
from api.rpc.receiving import Messages, Unheld
from hotswap import status
from hotswap.control import Control
from hotswap.reconciler import Reconciler
from hotswap.requests import Answer, PredictRequest
from hotswap.runner import Options, Picture

NAME = "okawari.v1.Predictor"

#: Fields of a message, which has six.
_MOST_FIELDS = 64
_read = limited(
    messages.PredictRequest.FromString, _MOST_FIELDS, f"the message has more than {_MOST_FIELDS} fields"
)


class Predictor:
    """The servicer. A call of its own answer raises `ServingError`, which the server turns into a status."""

    def __init__(self, pictures: Pictures, reconciler: Reconciler, control: Control) -> None:
        self._pictures = pictures
        self._reconciler = reconciler
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
        answer = await self._ask(request, request_id, state.deadline)
        tell_version(call, answer.version)
        return predicted.response(name, answer)

    async def predict_stream(self, requests: Messages, call: Call) -> None:
        """A camera's pictures, answered in their order.

        Raises `ShuttingDown` when the service ends before the caller has.
        """

        async def one(request: messages.PredictRequest | Unheld) -> messages.StreamReply:
            if isinstance(request, Unheld):
                return self._unheld(request)
            request_id, name = _ids(request, context.request_id(None))
            try:
                answer = await self._ask(request, request_id, self._pictures.deadline(call))
                return predicted.answered(name, answer)
            except Exception as error:  # noqa: BLE001 - it belongs to this picture, the stream goes on
                return predicted.failed(name, meaning(error, request_id))

        await self._open.run(requests.lenient("request_id"), one, call.write)

    def _unheld(self, request: Unheld) -> messages.StreamReply:
        name = request.name or context.request_id(None)
        self._pictures.refused(context.request_id(name), None, request.error, 0.0)
        return predicted.failed(name, request.error)

    async def list_models(self, _: messages.ListModelsRequest, __: Call) -> messages.ListModelsResponse:
        """Every model with its versions and their states."""
        await self._control.fresh()
        return messages.ListModelsResponse(
            default=self._reconciler.document.default,
            models=[predicted.model(each) for each in status.models(self._reconciler)],
        )

    async def _ask(self, request: messages.PredictRequest, request_id: str, deadline: float) -> Answer:
        with self._pictures.counting(request_id, request.model or None):
            asked = _checked(request)
            return await self._pictures.data_plane.predict(
                PredictRequest(
                    request_id=request_id,
                    pictures=(Picture(encoded=asked.image),),
                    deadline=deadline,
                    model=asked.model,
                    version=asked.version,
                    options=Options(asked.threshold, asked.max_detections),
                )
            )


def _ids(request: messages.PredictRequest, otherwise: str) -> tuple[str, str]:
    """What the log calls the request, and what its answer does: `otherwise` where its caller does not."""
    name = request.request_id or otherwise
    return context.request_id(name), name


def _checked(request: messages.PredictRequest) -> fields.PredictFields:
    names = [name for name in ("threshold", "max_detections") if request.HasField(name)]
    values = {name: getattr(request, name) for name in names}
    return fields.checked(request.image, {"model": request.model, "version": request.version, **values})


def handlers(servicer: Predictor) -> list[grpc.ServiceRpcHandler]:
    """The service."""
    methods = {
        "Predict": grpc.unary_unary_rpc_method_handler(
            servicer.predict, _read, messages.PredictResponse.SerializeToString
        ),
        "PredictStream": grpc.stream_stream_rpc_method_handler(
            servicer.predict_stream, _read, messages.StreamReply.SerializeToString
        ),
        "ListModels": grpc.unary_unary_rpc_method_handler(
            servicer.list_models,
            messages.ListModelsRequest.FromString,
            messages.ListModelsResponse.SerializeToString,
        ),
    }
    return [grpc.method_handlers_generic_handler(NAME, methods)]
