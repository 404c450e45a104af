"""Whether one more picture may be accepted: the limit of the storage, and what is free on the local disk."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lineage.errors import RecordsUnavailable, StorageFull
from lineage.retention import GIGABYTE, RetentionRules

#: Seconds for which a reading holds, and for which one over the limit does: room is noticed soon.
_FRESH_SECONDS = 60.0
_FULL_SECONDS = 5.0
#: Bytes that stay free on the local disk, for the database, the outbox and the logs.
LEAST_FREE = GIGABYTE // 2


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The disk of the home, and how much of it stays free. `pictures`: the folder of the pictures, if any."""

    home: Path
    pictures: Path | None = None
    least_free: int = LEAST_FREE

    def short(self) -> int:
        """Bytes that lack until so much is free; 0 also where the disk cannot be asked."""
        try:
            return max(0, self.least_free - shutil.disk_usage(self.home).free)
        except OSError:
            return 0

    def short_of_pictures(self) -> int:
        """The same where the pictures lie on this disk; 0 elsewhere: to remove them would not help."""
        try:
            is_here = self.pictures is not None and self.pictures.stat().st_dev == self.home.stat().st_dev
        except OSError:
            return 0
        return self.short() if is_here else 0


@dataclass(frozen=True, slots=True)
class _Reading:
    used: int
    disk_short: int
    until: float


class StorageLimit:
    """What acceptance asks before each picture. May be used by several threads at once.

    The sum of the records is read once a minute, by one thread; what is accepted since is added. A picture
    that was refused later, or was known already, counts until then, too.
    """

    def __init__(
        self,
        used: Callable[[], int],
        rules: RetentionRules,
        ask_cleanup: Callable[[], None],
        clock: Callable[[], float],
        disk_short: Callable[[], int] = lambda: 0,
    ) -> None:
        """`used` may raise `RecordsUnavailable`: then the last reading holds. `clock` counts seconds."""
        self._used = used
        self._rules = rules
        self._ask_cleanup = ask_cleanup
        self._clock = clock
        self._disk_short = disk_short
        self._reading_lock = threading.Lock()
        self._lock = threading.Lock()
        self._added = 0
        self._last: _Reading | None = None

    def reserve(self, size: int) -> None:
        """Count a picture of so many bytes that is to be accepted.

        Raises `StorageFull` where it has no room, after a clean-up was asked for; then it does not count.
        """
        reading = self._current()
        most = self._rules.most_bytes
        with self._lock:
            used = reading.used + self._added
            if used + size <= most and not reading.disk_short:
                self._added += size
                return
        self._ask_cleanup()
        if reading.disk_short:
            raise StorageFull(
                f"the local disk lacks {reading.disk_short:,} free bytes: a clean-up is asked for"
            )
        raise StorageFull(f"{used:,} of {most:,} bytes are used: a clean-up is asked for; retry later")

    def look_again(self) -> None:
        """Read anew at the next question: a clean-up has made room."""
        last = self._last
        if last is not None:
            self._last = replace(last, until=self._clock())

    @property
    def used_bytes(self) -> int:
        """What is stored, as far as known."""
        return self._current().used + self._added

    @property
    def is_over_warning(self) -> bool:
        """Whether somebody should look: over the warning threshold, or the local disk nearly full."""
        reading = self._current()
        return reading.used + self._added > self._rules.warning_bytes or reading.disk_short > 0

    def _current(self) -> _Reading:
        last = self._last
        if last is not None and self._clock() < last.until:
            return last
        # One thread reads; others go on with the last reading, and wait only where there is none.
        if not self._reading_lock.acquire(blocking=last is None):
            return last or _Reading(0, 0, 0)
        try:
            if self._last is not last:
                return self._last or _Reading(0, 0, 0)
            return self._read(last)
        finally:
            self._reading_lock.release()

    def _read(self, last: _Reading | None) -> _Reading:
        with self._lock:
            before = self._added
        used, disk_short = None, self._disk_short()
        with suppress(RecordsUnavailable):
            used = self._used()
        with self._lock:
            if used is not None:
                # Accepted while the sum was read: counted twice for a while at most, never not at all.
                self._added -= before
            known = used if used is not None else last.used if last else 0
            is_full = known + self._added >= self._rules.most_bytes or disk_short > 0
            fresh = _FULL_SECONDS if is_full else _FRESH_SECONDS
            self._last = _Reading(known, disk_short, self._clock() + fresh)
            return self._last
