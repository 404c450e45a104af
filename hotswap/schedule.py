"""When the reconciler looks next: requests for a look, and whether one that began later has ended."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from manifest.tags import ModelTag
from residency.table import LocalTable, ResidencyTable

#: Whether a look, or a turn, that began after the call that returned this has ended.
HasLooked = Callable[[], bool]


class Schedule:
    """The turns of one reconciler: requests for them, and counts of those begun and ended.

    A look is a turn that reads store and desired state first. Any thread may ask; only the reconciler's
    thread begins and ends turns and waits here.
    """

    def __init__(self, table: ResidencyTable | None = None) -> None:
        self._table = table or LocalTable()
        self._woken = threading.Event()
        self._retries: deque[ModelTag | None] = deque()
        self._demands: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._look_wanted = False
        self._looks_begun = self._looks_ended = 0
        self._looking = False
        self.begun = 0
        self.ended = 0

    @property
    def under_way(self) -> bool:
        """Whether a turn has begun and not ended."""
        ended = self.ended
        return self.begun != ended

    def wake(self) -> None:
        """Look again soon; any number of calls between two looks is one."""
        self._look_wanted = True
        self._woken.set()

    def nudge(self) -> None:
        """Take a turn soon: what was read last is recent enough."""
        self._woken.set()

    def look(self) -> HasLooked:
        """Look again soon."""
        needed = self._looks_begun + 1
        self.wake()
        return lambda: self._looks_ended >= needed

    def turn(self) -> HasLooked:
        """Take a turn soon."""
        needed = self.begun + 1
        self.nudge()
        return lambda: self.ended >= needed

    def retry(self, tag: ModelTag | None = None) -> HasLooked:
        """Look again soon, and retry what failed (None: everything) without waiting."""
        self._retries.append(tag)
        return self.look()

    @contextmanager
    def demand(self, name: str) -> Iterator[None]:
        """Somebody waits in this block for a model that is not in memory."""
        with self._counting:
            self._demands[name] += 1
        self.nudge()
        try:
            yield
        finally:
            with self._counting:
                self._demands[name] -= 1
                if not self._demands[name]:
                    del self._demands[name]

    @contextmanager
    def request(self, name: str) -> Iterator[None]:
        """A request waits in this block for a model; what comes for it stays until the block has ended."""
        with self.demand(name):
            self._count_request(name, 1)
            try:
                yield
            finally:
                self._count_request(name, -1)

    def _count_request(self, name: str, change: int) -> None:
        with self._counting:
            self._requests[name] += change
            self._table.use(name).awaited(self._requests[name])
            if not self._requests[name]:
                del self._requests[name]

    def demanded(self) -> tuple[str, ...]:
        """The models that somebody waits for, the first one first."""
        with self._counting:
            return tuple(self._demands)

    # --- the reconciler's side -----------------------------------------------------------------

    def begin(self, *, recent: bool) -> bool:
        """A turn begins; whether it is a look. With `recent` it is one only if somebody wants one."""
        # Cleared before it is counted: who asks in between gets one more.
        wanted, self._look_wanted = self._look_wanted, False
        self._looking = wanted or not recent
        self._looks_begun += self._looking
        self.begun += 1
        return self._looking

    def end(self) -> None:
        """The turn has ended."""
        self._looks_ended += self._looking
        self.ended += 1

    def take_retries(self) -> list[ModelTag | None]:
        """What is to be retried now."""
        return [self._retries.popleft() for _ in range(len(self._retries))]

    def wait(self, seconds: float) -> bool:
        """Sleep until woken, at most `seconds`; whether somebody woke."""
        return self._woken.wait(seconds)

    def reset(self) -> None:
        """Take note of every wake-up so far."""
        self._woken.clear()
