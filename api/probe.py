"""Questions to what may hang, such as a database: answered within a bound, never asked twice at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from hotswap.errors import ServingError

T = TypeVar("T")

#: Seconds for which an answer counts: callers cannot make the service ask its dependencies without end.
FRESH = 1.0


@dataclass(frozen=True, slots=True)
class DependencyState(Generic[T]):
    """What came of it: a value, or the `problem`."""

    value: T | None = None
    problem: str | None = None


class Probe(Generic[T]):
    """One question. At most one thread asks it; others that come meanwhile wait for the same answer.

    The thread is a daemon of its own: one that hangs for good keeps no other work waiting and no process
    from ending.
    """

    def __init__(self, name: str, ask: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        """What `ask` raises becomes the problem: the message of a `ServingError`, of others the kind."""
        self.name = name
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: Future[DependencyState[T]] | None = None
        self._begun = 0.0
        self._last: tuple[float, DependencyState[T]] | None = None

    async def result(self, seconds: float) -> DependencyState[T]:
        """The answer, at most `seconds` after it was asked for; a fresh one at once.

        A question that has hung for that long already is reported without waiting again.
        """
        last = self._last
        if last is not None and self._clock() - last[0] < FRESH:
            return last[1]
        future, begun = self._asked()
        left = begun + seconds - self._clock()
        if left > 0 or future.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(max(left, 0.01)):
                    return await asyncio.shield(asyncio.wrap_future(future))
        return DependencyState(problem=f"no answer for {self._clock() - begun:.1f} s")

    def _asked(self) -> tuple[Future[DependencyState[T]], float]:
        """The question under way, begun now if there is none, and when it was begun."""
        with self._lock:
            if self._under_way is None:
                self._under_way, self._begun = Future(), self._clock()
                name = f"okawari-probe-{self.name}"
                threading.Thread(target=self._run, args=[self._under_way], name=name, daemon=True).start()
            return self._under_way, self._begun

    def _run(self, future: Future[DependencyState[T]]) -> None:
        result = self._tried()
        with self._lock:
            self._last, self._under_way = (self._clock(), result), None
        future.set_result(result)

    def _tried(self) -> DependencyState[T]:
        try:
            return DependencyState(self._ask())
        except ServingError as error:
            return DependencyState(problem=error.message)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, it did not answer
            return DependencyState(problem=type(error).__name__)
