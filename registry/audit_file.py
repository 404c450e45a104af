"""The audit log as a file: one canonical JSON document per line, appended under a lock."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from common.files import locked, sync
from registry.audit import LONGEST, AuditDamaged, Chain, Damaged, Record, parsed

logger = logging.getLogger("bentoml.okawari.registry")

#: How many sources are remembered, and how far from the end a process that starts looks for them.
_SOURCES = 10_000
_TAIL_BYTES = 16_000_000
#: Seconds to wait for the lock; other processes hold it for as long as a write takes.
_PATIENCE = 10.0


class AuditFile:
    """`audit.jsonl` in a folder. Every process of the home reads and appends to the same file.

    A process that is killed while it writes leaves a last line without an end. No caller heard that it is
    stored: it is not read, and the next append cuts it off and logs that once.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "audit.jsonl"
        self._lock = folder / "audit.lock"
        self._inode = 0
        self._read_to = 0
        self._last: Record | Damaged | None = None
        self._sources: OrderedDict[str, None] = OrderedDict()

    def append(self, chain: Chain) -> Sequence[Record]:
        """See `AuditStore`."""
        with locked(self._lock, _PATIENCE), _opened(self.path) as file:
            self._catch_up(file)
            if isinstance(self._last, Damaged):
                raise AuditDamaged(
                    f"{self.path} is damaged at its end ({self._last.why}): look at it with `okawari audit "
                    "--verify`, then move it away to start a new one"
                )
            records = chain(self._last, self._sources.__contains__)
            if records:
                self._write(file, records)
        return records

    def _write(self, file: BinaryIO, records: Sequence[Record]) -> None:
        file.write(b"".join(record.text() + b"\n" for record in records))
        file.flush()
        os.fsync(file.fileno())
        for record in records:
            self._remember(record)
        self._read_to = file.tell()

    def _catch_up(self, file: BinaryIO) -> None:
        """Take in what other processes have appended; cut off what one of them left unfinished."""
        status = os.fstat(file.fileno())
        if status.st_ino != self._inode or status.st_size < self._read_to:
            self._inode, self._read_to, self._last = status.st_ino, 0, None
            self._sources.clear()
        if self._read_to == 0:
            self._read_to = _line_start(file, status.st_size - _TAIL_BYTES)
        file.seek(self._read_to)
        for line in _whole_lines(file):
            self._read_to += len(line)
            self._remember(_parsed(line))
        if self._read_to < status.st_size:
            torn = status.st_size - self._read_to
            logger.warning("%s: cut %d bytes of a record whose writer was killed", self.path, torn)
            file.truncate(self._read_to)
        file.seek(self._read_to)

    def _remember(self, entry: Record | Damaged) -> None:
        self._last = entry
        if isinstance(entry, Record) and entry.source is not None:
            self._sources[entry.source] = None
            if len(self._sources) > _SOURCES:
                self._sources.popitem(last=False)

    def read(self, start: int = 1) -> Iterator[Record | Damaged]:
        """What stands in the lines from `start` on, in order; without a last line that has no end."""
        try:
            with self.path.open("rb") as file:
                yield from map(_parsed, islice(_whole_lines(file), start - 1, None))
        except FileNotFoundError:
            return

    def last(self) -> Record | None:
        """The last record that is readable."""
        try:
            with self.path.open("rb") as file:
                file.seek(_line_start(file, file.seek(0, os.SEEK_END) - 10 * LONGEST))
                entries = [entry for line in _whole_lines(file) if isinstance(entry := _parsed(line), Record)]
        except FileNotFoundError:
            return None
        return entries[-1] if entries else None

    def close(self) -> None:
        """Nothing is held open."""


def _opened(path: Path) -> BinaryIO:
    """The file, open for reading and writing; made, durably, where there is none."""
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
        sync(path.parent)
    return path.open("r+b")


def _line_start(file: BinaryIO, offset: int) -> int:
    """Where the first line begins that begins at `offset` or later."""
    if offset <= 0:
        return 0
    file.seek(offset - 1)
    file.readline()
    return file.tell()


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines that have an end, in pieces of at most `LONGEST` bytes."""
    while piece := file.readline(LONGEST):
        if not piece.endswith(b"\n") and len(piece) < LONGEST:
            return
        yield piece


def _parsed(line: bytes) -> Record | Damaged:
    return parsed(line.removesuffix(b"\n"))
