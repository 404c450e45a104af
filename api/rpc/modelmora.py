"""`ModelInference`: vectors of pictures, as ModelMora's clients ask for them."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from api import context, fields
from api.protos.modelmora_pb2 import BatchRequest, EmbeddingRequest, EmbeddingResponse, InferenceStatus
from api.rpc import batches, flight
from api.rpc.arriving import Arriving
from api.rpc.calls import tell_version
from api.rpc.following import State, Steps
from api.rpc.pictures import Call, Pictures, meaning
from hotswap.errors import BadRequest, ModelFailed
from hotswap.naming import which
from hotswap.requests import Answer, PredictRequest
from hotswap.runner import Picture

#: The service's names: with its package, and as stubs without a package call it.
NAMES = ("modelmora.v1.ModelInference", "ModelInference")

TASK = "image-embedding"
_OPTIONS = ("version",)


class ModelInference:
    """The servicer. A call of its own answer raises `ServingError`, which the server turns into a status."""

    def __init__(self, pictures: Pictures, arriving: Arriving) -> None:
        self._pictures = pictures
        self._arriving = arriving

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
            wanted = _Wanted(item[1], str(item[0]), which(item[0], count))
            try:
                return await self._answer(wanted, self._pictures.deadline(call))
            except Exception as error:  # noqa: BLE001 - it belongs to this picture, the others go on
                return EmbeddingResponse(
                    request_id=wanted.name, model_name=item[1].model_name, error=wanted.told(error)
                )

        await flight.as_ready(enumerate(request.requests), one, call.write, self._pictures.in_flight)

    async def generate_embedding_stream(self, request: EmbeddingRequest, call: Call) -> None:
        """What becomes of one picture, state by state; the last has its vector or what is wrong."""
        state = context.current.get()
        wanted = _Wanted(request, state.request_id)
        steps = Steps(wanted.name, call)
        await steps.send(self._follow(wanted, state.deadline, steps), wanted.told)

    async def _follow(self, wanted: _Wanted, deadline: float, steps: Steps) -> EmbeddingResponse:
        with self._pictures.counting(wanted.request_id, wanted.model):
            asked = wanted.checked()
            if not self._arriving.serves(asked.model, asked.version):
                steps.tell(State.LOADING)
                await self._arriving.wait(asked.model, asked.version, deadline)
            # It is refused at once, or waits for a thread when this step ends.
            take_back = steps.soon(State.QUEUED)
            try:
                return await self._ask(wanted, asked, deadline, steps.begun)
            finally:
                take_back()

    async def _answer(self, wanted: _Wanted, deadline: float) -> EmbeddingResponse:
        with self._pictures.counting(wanted.request_id, wanted.model):
            return await self._ask(wanted, wanted.checked(), deadline)

    async def _ask(
        self,
        wanted: _Wanted,
        asked: fields.PredictFields,
        deadline: float,
        begun: Callable[[], None] | None = None,
    ) -> EmbeddingResponse:
        request = PredictRequest(
            request_id=wanted.request_id,
            pictures=(Picture(encoded=asked.image),),
            deadline=deadline,
            model=asked.model,
            version=asked.version,
            task=TASK,
            begun=begun,
        )
        with await self._pictures.data_plane.predicting(request) as answer:
            return _response(wanted.name, answer)


class _Wanted:
    """A request for one vector. `name` is what its answer calls it, `request_id` what the log does.

    `otherwise` is its name where the caller has given it none, `place` what tells it among others.
    """

    def __init__(self, request: EmbeddingRequest, otherwise: str, place: str = "") -> None:
        self._request = request
        self._place = place
        self.name = request.request_id or otherwise
        self.request_id = context.request_id(self.name)
        self.model = request.model_name or None

    def checked(self) -> fields.PredictFields:
        """What it says; raise `BadRequest` naming the field."""
        request = self._request
        unknown = next((key for key in request.options if key not in _OPTIONS), None)
        if unknown is not None:
            raise BadRequest(f"options: {unknown[:64]!r}: no such option; there is {', '.join(_OPTIONS)}")
        values = {"model": request.model_name, "version": request.options.get("version")}
        return fields.checked(request.image_data, values, field="image_data")

    def told(self, error: Exception) -> str:
        """What its caller is told of an error."""
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
            servicer.generate_embedding, batches.read_one, EmbeddingResponse.SerializeToString
        ),
        "GenerateBatch": grpc.unary_stream_rpc_method_handler(
            servicer.generate_batch, batches.read, EmbeddingResponse.SerializeToString
        ),
        "GenerateEmbeddingStream": grpc.unary_stream_rpc_method_handler(
            servicer.generate_embedding_stream, batches.read_one, InferenceStatus.SerializeToString
        ),
    }
    return [grpc.method_handlers_generic_handler(name, methods) for name in NAMES]
