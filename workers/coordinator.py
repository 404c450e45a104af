"""The agreement of the workers of one service on their machine: links hold decisions, shared memory numbers.

Under `<folder>/<model>/` a decision is a symbolic link whose name is its number and whose target is its
text: making one is a single step that only the first can take, even on a full disk. `words` are the
registers of the model, one of each kind for every seat, each written by the process on that seat alone:
the highest number it has reached, what it proposes, what it refuses. The highest number of all seats is
what holds; a process that was stopped half-way can only leave its own register behind.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from hotswap.coordination import Decision, Quorum
from manifest.tags import BadTag, check_word
from workers.membership import WorkerTable, registers

#: Decisions of a model that are kept; older ones are not read any more.
_KEPT = 16
_LONGEST_REASON = 2000


class SharedCoordinator:
    """One worker's view; `seat` is the index of its own seat. See `hotswap.coordination.Coordinator`."""

    def __init__(self, folder: Path, seats: WorkerTable, seat: int) -> None:
        self._folder = folder
        self._seats = seats
        self._seat = seat
        self._count = seats.count
        self._rows: dict[str, memoryview] = {}
        self._refused: dict[str, str] = {}

    def number(self, name: str) -> int:
        """The highest number that any seat has reached."""
        row = self._rows.get(name) or self._found(name)
        return max(row[: self._count]) if row is not None else 0

    def decision(self, name: str, number: int) -> Decision | None:
        """Read the link."""
        try:
            text = (self._folder / name / str(number)).readlink()
        except FileNotFoundError:
            return None
        return _parsed(number, str(text))

    def decide(self, name: str, wanted: Decision) -> Decision:
        """Make the link, or read the one that is there."""
        self._row(name)
        path = self._folder / name / str(wanted.number)
        try:
            path.symlink_to(_text(wanted))
        except FileExistsError:
            return _parsed(wanted.number, str(path.readlink()))
        if wanted.number - _KEPT < self.number(name):  # what holds, and what is void above it, is kept
            with suppress(OSError):
                (self._folder / name / str(wanted.number - _KEPT)).unlink()
        return wanted

    def reach(self, name: str, number: int) -> None:
        """Raise this seat's register."""
        row = self._row(name)
        row[self._seat] = max(row[self._seat], number)

    def propose(self, name: str, wanted: Decision) -> None:
        """Write what is ready here."""
        row = self._row(name)
        if self._refused.get(name) in (wanted.version, wanted.candidate):
            row[2 * self._count + self._seat] = 0
        row[self._count + self._seat] = _mark(_text(wanted), wanted.number)

    def refuse(self, name: str, version: str, revision: int, reason: str) -> None:
        """Write what cannot be, and why beside it."""
        row = self._row(name)
        path = self._reason(name, self._seat)
        temporary = path.with_suffix(".tmp")
        with suppress(OSError):
            path.unlink()
        with suppress(OSError):  # the no counts, its text may lack room
            temporary.write_text(reason[:_LONGEST_REASON])
            temporary.replace(path)
        self._refused[name] = version
        row[2 * self._count + self._seat] = _mark(version, revision)

    def quorum(self, name: str, wanted: Decision, revision: int) -> Quorum:
        """Compare the registers of the seats whose processes live."""
        row, mark = self._row(name), _mark(_text(wanted), wanted.number)
        missing = tuple(seat for seat in self._seats.living() if row[self._count + seat] != mark)
        refusals = [
            reason
            for version in dict.fromkeys((wanted.version, wanted.candidate))
            if version is not None
            for reason in self._refusals(name, version, revision, missing)
        ]
        return Quorum(missing, tuple(refusals))

    def refusals(self, name: str, version: str, revision: int) -> tuple[str, ...]:
        """The reasons of living seats that refuse a version."""
        return self._refusals(name, version, revision, self._seats.living())

    def _refusals(self, name: str, version: str, revision: int, seats: tuple[int, ...]) -> tuple[str, ...]:
        row, mark = self._row(name), _mark(version, revision)
        refusing = [seat for seat in seats if row[2 * self._count + seat] == mark]
        return tuple(f"worker {seat}: {self._said(name, seat)}" for seat in refusing)

    def _said(self, name: str, seat: int) -> str:
        with suppress(OSError):
            return self._reason(name, seat).read_text()
        return "see its log"

    def _reason(self, name: str, seat: int) -> Path:
        return self._folder / name / f"refused-{seat}"

    def _found(self, name: str) -> memoryview | None:
        """The registers of a model that another worker has begun."""
        try:
            there = (self._folder / check_word("model name", name) / "words").exists()
            return self._row(name) if there else None
        except (BadTag, OSError):
            return None

    def _row(self, name: str) -> memoryview:
        row = self._rows.get(name)
        if row is None:
            folder = self._folder / check_word("model name", name)
            folder.mkdir(parents=True, exist_ok=True)
            row = registers(folder / "words", 3 * self._count)
            # What the process before on this seat said is not this one's word.
            row[self._count + self._seat] = row[2 * self._count + self._seat] = 0
            self._rows[name] = row
        return row


def _mark(text: str, number: int) -> int:
    """64 bits that stand for a text and a number; never 0."""
    digest = hashlib.blake2b(f"{number} {text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) | 1


def _text(decision: Decision) -> str:
    """Short, so that the link needs no room of its own."""
    if decision.void:
        return "void"
    if decision.evicted:
        return "evict"
    if decision.version is None:
        return "none"
    text = f"serve {decision.version} {_end_of(decision.digest)}"
    if decision.candidate is None:
        return text
    return f"{text} {decision.candidate} {_end_of(decision.candidate_digest)} {decision.share!r}"


def _end_of(digest: str | None) -> str:
    return (digest or "")[-16:]


def _parsed(number: int, text: str) -> Decision:
    kind, *rest = text.split(" ")
    version, digest, candidate, candidate_digest, share = (*rest, *[""] * (5 - len(rest)))
    return Decision(
        number,
        version or None,
        digest or None,
        void=kind == "void",
        evicted=kind == "evict",
        candidate=candidate or None,
        candidate_digest=candidate_digest or None,
        share=float(share or 0),
    )
