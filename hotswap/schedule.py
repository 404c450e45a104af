"""When the reconciler looks next: requests for a look, and whether one that began later has ended."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from manifest.tags import ModelTag

#: Whether a look that began after the call that returned this has ended.
HasLooked = Callable[[], bool]


class Schedule:
    """The looks of one reconciler: requests for them, and counts of those begun and ended.

    Any thread may ask; only the reconciler's thread begins and ends looks and waits here.
    """

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._retries: deque[ModelTag | None] = deque()
        self._demands: Counter[str] = Counter()
        self._counting = threading.Lock()
        self.begun = 0
        self.ended = 0

    @property
    def under_way(self) -> bool:
        """Whether a look has begun and not ended."""
        ended = self.ended
        return self.begun != ended

    def wake(self) -> None:
        """Look again soon; any number of calls between two looks is one."""
        self._woken.set()

    def look(self) -> HasLooked:
        """Look again soon."""
        needed = self.begun + 1
        self.wake()
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
        self.wake()
        try:
            yield
        finally:
            with self._counting:
                self._demands[name] -= 1
                if not self._demands[name]:
                    del self._demands[name]

    def demanded(self) -> tuple[str, ...]:
        """The models that somebody waits for, the first one first."""
        with self._counting:
            return tuple(self._demands)

    # --- the reconciler's side -----------------------------------------------------------------

    def begin(self) -> None:
        """A look begins."""
        self.begun += 1

    def end(self) -> None:
        """A look has ended."""
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
