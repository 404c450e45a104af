"""The threads that run models, and the queue before them.

A caller may stop waiting (deadline, disconnect) at any time. Work that has not begun is then withdrawn;
work that runs goes on, and only its thread gives back what it holds.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar, cast

from hotswap.errors import ShuttingDown

T = TypeVar("T")


class _Job(Generic[T]):
    """One piece of work. `give_back` runs exactly once: after the work, or when it is withdrawn."""

    __slots__ = ("future", "give_back", "loop", "queued_at", "waited", "work")

    def __init__(self, work: Callable[[], T], give_back: Callable[[], None]) -> None:
        self.work = work
        self.give_back = give_back
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[tuple[T, float]] = self.loop.create_future()
        self.queued_at = time.perf_counter()

    def run(self) -> None:
        waited = time.perf_counter() - self.queued_at
        result: T | None = None
        error: BaseException | None = None
        try:
            result = self.work()
        except BaseException as caught:  # noqa: BLE001 - it belongs to the caller, not to the thread
            error = caught
        if isinstance(error, StopIteration):
            # No future takes one: its caller would wait for ever.
            error = RuntimeError(f"the work raised {error!r}")
        self.give_back()
        # The loop is closed when the process ends under running work: nobody waits any more.
        with suppress(RuntimeError):
            if error is None:
                self.loop.call_soon_threadsafe(self._finish, cast(T, result), waited)
            else:
                self.loop.call_soon_threadsafe(self._fail, error)
        # The traceback holds this frame: without this line both live until the next collection.
        del error

    def _finish(self, result: T, waited: float) -> None:
        if not self.future.done():
            self.future.set_result((result, waited))

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Pool:
    """A fixed number of threads. The queue has no bound of its own: admission is its bound."""

    def __init__(self, threads: int, name: str = "okawari-run") -> None:
        self._queue: deque[_Job[object]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self.running = 0
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{index}", daemon=True)
            for index in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def queued(self) -> int:
        """How much work waits for a thread."""
        return len(self._queue)

    async def run(self, work: Callable[[], T], give_back: Callable[[], None]) -> tuple[T, float]:
        """Run `work` in a thread; return its result and the seconds it waited for the thread.

        `give_back` is called exactly once, when the work has ended or never will begin. Raises what
        `work` raises, and `ShuttingDown`.
        """
        job = _Job(work, give_back)
        self._put(job)
        try:
            return await job.future
        except asyncio.CancelledError:
            self._withdraw(job)
            raise

    def _put(self, job: _Job[T]) -> None:
        with self._changed:
            if not self._closing:
                self._queue.append(job)  # type: ignore[arg-type]
                self._changed.notify()
                return
        job.give_back()
        raise ShuttingDown("the service is ending; send the request to another one")

    def _withdraw(self, job: _Job[T]) -> None:
        with self._changed:
            try:
                self._queue.remove(job)  # type: ignore[arg-type]
            except ValueError:
                return  # its thread has it and gives back by itself
        job.give_back()

    def _serve(self) -> None:
        while (job := self._take()) is not None:
            job.run()
            del job  # an idle thread must not keep a picture, or a closed model, alive
            with self._changed:
                self.running -= 1

    def _take(self) -> _Job[object] | None:
        with self._changed:
            while not self._queue:
                if self._closing:
                    return None
                self._changed.wait()
            self.running += 1
            return self._queue.popleft()

    def close(self, timeout: float) -> bool:
        """Take no new work, finish what is queued; False when that took longer than `timeout` s."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)
