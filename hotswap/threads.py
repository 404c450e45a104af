"""The threads of a worker: the pool that runs models, the loader, the reconciler."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar, cast

from hotswap.errors import ShuttingDown

logger = logging.getLogger("bentoml.okawari.hotswap")

Task = Callable[[], None]


class Background(Protocol):
    """Takes tasks and runs them one after the other. What a task raises is logged and ends only that task."""

    def submit(self, task: Task) -> None:
        """Run `task` some time soon."""
        ...


class LoaderThread:
    """One lasting thread of low priority.

    One thread, because every new one brings a heap arena of its own that keeps what a model leaves
    behind; low priority, so that requests keep their latency while a version loads beside them.
    """

    def __init__(self, niceness: int = 10) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._niceness = niceness
        self._thread = threading.Thread(target=self._serve, name="okawari-loader", daemon=True)
        self._thread.start()

    def submit(self, task: Task) -> None:
        """Run `task` after those that were submitted before."""
        self._tasks.put(task)

    def close(self, timeout: float) -> None:
        """Finish what was submitted and end; wait at most `timeout` seconds for it."""
        self._tasks.put(None)
        self._thread.join(timeout)

    def _serve(self) -> None:
        # Linux counts niceness by thread; elsewhere it would slow down the whole process.
        if os.uname().sysname == "Linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:
                logger.exception("a task of the loader's thread")
            del task


class Stepper(Protocol):
    """What the thread drives: the reconciler."""

    def step(self) -> None:
        """Look, plan, act, once."""
        ...

    def wait(self, timeout: float) -> None:
        """Sleep until woken, at most `timeout` seconds."""
        ...

    def wake(self) -> None:
        """End a `wait` now."""
        ...


class ReconcilerThread:
    """Turns a reconciler: a look at least every `interval` seconds, and whenever it is woken."""

    def __init__(self, reconciler: Stepper, interval: float) -> None:
        self._reconciler = reconciler
        self._interval = interval
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._turn, name="okawari-reconciler", daemon=True)

    def start(self) -> None:
        """Begin with a look at once."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End after the look that is under way."""
        self._ending.set()
        self._reconciler.wake()
        self._thread.join(timeout)

    def _turn(self) -> None:
        while not self._ending.is_set():
            self._reconciler.step()
            self._reconciler.wait(self._interval)


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
        # The loop is closed when the process ends under running work: there is no waiter left.
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


class InferencePool:
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
