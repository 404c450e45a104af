"""How busy the machine is: CPUs, memory and disk in percent, as the kernel gives them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

#: Seconds over which the CPUs are watched at least: ticks are counted a hundred times a second.
_SHORTEST = 0.5


class CpuUsage:
    """The busy share of all CPUs of the machine since it was asked last, or since the beginning."""

    def __init__(self, stat: Path = Path("/proc/stat"), clock: Callable[[], float] = time.monotonic) -> None:
        self._stat = stat
        self._clock = clock
        self._read_at = clock()
        self._ticks = _ticks(stat)
        self._percent: float | None = None

    def percent(self) -> float | None:
        """0 to 100; None where the system does not say, and right after the beginning.

        Who asks again within half a second gets the same figure.
        """
        now = self._clock()
        if now - self._read_at >= _SHORTEST:
            before, after = self._ticks, _ticks(self._stat)
            self._read_at, self._ticks = now, after
            self._percent = _busy(before, after)
        return self._percent


def _ticks(stat: Path) -> tuple[int, int] | None:
    """Idle ticks and all of them, since the boot. Guests are counted in user and nice already."""
    try:
        first = stat.read_text().splitlines()[0].split()[1:9]
        ticks = [int(each) for each in first]
        return ticks[3] + ticks[4], sum(ticks)
    except (OSError, ValueError, IndexError):
        return None


def _busy(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    if before is None or after is None or after[1] <= before[1]:
        return None
    idle, total = after[0] - before[0], after[1] - before[1]
    return round(min(100.0, max(0.0, 100 * (1 - idle / total))), 1)


def memory_percent(meminfo: Path = Path("/proc/meminfo")) -> float | None:
    """Memory that is not available to new work; None where the system does not say."""
    try:
        pairs = (line.split() for line in meminfo.read_text().splitlines())
        sizes = {pair[0]: int(pair[1]) for pair in pairs if len(pair) > 1 and pair[1].isdigit()}
        share = 1 - sizes["MemAvailable:"] / sizes["MemTotal:"]
    except (OSError, KeyError, ZeroDivisionError):
        return None
    return round(100 * share, 1)


def disk_percent(folder: Path) -> float | None:
    """The used share of the file system that a folder is on. It may hang where that hangs."""
    try:
        space = os.statvfs(folder)
    except OSError:
        return None
    used = space.f_blocks - space.f_bfree
    reachable = used + space.f_bavail  # without what only root may use
    return round(100 * used / reachable, 1) if reachable else None


def finite(value: float) -> float | None:
    """A figure that JSON can carry; None for one that the system did not give."""
    return value if math.isfinite(value) else None
