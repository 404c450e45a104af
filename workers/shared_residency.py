"""The table of residency of several workers on their machine: shared memory, and a lock for its edits.

`residents` is a file of fixed size, mapped by all: a number that grows with each edit, the budget, and twice
the set as JSON after its length: the number says which one holds. It has its room from the beginning, so that
a full disk stops no edit. The use of a model is a row of registers, each written by the process on its seat
alone.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter

from manifest.tags import check_word
from residency.planner import MANY, ResidentSet, Use, mark_of
from residency.table import Change, LocalUse, ModelUse
from workers.membership import WorkerTable, registers

#: Bytes for the set, each of the two copies: some thousand models.
_ROOM = 1 << 20
_WORDS = _ROOM // 8
_HEADER = 2
#: Versions of a model that a worker can name at once.
_MARKS = 4
_OPENED, _USED, _LEASES, _AWAITED, _HELD = range(5)
_COLUMNS = _HELD + _MARKS
#: Seconds for which an edit waits for another one.
_PATIENCE = 1.0
_SETS = TypeAdapter(ResidentSet)


class SharedUse:
    """This worker's use of a model. See `residency.table.ModelUse`."""

    def __init__(self, row: memoryview, seat: int, changed: Callable[[], None]) -> None:
        self._row = row
        self._at = seat * _COLUMNS
        self._changed = changed

    def opened(self) -> None:
        """See `ModelUse`."""
        self._row[self._at + _OPENED] = time.monotonic_ns()
        self._row[self._at + _LEASES] = 0

    def borrowed(self, leases: int) -> None:
        """See `ModelUse`."""
        self._row[self._at + _USED] = time.monotonic_ns()
        self._row[self._at + _LEASES] = leases

    def returned(self, leases: int) -> None:
        """See `ModelUse`."""
        self._row[self._at + _LEASES] = leases

    def awaited(self, requests: int) -> None:
        """See `ModelUse`."""
        self._row[self._at + _AWAITED] = requests

    def holds(self, versions: Collection[str]) -> None:
        """See `ModelUse`."""
        marks = [mark_of(version) for version in versions]
        if len(marks) > _MARKS:
            marks = [MANY]
        padded = [*marks, *[0] * (_MARKS - len(marks))]
        first = self._at + _HELD
        if self._row[first : first + _MARKS].tolist() != padded:
            for place, mark in enumerate(padded):
                self._row[first + place] = mark
            self._changed()


class SharedTable:
    """One worker's view, from its own `seat`. See `residency.table.ResidencyTable`."""

    def __init__(
        self, folder: Path, seats: WorkerTable, seat: int, ring: Callable[[], None] = lambda: None
    ) -> None:
        """`ring` lets the other workers look again."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._seats = seats
        self._seat = seat
        self._ring = ring
        self._words = registers(folder / "residents", 2 * _WORDS)
        self._bytes = self._words.cast("B")
        self._bases = registers(folder / "bases", 2 * seats.count)
        self._known: tuple[int, ResidentSet] = (0, ResidentSet())
        self._uses: dict[str, SharedUse] = {}
        self._rows: dict[str, memoryview] = {}
        self._lock, self._beginning = threading.Lock(), threading.Lock()

    def agreed(self, budget: int) -> int:
        """The budget that the first worker of this run has given."""
        with self._lock, (self._folder / "edits").open("ab") as file:
            _take(file.fileno())
            self._words[1] = self._words[1] or budget
            return self._words[1]

    def residents(self) -> ResidentSet:
        """See `ResidencyTable`."""
        number, known = self._known
        if self._words[0] == number:
            return known
        with self._lock:
            return self._read()

    def edit(self, change: Change) -> ResidentSet:
        """See `ResidencyTable`. Raises `BlockingIOError` where another process does not end its edit."""
        with self._lock, (self._folder / "edits").open("ab") as file:
            _take(file.fileno())
            before = self._read()
            after = change(before)
            if after is before:
                return before
            self._write(after)
        self._ring()
        return after

    def _read(self) -> ResidentSet:
        """The set now. The number says which of the two copies holds: the other may be half written."""
        while True:
            number = self._words[0]
            if number == self._known[0]:
                return self._known[1]
            start = self._start(number)
            length = self._words[start]
            text = bytes(self._bytes[(start + 1) * 8 : (start + 1) * 8 + length])
            if self._words[0] == number:  # else that copy may have been written anew meanwhile
                self._known = (number, _SETS.validate_json(text))
                return self._known[1]

    def _write(self, residents: ResidentSet) -> None:
        number = self._words[0] + 1
        text = _SETS.dump_json(residents)
        start = self._start(number)
        if len(text) > _ROOM - 4 * 8:
            raise OSError(28, "there are too many models for the table of residency")
        self._words[start] = len(text)
        self._bytes[(start + 1) * 8 : (start + 1) * 8 + len(text)] = text
        self._words[0] = number
        self._known = (number, residents)

    def _start(self, number: int) -> int:
        """The first word of the copy of a number: even and odd ones take turns."""
        return _HEADER + (number % 2) * (_WORDS - _HEADER)

    def use(self, name: str) -> ModelUse:
        """See `ResidencyTable`. On a full disk the use of a model that has just come is not shared."""
        use = self._uses.get(name)
        if use is not None:
            return use
        with self._beginning:  # another thread may have begun it, and have written
            return self._uses.get(name) or self._begin(name)

    def _begin(self, name: str) -> ModelUse:
        try:
            row = self._row(name)
        except OSError:
            return LocalUse()
        first = self._seat * _COLUMNS
        for place in range(_COLUMNS):  # what the process before on this seat said is not this one's word
            row[first + place] = 0
        self._uses[name] = use = SharedUse(row, self._seat, self._ring)
        return use

    def uses(self, names: Iterable[str]) -> Mapping[str, Use]:
        """See `ResidencyTable`."""
        seats = self._seats.living()
        found: dict[str, Use] = {}
        for name in names:
            with suppress(OSError):
                found[name] = _seen(self._row(name), seats)
        return found

    def report_base(self, count: int, least: int) -> None:
        """See `ResidencyTable`."""
        self._bases[2 * self._seat], self._bases[2 * self._seat + 1] = count, least

    def base(self) -> tuple[int, int]:
        """See `ResidencyTable`."""
        seats = self._seats.living()
        return sum(self._bases[2 * seat] for seat in seats), sum(self._bases[2 * seat + 1] for seat in seats)

    def _row(self, name: str) -> memoryview:
        row = self._rows.get(name)
        if row is None:
            path = self._folder / f"use-{check_word('model name', name)}"
            self._rows[name] = row = registers(path, self._seats.count * _COLUMNS)
        return row


def _seen(row: memoryview, seats: Iterable[int]) -> Use:
    used = opened = leases = awaited = 0
    held = []
    for seat in seats:
        columns = row[seat * _COLUMNS : (seat + 1) * _COLUMNS].tolist()
        used, opened = max(used, columns[_USED]), max(opened, columns[_OPENED])
        leases += columns[_LEASES]
        awaited += columns[_AWAITED]
        held.append(frozenset(filter(None, columns[_HELD:])))
    return Use(used / 1e9, opened / 1e9, leases, tuple(held), awaited)


def _take(handle: int) -> None:
    """Lock a file; a process that is stopped with the lock in its hands must not stop this one."""
    until = time.monotonic() + _PATIENCE
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > until:
            raise BlockingIOError(11, "another worker is changing the resident set")
        time.sleep(0.001)
