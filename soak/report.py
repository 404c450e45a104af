"""The record of long runs: one folder, to which each run adds its piece."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.files import write_atomically
from soak.plot import plot
from soak.samples import Sample, growth_per_hour
from soak.traffic import Counts

_DOCUMENT, _PLOT = "soak.json", "soak.svg"
_SUMMED = (
    "seconds",
    "answered",
    "lost_with_killed_workers",
    "contradictions",
    "swaps",
    "evictions",
    "kills",
    "restarts",
)
_FIGURES = ("resident_mb", "proportional_mb", "descriptors", "threads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One run."""

    started: str
    seconds: float
    version: str
    workers: int
    counts: Counts
    samples: Sequence[Sample]
    marks: Sequence[tuple[float, str]]
    swaps: int
    evictions: int
    kills: int
    restarts: int
    problems: Sequence[str]

    @property
    def holds(self) -> bool:
        """Whether each request was answered, refused as documented, or lost with a worker that was killed."""
        return not self.counts.failed and not self.counts.contradictions

    def document(self) -> dict[str, Any]:
        """As it is recorded."""
        counts = self.counts
        return {
            "started": self.started,
            "seconds": round(self.seconds, 1),
            "version": self.version,
            "workers": self.workers,
            "answered": counts.answered,
            "refused": dict(counts.refused),
            "lost_with_killed_workers": counts.lost,
            "failed": dict(counts.failed),
            "contradictions": counts.contradictions,
            "failures": [asdict(each) for each in counts.failures],
            "swaps": self.swaps,
            "evictions": self.evictions,
            "kills": self.kills,
            "restarts": self.restarts,
            "problems": list(self.problems),
            "growth_per_hour": {name: _rounded(growth_per_hour(self.samples, name)) for name in _FIGURES},
            "samples": [asdict(each) for each in self.samples],
        }


def write(folder: Path, piece: Piece) -> dict[str, Any]:
    """Add a piece to the folder's record and draw it; returns the sums of all pieces.

    Raises `ValueError` where the record cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _DOCUMENT
    pieces = json.loads(path.read_text())["pieces"] if path.exists() else []
    pieces.append(piece.document())
    sums = _sums(pieces)
    write_atomically(path, json.dumps({"sums": sums, "pieces": pieces}, indent=1).encode())
    title = (
        f"{piece.seconds / 60:.0f} minutes, {piece.workers} worker(s): {piece.counts.answered} answers, "
        f"{piece.swaps} swaps, {piece.evictions} evictions, {piece.kills} kills, "
        f"{sum(piece.counts.failed.values())} failed"
    )
    write_atomically(folder / _PLOT, plot(piece.samples, piece.marks, title).encode())
    return sums


def _sums(pieces: Sequence[dict[str, Any]]) -> dict[str, Any]:
    sums: dict[str, Any] = {name: sum(piece[name] for piece in pieces) for name in _SUMMED}
    for name in ("refused", "failed"):
        total: Counter[str] = Counter()
        for piece in pieces:
            total.update(piece[name])
        sums[name] = dict(total)
    return sums


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
