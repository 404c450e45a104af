"""The storage of one service: its limit, which acceptance asks, and the thread that cleans up."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime

from hotswap.errors import StateUnavailable
from lineage.cleanup import Cleanup, RetentionStore, TaskLeases
from lineage.cleanup_schedule import CleanupSchedule
from lineage.picture_store import PictureStore
from lineage.retention import RetentionRules
from lineage.storage_limit import DiskSpace, StorageLimit

logger = logging.getLogger("bentoml.okawari.lineage")

_MINUTE = 60.0


class Storage:
    """Limit and clean-ups over one set of rules."""

    def __init__(
        self,
        retention: RetentionStore,
        pictures: PictureStore,
        leases: TaskLeases,
        rules: RetentionRules,
        disk: DiskSpace,
        *,
        holder: str,
        schedule: str | None,
    ) -> None:
        """`schedule` is a cron expression; None: nothing is ever cleaned up. `holder` names this process.

        Raises `ValueError` for an expression that is none.
        """
        self.rules = rules
        self._retention = retention
        cleanup = Cleanup(
            retention, pictures, leases, rules, clock=_now, holder=holder, disk_short=disk.short_of_pictures
        )
        self._schedule = None if schedule is None else CleanupSchedule(cleanup, schedule, _now)
        self._wake = threading.Event()
        self.limit = StorageLimit(self.stored_bytes, rules, self._ask, time.monotonic, disk.short)
        self._thread = threading.Thread(target=self._run, name="okawari-clean-up", daemon=True)

    def stored_bytes(self) -> int:
        """Bytes of all stored pictures, by their records. Raises `RecordsUnavailable`."""
        return self._retention.use().size

    def start(self) -> None:
        """Begin to clean up by the schedule and on demand."""
        if self._schedule is not None:
            self._thread.start()

    def stop(self, seconds: float) -> None:
        """End a clean-up between two of its steps, or leave it to the end of the process."""
        if self._schedule is not None:
            self._schedule.stop()
            self._wake.set()
            if self._thread.is_alive():
                self._thread.join(seconds)

    def _ask(self) -> None:
        """Clean up soon."""
        if self._schedule is not None:
            self._schedule.ask()
            self._wake.set()

    def _run(self) -> None:
        schedule = self._schedule
        while schedule is not None and not schedule.is_stopped:
            self._wake.wait(_MINUTE)
            self._wake.clear()
            try:
                report = schedule.tick()
            except StateUnavailable as error:
                logger.warning("the clean-up waits: %s", error.message)
            except Exception:
                logger.exception("the clean-up failed; it is tried again")
            else:
                if report is not None:
                    self.limit.look_again()
                    logger.info(
                        "a clean-up removed %d pictures, %d bytes", report.total.pictures, report.total.size
                    )


def _now() -> datetime:
    return datetime.now(UTC)
