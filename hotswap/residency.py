"""Residency: which models are in memory, within a budget of bytes for the whole service. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of memory that a loaded version takes.

    `shared` counts once for all workers (weights mapped from a file), `own` and `peak` in each worker: after
    and while it loads. `load_seconds` is what bringing it back costs.
    """

    shared: int
    own: int
    peak: int
    load_seconds: float = 0.0

    def resident(self, workers: int) -> int:
        """Bytes in so many workers together, once it is loaded."""
        return self.shared + workers * self.own

    def loading(self, workers: int) -> int:
        """Bytes in so many workers together while all of them load it."""
        return self.shared + workers * max(self.own, self.peak)


@dataclass(frozen=True, slots=True)
class Residence:
    """Whether a model is in memory, as operators see it.

    `memory_bytes` are those of its loaded versions in all workers; `last_used` is in seconds since the epoch.
    `evictable` means that it may leave to make room; `reason` says why it is not in memory.
    """

    loaded: bool
    memory_bytes: int = 0
    last_used: float | None = None
    evictable: bool = False
    reason: str | None = None
