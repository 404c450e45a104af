"""The service `ModelInference` of ModelMora over gRPC: vectors of pictures, in batches and streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import grpc

from api import context, predict_fields
from api import options as predict_options
from api.grpc import concurrency, message_limits
from api.grpc.call_handler import Call, Pictures, meaning, tell_version
from api.grpc.concurrency import cancel_all
from api.object_source import NamedPictures, is_uri
from api.protos.modelmora_pb2 import BatchRequest, EmbeddingRequest, EmbeddingResponse, InferenceStatus
from hotswap.dataplane import ModelWait
from hotswap.errors import BadRequest, ModelFailed, place_of_image
from hotswap.events import Outcome
from hotswap.predictions import Answer, Picture, PredictRequest

State = InferenceStatus.State
#: Bytes of an image_data that may be an address.
_LONGEST_URI = 3_000

_PROGRESS = {State.LOADING: 0.0, State.QUEUED: 0.25, State.RUNNING: 0.5, State.DONE: 1.0}


class ProgressStates:
    """The states of the work on a picture, sent in the order in which they come."""

    def __init__(self, request_id: str, call: Call) -> None:
        self._request_id = request_id
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[State | None] = asyncio.Queue()  # None: it has ended

    def add(self, state: State) -> None:
        """Called on the event loop."""
        self._told.put_nowait(state)

    def begun(self) -> None:
        """A thread has begun; called in that thread."""
        with suppress(RuntimeError):  # the loop is closed when the process ends under running work
            self._loop.call_soon_threadsafe(self.add, State.RUNNING)

    def soon(self, state: State) -> Callable[[], None]:
        """Add a state when the running step of this task has ended; the result takes it back until then."""
        return self._loop.call_soon(self.add, state).cancel

    async def send(
        self, work: Coroutine[Any, Any, EmbeddingResponse], error_text: Callable[[Exception], str]
    ) -> None:
        """Do the work and send its states, the last with the result, or with the `error_text` of an error."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._told.put_nowait(None))
        reached = 0.0
        try:
            while (state := await self._told.get()) is not None:
                reached = _PROGRESS[state]
                await self._write(state, reached)
            await self._last(task, reached, error_text)
        finally:
            await cancel_all([task])

    async def _last(
        self, task: asyncio.Task[EmbeddingResponse], reached: float, error_text: Callable[[Exception], str]
    ) -> None:
        error = task.exception()
        if error is None:
            await self._write(State.DONE, _PROGRESS[State.DONE], result=task.result())
        elif isinstance(error, Exception):
            await self._write(State.FAILED, reached, error=error_text(error))
        else:
            raise error

    async def _write(self, state: State, progress: float, **more: Any) -> None:
        message = InferenceStatus(request_id=self._request_id, state=state, progress=progress, **more)
        await self._call.write(message)


#: The service's names: with its package, and as stubs without a package call it.
NAMES = ("modelmora.v1.ModelInference", "ModelInference")

TASK = "image-embedding"
#: An option that names the picture, as `image_data` may: `s3://bucket/key`.
IMAGE_URI = "image_uri"
_OPTIONS = ("version", IMAGE_URI, *predict_options.NAMES)


class ModelInference:
    """The servicer. A call of its own answer raises `ServingError`, which the server turns into a status."""

    def __init__(self, pictures: Pictures, arriving: ModelWait, named: NamedPictures) -> None:
        self._pictures = pictures
        self._arriving = arriving
        self._named = named

    async def generate_embedding(self, request: EmbeddingRequest, call: Call) -> EmbeddingResponse:
        """One picture, one vector."""
        state = context.current.get()
        answer = await self._answer(_Wanted(request, state.request_id), state.deadline)
        tell_version(call, answer.model_version)
        return answer

    async def generate_batch(self, request: BatchRequest, call: Call) -> None:
        """Each picture's vector, or what is wrong with it, as they are ready."""

        count = len(request.requests)

        async def one(item: tuple[int, EmbeddingRequest]) -> EmbeddingResponse:
            wanted = _Wanted(item[1], str(item[0]), place_of_image(item[0], count))
            try:
                return await self._answer(wanted, self._pictures.deadline(call))
            except Exception as error:  # noqa: BLE001 - it belongs to this picture, the others go on
                return EmbeddingResponse(
                    request_id=wanted.name, model_name=item[1].model_name, error=wanted.error_text(error)
                )

        await concurrency.run_unordered(
            enumerate(request.requests), one, call.write, self._pictures.in_flight
        )

    async def generate_embedding_stream(self, request: EmbeddingRequest, call: Call) -> None:
        """What becomes of one picture, state by state; the last has its vector or what is wrong."""
        state = context.current.get()
        wanted = _Wanted(request, state.request_id)
        steps = ProgressStates(wanted.name, call)
        await steps.send(self._follow(wanted, state.deadline, steps), wanted.error_text)

    async def _follow(self, wanted: _Wanted, deadline: float, steps: ProgressStates) -> EmbeddingResponse:
        with self._pictures.recorder.inference(wanted.request_id, wanted.model) as outcome:
            asked = wanted.checked()
            if not self._arriving.serves(asked.model, asked.version):
                steps.add(State.LOADING)
                await self._arriving.wait_until_servable(asked.model, asked.version, deadline)
            # It is refused at once, or waits for a thread when this step ends.
            take_back = steps.soon(State.QUEUED)
            try:
                return await self._ask(wanted, asked, deadline, outcome, steps.begun)
            finally:
                take_back()

    async def _answer(self, wanted: _Wanted, deadline: float) -> EmbeddingResponse:
        with self._pictures.recorder.inference(wanted.request_id, wanted.model) as outcome:
            return await self._ask(wanted, wanted.checked(), deadline, outcome)

    async def _ask(
        self,
        wanted: _Wanted,
        asked: predict_fields.PredictFields,
        deadline: float,
        outcome: Outcome,
        begun: Callable[[], None] | None = None,
    ) -> EmbeddingResponse:
        uri = wanted.uri
        if uri is not None:
            async with self._named.read(uri, IMAGE_URI, deadline) as image:
                return await self._predict(wanted, replace(asked, image=image), deadline, outcome, begun)
        return await self._predict(wanted, asked, deadline, outcome, begun)

    async def _predict(
        self,
        wanted: _Wanted,
        asked: predict_fields.PredictFields,
        deadline: float,
        outcome: Outcome,
        begun: Callable[[], None] | None,
    ) -> EmbeddingResponse:
        request = PredictRequest(
            request_id=wanted.request_id,
            pictures=(Picture(encoded=asked.image),),
            deadline=deadline,
            model=asked.model,
            version=asked.version,
            options=asked.options,
            task=TASK,
            begun=begun,
        )
        outcome.answer = answer = await self._pictures.data_plane.predict(request)
        return _response(wanted.name, answer)


class _Wanted:
    """A request for one vector. `name` is what its answer calls it, `request_id` what the log does.

    `otherwise` is its name where the caller has given it none, `place` its position among others.
    """

    def __init__(self, request: EmbeddingRequest, otherwise: str, place: str = "") -> None:
        self._request = request
        self._place = place
        self.name = request.request_id or otherwise
        self.request_id = context.request_id(self.name)
        self.model = request.model_name or None

    @property
    def uri(self) -> str | None:
        """Where the picture is, if the call names it instead of sending it."""
        named = self._request.options.get(IMAGE_URI)
        if named:
            return str(named)
        data = self._request.image_data
        return data[:_LONGEST_URI].decode(errors="replace") if is_uri(data) else None

    def checked(self) -> predict_fields.PredictFields:
        """What it says; raise `BadRequest` naming the field."""
        request = self._request
        unknown = next((key for key in request.options if key not in _OPTIONS), None)
        if unknown is not None:
            raise BadRequest(f"options: {unknown[:64]!r}: no such option; there is {', '.join(_OPTIONS)}")
        if request.options.get(IMAGE_URI) and request.image_data:
            raise BadRequest(f"options: {IMAGE_URI}: send it, or image_data, not both")
        values: dict[str, object] = {**request.options, "model": request.model_name}
        values.pop(IMAGE_URI, None)
        image = request.image_data or (self.uri or "").encode()
        return predict_fields.checked(image, values, field="image_data")

    def error_text(self, error: Exception) -> str:
        """The text of an error for its caller."""
        known = meaning(error, self.request_id)
        return f"{known.code}: {self._place}{known.message}"


def _response(name: str, answer: Answer) -> EmbeddingResponse:
    vector = answer.predictions[0].embedding
    if vector is None:
        raise ModelFailed(f"{answer.model}:{answer.version} gave no vector")
    return EmbeddingResponse(
        request_id=name,
        vector=vector.tolist(),
        model_name=answer.model,
        dimension=len(vector),
        inference_time_ms=round(answer.stages.inference),
        model_version=answer.version,
        model_digest=answer.digest,
    )


def handlers(servicer: ModelInference) -> list[grpc.ServiceRpcHandler]:
    """The service under each of its names: same methods, same messages."""
    methods = {
        "GenerateEmbedding": grpc.unary_unary_rpc_method_handler(
            servicer.generate_embedding,
            message_limits.parser(EmbeddingRequest),
            EmbeddingResponse.SerializeToString,
        ),
        "GenerateBatch": grpc.unary_stream_rpc_method_handler(
            servicer.generate_batch, message_limits.parse_batch, EmbeddingResponse.SerializeToString
        ),
        "GenerateEmbeddingStream": grpc.unary_stream_rpc_method_handler(
            servicer.generate_embedding_stream,
            message_limits.parser(EmbeddingRequest),
            InferenceStatus.SerializeToString,
        ),
    }
    return [grpc.method_handlers_generic_handler(name, methods) for name in NAMES]
