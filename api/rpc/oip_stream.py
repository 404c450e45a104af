"""`ModelStreamInfer`, as Triton's clients call it: infer requests in, answers out in their order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from api import context
from api.body import Store
from api.context import RequestContext
from api.protos import inference_pb2 as messages
from api.rpc.flight import OpenStreams
from api.rpc.pictures import Call, Pictures, meaning
from api.rpc.receiving import Held, Messages, Unheld
from hotswap.errors import ServingError

#: Each request has one answer here, and with it everything is said.
_FINAL = "triton_final_response"

Answer = Callable[[messages.ModelInferRequest], Awaitable[messages.ModelInferResponse]]


@dataclass(frozen=True, slots=True)
class _Reply:
    """What is written, and what is held for it until then beside the request's own bytes."""

    message: messages.ModelStreamInferResponse
    held: Held


class InferStreams:
    """The streams of one server. `answer` answers one request, under the context that is set for it."""

    def __init__(self, answer: Answer, pictures: Pictures, store: Store) -> None:
        self._answer = answer
        self._pictures = pictures
        self._store = store
        self._open = OpenStreams(pictures.in_flight)

    def drain(self) -> None:
        """Let every stream answer what it has read, and end: the service ends."""
        self._open.drain()

    async def stream(self, requests: Messages, call: Call) -> None:
        """Answer each request; one that fails is told in `error_message`, and the stream goes on.

        Raises `ShuttingDown` when the service ends before the caller has.
        """
        holding: set[Held] = set()

        async def one(request: messages.ModelInferRequest | Unheld) -> _Reply:
            held = Held(self._store)
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
        self, request: messages.ModelInferRequest | Unheld, held: Held, call: Call
    ) -> messages.ModelStreamInferResponse:
        if isinstance(request, Unheld):
            self._pictures.refused(context.request_id(request.name or None), None, request.error, 0.0)
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
