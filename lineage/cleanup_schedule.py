"""When clean-ups run: by a cron expression in UTC, and when the storage is full."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from common.cron import next_time
from lineage.cleanup import CleanupReport

#: After a clean-up on demand that removed nothing, the next on demand runs not before.
_FUTILE = timedelta(minutes=10)


class Cleaner(Protocol):
    """What removes pictures; see `Cleanup`."""

    def run(self, stopped: Callable[[], bool] = ...) -> CleanupReport | None:
        """Remove what goes now; None where another service does."""
        ...


class CleanupSchedule:
    """Runs clean-ups when they are due: `tick` is called once a minute, and soon after `ask`.

    A time that passed while no service ran is not made up for; the next one finds the same pictures.
    """

    def __init__(self, cleaner: Cleaner, expression: str, clock: Callable[[], datetime]) -> None:
        """Raises `ValueError` for an expression that is none."""
        self._cleaner = cleaner
        self._expression = expression
        self._clock = clock
        self._due = next_time(expression, clock())
        self._asked = threading.Event()
        self._stopped = threading.Event()
        self._not_before: datetime | None = None

    @property
    def due(self) -> datetime:
        """When the next clean-up by the clock runs."""
        return self._due

    @property
    def is_stopped(self) -> bool:
        """Whether nothing runs any more."""
        return self._stopped.is_set()

    def ask(self) -> None:
        """Let the next tick clean up; may be called by any thread, as often as it likes."""
        self._asked.set()

    def stop(self) -> None:
        """End a clean-up that runs, between two batches; nothing runs afterwards."""
        self._stopped.set()

    def tick(self) -> CleanupReport | None:
        """Clean up if that is due or was asked for; None where nothing ran.

        Raises what the clean-up raises; one that was due by the clock is due at the next tick then, too.
        """
        now = self._clock()
        is_due, was_asked = now >= self._due, self._asked.is_set()
        if self._stopped.is_set():
            return None
        self._asked.clear()
        if not is_due and (not was_asked or (self._not_before is not None and now < self._not_before)):
            return None
        report = self._cleaner.run(self._stopped.is_set)
        if is_due:
            self._due = next_time(self._expression, now)
        is_futile = report is not None and report.total.pictures == 0
        self._not_before = now + _FUTILE if is_futile else None
        return report
