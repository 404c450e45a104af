"""Storage, queue and memory figures in `system_metrics`: once a minute, by one of several services."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from lineage.errors import RecordsUnavailable
from lineage.record_store import ImageRecordStore

logger = logging.getLogger("bentoml.okawari.lineage")

#: What is asked for a figure now; None where there is none.
Figure = Callable[[], float | None]
#: The right to do this ends after so many intervals without a sample: another service takes it then.
_HOLDS = 2.5


class MetricSampler:
    """Writes the figures of the service that holds the task; the others try to take it at each interval."""

    def __init__(
        self,
        records: ImageRecordStore,
        figures: Mapping[str, Figure],
        holder: str,
        interval: float = 60.0,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        task: str = "system_metrics",
    ) -> None:
        """`holder` names this service in the label `service`; no other may have the name."""
        self._records = records
        self._figures = figures
        self._holder = holder
        self._interval = interval
        self._clock = clock
        self._task = task
        self._stopping = threading.Event()
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name="okawari-metrics", daemon=True)

    def start(self) -> None:
        """Begin to sample, at once and then at each interval."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """End the thread and give the task back, or leave both to their end after so many seconds."""
        self._stopping.set()
        self._thread.join(seconds)

    def sample(self) -> bool:
        """Write the figures of this moment; False: another service does it.

        Raises `RecordsUnavailable`. A figure that cannot be had is left out.
        """
        if not self._records.hold(self._task, self._holder, self._interval * _HOLDS):
            return False
        labels = {"service": self._holder}
        values = {name: self._value(name, figure) for name, figure in self._figures.items()}
        written = {name: (value, labels) for name, value in values.items() if value is not None}
        self._records.note_metrics(self._clock(), written)
        return True

    def _value(self, name: str, figure: Figure) -> float | None:
        try:
            value = figure()
        except Exception:
            # Each figure is somebody else's code, and none may keep the others out.
            logger.exception("the figure %s", name)
            return None
        return value if value is not None and math.isfinite(value) else None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._attempt()
            self._stopping.wait(self._interval)
        with suppress(RecordsUnavailable):
            if self._records.hold(self._task, self._holder, 0):
                logger.debug("the task %s is given back", self._task)

    def _attempt(self) -> None:
        """Sample once; that the database is away is logged when it begins and when it ends."""
        try:
            self.sample()
        except RecordsUnavailable as problem:
            if not self._is_away:
                logger.warning("no system metrics: %s", problem.message)
            self._is_away = True
        else:
            if self._is_away:
                logger.warning("system metrics are written again")
            self._is_away = False
