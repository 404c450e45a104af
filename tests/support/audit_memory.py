"""The audit log in memory: the twin of the file, for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from registry.audit import Chain, Damaged, Record


class AuditMemory:
    """Forgets everything when its process ends; in all else it keeps the promises of `AuditStore`."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._lock = threading.Lock()

    def append(self, chain: Chain) -> Sequence[Record]:
        """See `AuditStore`."""
        with self._lock:
            records = chain(self.last(), {record.source for record in self._records}.__contains__)
            self._records += records
        return records

    def read(self, start: int = 1) -> Iterator[Record | Damaged]:
        """What stands in the places from `start` on, in order."""
        yield from self._records[start - 1 :]

    def last(self) -> Record | None:
        """The last record."""
        return self._records[-1] if self._records else None

    def close(self) -> None:
        """Nothing is held open."""
