"""What every gRPC call goes through, whatever its service: limits, identity, error table, metrics."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from api import context
from api.access.guard import AccessGuard
from api.access.needs import grpc_need
from api.context import RequestContext
from api.grpc import errors
from api.grpc.flow_control import HeldBytes, MessageReceiver, Messages, Taken, TimedWriter
from hotswap.admission import Admission
from hotswap.dataplane import DataPlane
from hotswap.errors import ServingError
from hotswap.events import Recorder
from telemetry import spans

logger = logging.getLogger("bentoml.okawari.rpc")

REQUEST_ID, MODEL_VERSION, ERROR_CODE = "x-request-id", "x-model-version", "x-error-code"
RETRY_AFTER = "retry-after"
_OTHER = "other"
#: Services of gRPC itself.
_STANDARD = "/grpc."
_INTERNAL = "something went wrong in the service; its log has the request id"

Handler = Any


class RpcObserver(Protocol):
    """Where the figures of gRPC go."""

    def called(self, method: str, code: str, seconds: float) -> None:
        """One call has ended."""
        ...


@dataclass(frozen=True, slots=True)
class CallParts:
    """What calls are handled with. `seconds` is the most that one may wait, whatever its caller allows.

    `guard` lets calls in. `check_room` raises `Overloaded` when a request for a model would be refused.
    `lasting` has the places of calls that last as long as their callers like: watchers and cameras.
    """

    receiving: MessageReceiver
    seconds: float
    observer: RpcObserver
    check_room: Callable[[], None]
    lasting: Admission
    guard: AccessGuard


def sent(call: Any, name: str) -> str | None:
    """A value of the caller's metadata, None where it is not there."""
    found = next((value for key, value in call.invocation_metadata() or () if key == name), None)
    return found if isinstance(found, str) else None


def _authorization(call: Any) -> str:
    """What the caller sent, as the guard wants it: each byte a character."""
    return (sent(call, "authorization") or "").encode().decode("latin-1")


def tell_version(call: Any, version: str) -> None:
    """Let the caller see which version answered without reading the answer."""
    call.set_trailing_metadata((*_identity(), (MODEL_VERSION, version)))


def _identity() -> tuple[tuple[str, str], ...]:
    return ((REQUEST_ID, context.current.get().request_id),)


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]
    """All methods of a server, each within the rules.

    To the library every call may send many messages: what is sent is the same, and the message of a call
    that sends one is then received by us, in bounds, and not before there is room for it.
    """

    def __init__(
        self, services: Iterable[grpc.GenericRpcHandler], parts: CallParts, admitted: frozenset[str]
    ) -> None:
        self._services = tuple(services)
        self._parts = parts
        self._admitted = admitted
        self._known: dict[str, Handler] = {}
        self._streams: set[Messages] = set()

    def service(self, details: grpc.HandlerCallDetails) -> Handler:
        """The handler of a method; None when there is no such method."""
        method = details.method
        if method not in self._known:
            found = next((each for one in self._services if (each := one.service(details))), None)
            if found is None:
                self._parts.observer.called(_OTHER, "UNIMPLEMENTED", 0.0)
                return None
            self._known[method] = self._ruled(method, found)
        return self._known[method]

    def end_streams(self) -> None:
        """Read no more from callers who keep a stream open; what they have sent is answered."""
        for each in tuple(self._streams):
            each.stop()

    def _ruled(self, method: str, handler: Handler) -> Handler:
        async def run(_: object, call: Any) -> Any:
            return await self._run(method, handler, call)

        many = handler.response_streaming
        make = grpc.stream_stream_rpc_method_handler if many else grpc.stream_unary_rpc_method_handler
        return make(run, None, handler.response_serializer)

    async def _run(self, method: str, handler: Handler, call: Any) -> Any:
        """One call; whatever happens, its caller gets a status of our table."""
        state = _state(call, self._parts.seconds)
        context.current.set(state)
        call.set_trailing_metadata(_identity())
        code = "UNKNOWN"
        try:
            with _span(method, call, state):
                answer = await self._answer(method, handler, call, state)
            code = "OK"
            return answer
        except ServingError as error:
            code = errors.status_of(error).name
            await _refuse(call, error)
        except grpc.aio.AbortError:
            code = errors.name_of(call.code())
            raise
        except (asyncio.CancelledError, grpc.aio.InternalError):
            # The caller has left. The library says so in either way, the second while something is written.
            code = "DEADLINE_EXCEEDED" if call.time_remaining() == 0 else "CANCELLED"
            raise asyncio.CancelledError from None
        except Exception:
            code = "INTERNAL"
            logger.exception("request %s", state.request_id)
            await _refuse(call, ServingError(_INTERNAL))
        finally:
            self._parts.observer.called(method, code, time.perf_counter() - state.received)

    async def _answer(self, method: str, handler: Handler, call: Any, state: RequestContext) -> Any:
        streaming = bool(handler.request_streaming)
        await self._parts.guard.admit_call(grpc_need(method), _authorization(call), streaming=streaming)
        if method in self._admitted:
            self._parts.check_room()
        small = method not in self._admitted and _is_small(method, handler)
        with ExitStack() as ending:
            if handler.request_streaming or (small and handler.response_streaming):
                ending.callback(self._parts.lasting.enter().release)
            held = HeldBytes(self._parts.receiving.store)
            ending.callback(held.release)
            state.hold = held.add
            if handler.request_streaming:
                return await self._answer_stream(handler, call, held)
            seconds = max(0.0, state.deadline - time.monotonic())
            request = await self._parts.receiving.one(
                call, held, handler.request_deserializer, seconds, small=small
            )
            # A watcher holds next to nothing and may read its states whenever it likes.
            return await _asked(handler, request, call if small else Taken(call, self._parts.seconds))

    async def _answer_stream(self, handler: Handler, call: Any, held: HeldBytes) -> Any:
        count = self._parts.guard.count_message
        messages = self._parts.receiving.stream(call, held, handler.request_deserializer, count)
        self._streams.add(messages)
        try:
            return await _asked(handler, messages, TimedWriter(Taken(call, self._parts.seconds), held))
        finally:
            self._streams.discard(messages)
            messages.close()


def _span(method: str, call: Any, state: RequestContext) -> AbstractContextManager[spans.Span]:
    """Around a call, below the caller's; those of gRPC's own services are none. An error is noted in it."""
    if not spans.is_on() or method.startswith(_STANDARD):
        return spans.OFF
    service, _, name = method.strip("/").partition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
    sent_headers = {key: value for key in spans.HEADERS if (value := sent(call, key)) is not None}
    return spans.span(
        "grpc.request",
        {**attributes, "request_id": state.request_id},
        kind=spans.SpanKind.SERVER,
        headers=sent_headers,
    )


def _is_small(method: str, handler: Handler) -> bool:
    """Whether a call of one message brings no picture: health, and what has one answer and asks no model."""
    return method.startswith(_STANDARD) or not handler.response_streaming


async def _asked(handler: Handler, request: Any, call: Any) -> Any:
    """Let the servicer answer: with one message, with many that it writes itself, or that it yields."""
    behave = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    answering = behave(request, call)
    if not hasattr(answering, "__aiter__"):
        return await answering
    async for message in answering:
        await call.write(message)
    return None


async def _refuse(call: Any, error: ServingError) -> None:
    """End the call with the error's status; this raises, as the library wants it."""
    metadata = (*_identity(), (ERROR_CODE, error.code), *_retry(error))
    try:
        await call.abort(errors.status_of(error), errors.text_of(error), metadata)
    except grpc.aio.InternalError:  # the caller's own deadline came first, and nothing can be sent any more
        raise asyncio.CancelledError from None


def _retry(error: ServingError) -> tuple[tuple[str, str], ...]:
    """When to come back, as HTTP's header says it, where the error knows."""
    seconds = getattr(error, "retry_after", None)
    return () if seconds is None else ((RETRY_AFTER, str(max(1, math.ceil(seconds)))),)


def _state(call: Any, most: float) -> RequestContext:
    left = call.time_remaining()
    seconds = most if left is None else min(most, left)
    return RequestContext(
        request_id=context.request_id(sent(call, REQUEST_ID)), deadline=time.monotonic() + seconds
    )


class Call(Protocol):
    """What a servicer uses of the context that gRPC gives it."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None where there is none."""
        ...

    def set_trailing_metadata(self, metadata: Any) -> None:
        """What is sent with the status."""
        ...

    async def write(self, message: Any) -> None:
        """Send one message of the answer; waits while the caller takes none."""
        ...


@dataclass(frozen=True, slots=True)
class Pictures:
    """The data plane, and the rules by which it is asked.

    `seconds` is the most that one picture may take, whatever the caller's deadline; `recorder` records
    the outcome of each picture. `in_flight` is how many pictures of one streaming call are under way at once.
    """

    data_plane: DataPlane
    seconds: float
    recorder: Recorder
    in_flight: int = 8

    def deadline(self, call: Call) -> float:
        """The moment of `time.monotonic()` by which a picture of a stream is due that comes now."""
        left = call.time_remaining()
        return time.monotonic() + (self.seconds if left is None else min(self.seconds, left))


def meaning(error: Exception, request_id: str) -> ServingError:
    """The status for a caller of any error; the log has the trace of one that is the service's own fault."""
    if isinstance(error, ServingError):
        return error
    logger.error("request %s", request_id, exc_info=error)
    return ServingError("something went wrong in the service; its log has the request id")
