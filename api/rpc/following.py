"""What becomes of one picture, as messages: the states it goes through, and the last word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from api.protos.modelmora_pb2 import EmbeddingResponse, InferenceStatus
from api.rpc.flight import give_up
from api.rpc.pictures import Call

State = InferenceStatus.State

_PROGRESS = {State.LOADING: 0.0, State.QUEUED: 0.25, State.RUNNING: 0.5, State.DONE: 1.0}


class Steps:
    """Where the work on a picture tells its states, and where they are sent from, in the same order."""

    def __init__(self, request_id: str, call: Call) -> None:
        self._request_id = request_id
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[State | None] = asyncio.Queue()  # None: it has ended

    def tell(self, state: State) -> None:
        """Called on the event loop."""
        self._told.put_nowait(state)

    def begun(self) -> None:
        """A thread has begun; called in that thread."""
        with suppress(RuntimeError):  # the loop is closed when the process ends under running work
            self._loop.call_soon_threadsafe(self.tell, State.RUNNING)

    def soon(self, state: State) -> Callable[[], None]:
        """Tell a state when the running step of this task has ended; the result takes it back until then."""
        return self._loop.call_soon(self.tell, state).cancel

    async def send(
        self, work: Coroutine[Any, Any, EmbeddingResponse], told: Callable[[Exception], str]
    ) -> None:
        """Do the work and send its states, the last with the result, or with what `told` says of an error."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._told.put_nowait(None))
        reached = 0.0
        try:
            while (state := await self._told.get()) is not None:
                reached = _PROGRESS[state]
                await self._write(state, reached)
            await self._last(task, reached, told)
        finally:
            await give_up([task])

    async def _last(
        self, task: asyncio.Task[EmbeddingResponse], reached: float, told: Callable[[Exception], str]
    ) -> None:
        error = task.exception()
        if error is None:
            await self._write(State.DONE, _PROGRESS[State.DONE], result=task.result())
        elif isinstance(error, Exception):
            await self._write(State.FAILED, reached, error=told(error))
        else:
            raise error

    async def _write(self, state: State, progress: float, **more: Any) -> None:
        message = InferenceStatus(request_id=self._request_id, state=state, progress=progress, **more)
        await self._call.write(message)
