"""The service `GRPCInferenceService`: the Open Inference Protocol over gRPC, with its infer streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from api import context
from api.access import guard
from api.budget import ByteBudget
from api.context import RequestContext
from api.grpc import message_limits, open_inference_codec
from api.grpc import open_inference_codec as described
from api.grpc.call_handler import Call, Pictures, meaning, tell_version
from api.grpc.concurrency import OpenStreams
from api.grpc.flow_control import HeldBytes, Messages, RefusedMessage
from api.open_inference import not_supported
from api.open_inference.metadata import BACKEND
from api.open_inference.types import InferRequest, InferResponse
from api.parts import ServiceParts
from api.protos import inference_pb2 as messages
from hotswap.errors import BadRequest, ModelNotFound, ServingError, VersionNotFound
from hotswap.predictions import BaseRequest

#: Each request has one answer here, and with it everything is said.
_FINAL = "triton_final_response"

Answer = Callable[[messages.ModelInferRequest], Awaitable[messages.ModelInferResponse]]


@dataclass(frozen=True, slots=True)
class _Reply:
    """What is written, and what is held for it until then beside the request's own bytes."""

    message: messages.ModelStreamInferResponse
    held: HeldBytes


class InferStreams:
    """The streams of one server. `answer` answers one request, under the context that is set for it."""

    def __init__(self, answer: Answer, pictures: Pictures, store: ByteBudget) -> None:
        self._answer = answer
        self._pictures = pictures
        self._store = store
        self._open = OpenStreams(pictures.in_flight)

    def drain(self) -> None:
        """Let every stream answer what it has read, and end: the service ends."""
        self._open.drain()

    async def stream(self, requests: Messages, call: Call) -> None:
        """Answer each request; the error of one is in `error_message`, and the stream goes on.

        Raises `ShuttingDown` when the service ends before the caller has.
        """
        holding: set[HeldBytes] = set()

        async def one(request: messages.ModelInferRequest | RefusedMessage) -> _Reply:
            held = HeldBytes(self._store)
            holding.add(held)
            return _Reply(await self._one(request, held, call), held)

        async def give(reply: _Reply) -> None:
            await call.write(reply.message)
            reply.held.release()
            holding.discard(reply.held)

        try:
            await self._open.run(requests.lenient("id"), one, give)
        finally:
            for held in holding:
                held.release()

    async def _one(
        self, request: messages.ModelInferRequest | RefusedMessage, held: HeldBytes, call: Call
    ) -> messages.ModelStreamInferResponse:
        if isinstance(request, RefusedMessage):
            self._pictures.recorder.refused(context.request_id(request.name or None), None, request.error)
            return _failed(request.name, request.error)
        request_id = context.request_id(request.id or None)
        deadline = self._pictures.deadline(call)
        # The task is this request's own, and so is its context.
        context.current.set(RequestContext(request_id, deadline, hold=held.add))
        try:
            answer = await self._answer(request)
        except Exception as error:  # noqa: BLE001 - it belongs to this request, the stream goes on
            return _failed(request.id, meaning(error, request_id))
        answer.parameters[_FINAL].bool_param = True
        return messages.ModelStreamInferResponse(infer_response=answer)


def _failed(name: str, error: ServingError) -> messages.ModelStreamInferResponse:
    """The reply that is an error; `name` is the caller's id of the request."""
    about = messages.ModelInferResponse(id=name)
    about.parameters[_FINAL].bool_param = True
    return messages.ModelStreamInferResponse(error_message=error.message, infer_response=about)


NAME = "inference.GRPCInferenceService"
#: Elements of a message that are read, and bytes of an answer that are written, without a thread.
QUICK, QUICK_BYTES = 16_384, 65_536

Metadata = messages.ModelMetadataResponse.TensorMetadata


class InferenceServicer:
    """The servicer: one method, one call. What goes wrong is raised as `ServingError`."""

    def __init__(self, parts: ServiceParts) -> None:
        self._parts = parts

    async def server_live(self, _: Any, __: Any) -> messages.ServerLiveResponse:
        """Who answers, lives."""
        return messages.ServerLiveResponse(live=True)

    async def server_ready(self, _: Any, __: Any) -> messages.ServerReadyResponse:
        """Whether every required model has a serving version."""
        return messages.ServerReadyResponse(ready=self._parts.not_ready() is None)

    async def model_ready(self, request: messages.ModelReadyRequest, _: Any) -> messages.ModelReadyResponse:
        """Whether a model, or that version of it, would answer now; no where there is none of that name.

        Clients ask again and again until a model has come.
        """
        try:
            reason = self._parts.models.not_ready(request.name, request.version or None)
        except (ModelNotFound, VersionNotFound):
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=reason is None)

    async def server_metadata(self, _: Any, __: Any) -> messages.ServerMetadataResponse:
        """Name, version, extensions."""
        found = self._parts.models.server()
        return messages.ServerMetadataResponse(
            name=found.name, version=found.version, extensions=found.extensions
        )

    async def model_metadata(
        self, request: messages.ModelMetadataRequest, call: Any
    ) -> messages.ModelMetadataResponse:
        """The version that would answer, by its graph."""
        found = await self._parts.models.metadata(_asked(request.name, request.version))
        tell_version(call, found.version)
        return messages.ModelMetadataResponse(
            name=found.name,
            versions=found.versions,
            platform=found.platform,
            inputs=[
                Metadata(name=each.name, datatype=each.datatype, shape=each.shape) for each in found.inputs
            ],
            outputs=[
                Metadata(name=each.name, datatype=each.datatype, shape=each.shape) for each in found.outputs
            ],
            properties=found.properties,
        )

    async def model_infer(self, request: messages.ModelInferRequest, call: Any) -> None:
        """Tensors for the graph, or pictures; answered in the form that they came in, raw or typed.

        Returns when the caller has taken the answer: until then its bytes are held, and count.
        """
        answer = await self.answer(request)
        tell_version(call, answer.model_version)
        await call.write(answer)

    async def answer(self, request: messages.ModelInferRequest) -> messages.ModelInferResponse:
        """The answer to one infer request, in the form that it came in; what fails is counted, and raised."""
        state = context.current.get()
        recorder, model = self._parts.recorder, request.model_name or None
        with recorder.inference(state.request_id, model, state.received) as outcome:
            answer = await self._parts.inference.infer(await self._read(request), outcome)
            return await self._written(request, answer)

    async def _read(self, request: messages.ModelInferRequest) -> InferRequest:
        state = context.current.get()

        def work() -> InferRequest:
            return open_inference_codec.read(
                request, request_id=state.request_id, deadline=state.deadline, received=state.received
            )

        if open_inference_codec.weight(request) <= QUICK:
            return work()
        state.hold(open_inference_codec.widened(request))
        return await self._parts.data_plane.aside(work, state.deadline)

    @staticmethod
    async def _written(
        request: messages.ModelInferRequest, answer: InferResponse
    ) -> messages.ModelInferResponse:
        as_raw, size = open_inference_codec.is_raw(request), open_inference_codec.size(answer)
        if size <= QUICK_BYTES:
            return open_inference_codec.written(answer, as_raw=as_raw)
        # The answer waits for the caller to take it: it counts until then.
        state = context.current.get()
        state.hold(size)
        write = partial(open_inference_codec.written, answer, as_raw=as_raw)
        return await context.in_time(write, state.deadline)

    async def model_config(
        self, request: messages.ModelConfigRequest, call: Any
    ) -> messages.ModelConfigResponse:
        """Extension model_configuration: what load generators ask before they build requests."""
        found = await self._parts.models.metadata(_asked(request.name, request.version))
        tell_version(call, found.version)
        config = messages.ModelConfig(
            name=found.name,
            platform=found.platform,
            backend=BACKEND,
            input=[messages.ModelInput(**described.dims(each)) for each in found.inputs],
            output=[messages.ModelOutput(**described.dims(each)) for each in found.outputs],
            parameters={
                name: messages.ModelParameter(string_value=value) for name, value in found.properties.items()
            },
        )
        return messages.ModelConfigResponse(config=config)

    async def model_statistics(
        self, request: messages.ModelStatisticsRequest, _: Any
    ) -> messages.ModelStatisticsResponse:
        """Extension statistics: of all models, of one, or of one version."""
        if request.version and not request.name:
            raise BadRequest("version: name its model, too")
        found = await self._parts.statistics.of(request.name or None, request.version or None)
        return messages.ModelStatisticsResponse(model_stats=[described.statistics(each) for each in found])

    async def repository_index(
        self, request: messages.RepositoryIndexRequest, _: Any
    ) -> messages.RepositoryIndexResponse:
        """Extension model_repository: every version of every model."""
        _check_repository(request.repository_name)
        found = await self._parts.repository.index(ready=request.ready)
        entry = messages.RepositoryIndexResponse.ModelIndex
        return messages.RepositoryIndexResponse(
            models=[
                entry(name=each.name, version=each.version or "", state=each.state, reason=each.reason)
                for each in found
            ]
        )

    async def load(
        self, request: messages.RepositoryModelLoadRequest, _: Any
    ) -> messages.RepositoryModelLoadResponse:
        """Returns when the model serves; needs the scope models:write."""
        actor = guard.actor()
        _check_repository(request.repository_name)
        await self._parts.repository.load(request.model_name, request.parameters, actor)
        return messages.RepositoryModelLoadResponse()

    async def unload(
        self, request: messages.RepositoryModelUnloadRequest, _: Any
    ) -> messages.RepositoryModelUnloadResponse:
        """Returns when no version of the model serves; needs the scope models:write."""
        actor = guard.actor()
        _check_repository(request.repository_name)
        await self._parts.repository.unload(request.model_name, actor)
        return messages.RepositoryModelUnloadResponse()


def _asked(name: str, version: str) -> BaseRequest:
    state = context.current.get()
    return BaseRequest(
        request_id=state.request_id, deadline=state.deadline, model=name or None, version=version or None
    )


def _check_repository(name: str) -> None:
    if name:
        raise BadRequest("repository_name: there is one repository here; leave it out")


def handlers(servicer: InferenceServicer, streams: InferStreams) -> list[grpc.ServiceRpcHandler]:
    """The service."""
    behaviours = {
        "ServerLive": servicer.server_live,
        "ServerReady": servicer.server_ready,
        "ModelReady": servicer.model_ready,
        "ServerMetadata": servicer.server_metadata,
        "ModelMetadata": servicer.model_metadata,
        "ModelInfer": servicer.model_infer,
        "ModelConfig": servicer.model_config,
        "ModelStatistics": servicer.model_statistics,
        "RepositoryIndex": servicer.repository_index,
        "RepositoryModelLoad": servicer.load,
        "RepositoryModelUnload": servicer.unload,
    }
    methods = {**_methods(behaviours), "ModelStreamInfer": _streaming(streams), **_not_offered()}
    return [grpc.method_handlers_generic_handler(NAME, methods)]


def _streaming(streams: InferStreams) -> grpc.RpcMethodHandler:
    return grpc.stream_stream_rpc_method_handler(
        streams.stream,
        message_limits.parser(messages.ModelInferRequest),
        messages.ModelStreamInferResponse.SerializeToString,
    )


def _not_offered() -> dict[str, grpc.RpcMethodHandler]:
    """What clients of Triton call and get no answer to; their messages are not read."""
    return {
        name: grpc.unary_unary_rpc_method_handler(not_supported.refusing(name), bytes)
        for name in not_supported.METHODS
    }


#: They write their one answer themselves. On the wire that is the same.
_WRITING = ("ModelInfer",)


def _methods(behaviours: dict[str, Any]) -> dict[str, grpc.RpcMethodHandler]:
    """Every method takes a message `<Method>Request` and gives a `<Method>Response`."""
    one, writing = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    return {
        name: (writing if name in _WRITING else one)(
            behave,
            message_limits.parser(getattr(messages, f"{name}Request")),
            getattr(messages, f"{name}Response").SerializeToString,
        )
        for name, behave in behaviours.items()
    }
