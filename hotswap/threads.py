"""The threads of a worker: the pool that runs models, the loader, the reconciler."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Generic, NoReturn, Protocol, TypeVar, cast

from hotswap.batcher import BatchMember, Outcome, companions, seconds_to_wait
from hotswap.errors import ShuttingDown
from hotswap.predictions import Picture

logger = logging.getLogger("bentoml.okawari.hotswap")

Task = Callable[[], None]


class Background(Protocol):
    """Takes tasks and runs them one after the other. What a task raises is logged and ends only that task."""

    def submit(self, task: Task, *, urgent: bool = False) -> None:
        """Run `task` some time soon; an urgent one, for which a request waits, beside the others."""
        ...


#: Threads for urgent tasks: two loads for requests, and the close of what leaves memory for a third.
_URGENT = 3


class LoaderThreads:
    """Lasting threads: one of low priority, and a few for urgent tasks.

    Not a thread for each task: every new one brings a heap arena of its own that keeps what a model leaves
    behind. Low priority, so that requests keep their latency while a version loads beside them; a load for
    which a request waits would wait behind all others, and one request behind the load of another.
    """

    def __init__(self, niceness: int = 10) -> None:
        """All begin now: a thread inherits the priority of who starts it, and may not raise it later."""
        self._patient = LoaderThread(niceness)
        self._urgent = LoaderThread(0, "okawari-urgent-loader", _URGENT)

    def submit(self, task: Task, *, urgent: bool = False) -> None:
        """Run `task`: a patient one when those before it have ended, an urgent one when a thread is free."""
        (self._urgent if urgent else self._patient).submit(task)

    def close(self, timeout: float) -> None:
        """Finish what was submitted and end; wait at most `timeout` seconds for it."""
        until = time.monotonic() + timeout
        for thread in (self._urgent, self._patient):
            thread.close(max(0.0, until - time.monotonic()))


class LoaderThread:
    """One lasting thread, or `count` of them, that take tasks in the order in which they come."""

    def __init__(self, niceness: int = 10, name: str = "okawari-loader", count: int = 1) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._niceness = niceness
        self._threads = [threading.Thread(target=self._serve, name=name, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        """Run `task` when those before it have begun and a thread is free."""
        self._tasks.put(task)

    def close(self, timeout: float) -> None:
        """Finish what was submitted and end; wait at most `timeout` seconds for it."""
        until = time.monotonic() + timeout
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _serve(self) -> None:
        # Linux counts niceness by thread; elsewhere it would slow down the whole process.
        if self._niceness and os.uname().sysname == "Linux":
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

    __slots__ = ("future", "give_back", "loop", "member", "queued_at", "waited", "work")

    def __init__(
        self, work: Callable[[], T], give_back: Callable[[], None], member: BatchMember | None = None
    ) -> None:
        self.work = work
        self.give_back = give_back
        self.member = member
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[tuple[T, float]] = self.loop.create_future()
        self.queued_at = time.perf_counter()
        self.waited = 0.0

    def begin(self) -> None:
        """It waits no longer for a thread."""
        self.waited = time.perf_counter() - self.queued_at

    def run(self) -> None:
        self.begin()
        self.settle(self.work)

    def settle(self, work: Callable[[], T]) -> None:
        """Do `work`, give back, and tell the caller what came of it."""
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as caught:  # noqa: BLE001 - it belongs to the caller, not to the thread
            error = caught
        if isinstance(error, StopIteration):
            # No future takes one: its caller would wait for ever.
            error = RuntimeError(f"the work raised {error!r}")
        self.give_back()
        # The loop is closed when the process ends under running work: there is no waiter left.
        with suppress(RuntimeError):
            if error is None:
                self.loop.call_soon_threadsafe(self._finish, cast(T, result), self.waited)
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


class _Batch:
    """Work that one thread has taken, and that may grow while the thread waits for more."""

    def __init__(self, first: _Job[object]) -> None:
        self.jobs = [first]
        self.key = None if first.member is None else first.member.key

    @property
    def room(self) -> int:
        """How many more may join."""
        return 0 if self.key is None else self.key.size - len(self.jobs)

    def add_from(self, queue: deque[_Job[object]]) -> None:
        """Take those out of the queue who may join."""
        if self.key is None or not queue:
            return
        keys = [None if job.member is None else job.member.key for job in queue]
        places = companions(self.key, keys, self.room)
        self.jobs += [queue[place] for place in places]
        for place in reversed(places):
            del queue[place]

    def takes(self, job: _Job[object]) -> bool:
        """Whether it may join."""
        return self.room > 0 and job.member is not None and job.member.key == self.key

    def seconds_left(self) -> float:
        """How much longer it waits for more."""
        if self.key is None:
            return 0.0
        since, now = self.jobs[0].queued_at, time.perf_counter()
        return seconds_to_wait(self.key, len(self.jobs), since=since, now=now)

    def run(self) -> None:
        """Do the work; each caller gets what came of his own."""
        if len(self.jobs) == 1:
            self.jobs[0].run()
            return
        begun: list[tuple[_Job[object], BatchMember, Sequence[Picture]]] = []
        for job in self.jobs:
            job.begin()
            member = cast(BatchMember, job.member)
            try:
                begun.append((job, member, member.begin()))
            except Exception as error:  # noqa: BLE001 - it belongs to the caller, not to the thread
                job.settle(partial(_raise, error))
        outcomes = _outcomes(begun)
        for (job, member, _), outcome in zip(begun, outcomes, strict=True):
            job.settle(
                partial(_raise, outcome) if isinstance(outcome, Exception) else partial(member.end, outcome)
            )


def _outcomes(begun: Sequence[tuple[object, BatchMember, Sequence[Picture]]]) -> Sequence[Outcome]:
    if not begun:
        return []
    try:
        return begun[0][1].together([pictures for _, _, pictures in begun])
    except Exception as error:  # noqa: BLE001 - it belongs to the callers, not to the thread
        return [error] * len(begun)


def _raise(error: Exception) -> NoReturn:
    try:
        raise error
    finally:
        # The traceback holds this frame: without this line both live until the next collection.
        del error


class InferencePool:
    """A fixed number of threads. The queue has no bound of its own: admission is its bound."""

    def __init__(self, threads: int, name: str = "okawari-run") -> None:
        self._queue: deque[_Job[object]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._growing: list[_Batch] = []
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

    async def run(
        self, work: Callable[[], T], give_back: Callable[[], None], member: BatchMember | None = None
    ) -> tuple[T, float]:
        """Run `work` in a thread; return its result and the seconds it waited for the thread.

        Where others with an equal key wait, `member` is run with them, to the same result.
        `give_back` is called exactly once, when the work has ended or never will begin. Raises what
        `work` raises, and `ShuttingDown`.
        """
        job = _Job(work, give_back, member)
        self._put(job)
        try:
            return await job.future
        except asyncio.CancelledError:
            self._withdraw(job)
            raise

    def _put(self, job: _Job[Any]) -> None:
        with self._changed:
            if not self._closing:
                growing = next((batch for batch in self._growing if batch.takes(job)), None)
                (self._queue if growing is None else growing.jobs).append(job)
                # Of the threads that wait, one may only want members of its batch: all must look.
                self._changed.notify(len(self._growing) + 1)
                return
        job.give_back()
        raise ShuttingDown("the service is ending; send the request to another one")

    def _withdraw(self, job: _Job[Any]) -> None:
        with self._changed:
            try:
                self._queue.remove(job)
            except ValueError:
                return  # its thread has it and gives back by itself
        job.give_back()

    def _serve(self) -> None:
        while (batch := self._take()) is not None:
            batch.run()
            del batch  # an idle thread must not keep a picture, or a closed model, alive
            with self._changed:
                self.running -= 1

    def _take(self) -> _Batch | None:
        with self._changed:
            while not self._queue:
                if self._closing:
                    return None
                self._changed.wait()
            self.running += 1
            return self._grown(_Batch(self._queue.popleft()))

    def _grown(self, batch: _Batch) -> _Batch:
        """The batch with all who wait and may join; wait for more as long as its key says."""
        batch.add_from(self._queue)
        self._growing.append(batch)
        while not self._closing and (seconds := batch.seconds_left()) > 0:
            self._changed.wait(seconds)
        self._growing.remove(batch)
        return batch

    def close(self, timeout: float) -> bool:
        """Take no new work, finish what is queued; False when that took longer than `timeout` s."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)
