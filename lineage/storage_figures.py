"""What is stored and what waits to be, as figures for metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StorageFigures:
    """Bytes and pictures; `used` counts against `limit`."""

    used: int
    limit: int
    is_over_warning: bool
    waiting: int
    oldest_seconds: float
