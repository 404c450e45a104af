"""The messages of one partition that are under way: what may be written, and up to where all is done."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from streaming.messages import OutgoingRecord


@dataclass(slots=True)
class PartitionWindow:
    """Outcomes come in any order; they leave in that of the messages, with the offset behind the last.

    So outcomes and offset can be one transaction, and what a crash leaves is done again from the offset on.
    Threads may share it.
    """

    _entries: OrderedDict[int, OutgoingRecord | None] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self._entries)

    def begin(self, offset: int) -> bool:
        """A message is under way. False, and nothing done: its offset is not greater than all before."""
        with self._lock:
            if self._entries and offset <= next(reversed(self._entries)):
                return False
            self._entries[offset] = None
            return True

    def done(self, offset: int, outcome: OutgoingRecord) -> None:
        """Its outcome has come."""
        with self._lock:
            self._entries[offset] = outcome

    @property
    def ready(self) -> bool:
        """Whether the first message has its outcome."""
        with self._lock:
            return next(iter(self._entries.values()), None) is not None

    def completed(self, most: int) -> tuple[Sequence[OutgoingRecord], int | None]:
        """The outcomes of the first messages as far as all have one, and the offset behind them."""
        outcomes: list[OutgoingRecord] = []
        behind = None
        with self._lock:
            for offset, outcome in self._entries.items():
                if outcome is None or len(outcomes) == most:
                    break
                outcomes.append(outcome)
                behind = offset + 1
        return outcomes, behind

    def written(self, behind: int) -> None:
        """All before this offset is written."""
        with self._lock:
            while self._entries and next(iter(self._entries)) < behind:
                self._entries.popitem(last=False)
