"""What the workers of a service hold at a moment, and how fast it answered since the last one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import linear_regression, quantiles

import psutil

#: Of a run: what is left out at its beginning, while libraries and pages come in.
_WARM_UP = 0.25


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment, `seconds` after the start. Memory in megabytes, latency in milliseconds;
    sums of all workers."""

    seconds: float
    workers: int
    resident_mb: float
    proportional_mb: float
    descriptors: int
    threads: int
    answered: int
    p50_ms: float
    p99_ms: float


def sample(seconds: float, pids: Sequence[int], answered: int, latencies: Sequence[float]) -> Sample:
    """Look at these processes; `latencies` are those since the last sample."""
    resident = proportional = descriptors = threads = 0
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            with process.oneshot():
                memory = process.memory_full_info()
                resident += memory.rss
                proportional += getattr(memory, "pss", memory.rss)
                descriptors += process.num_fds()
                threads += process.num_threads()
    p50, p99 = _percentiles(latencies)
    return Sample(
        round(seconds, 1),
        len(pids),
        round(resident / 1e6, 1),
        round(proportional / 1e6, 1),
        descriptors,
        threads,
        answered,
        p50,
        p99,
    )


def _percentiles(latencies: Sequence[float]) -> tuple[float, float]:
    if len(latencies) < 2:
        return (0.0, 0.0) if not latencies else (round(latencies[0], 2),) * 2
    cuts = quantiles(latencies, n=100, method="inclusive")
    return round(cuts[49], 2), round(cuts[98], 2)


def growth_per_hour(samples: Sequence[Sample], figure: str) -> float | None:
    """The slope of a figure over the samples after the first quarter, in its unit per hour.

    Samples with fewer workers than usual are left out. None where there are too few.
    """
    usual = max((each.workers for each in samples), default=0)
    kept = [each for each in samples[int(len(samples) * _WARM_UP) :] if each.workers == usual]
    if len(kept) < 3:
        return None
    slope = linear_regression(
        [each.seconds / 3600 for each in kept], [getattr(each, figure) for each in kept]
    )
    return float(slope.slope)
