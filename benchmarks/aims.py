"""What the service aims at. Nothing fails that misses it: machines differ, and so do neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.steady import Case, SizeResult
from benchmarks.swapping import CONCURRENCY, SwapResult

THROUGHPUT = 0.85
OVERHEAD_MS = 3.0
SWAP_P99 = 1.5


@dataclass(frozen=True, slots=True)
class Aim:
    """One aim and the better of the figures that were found."""

    text: str
    found: float
    workers: int
    met: bool


def steady_aims(result: SizeResult) -> Iterator[Aim]:
    """Throughput and latency on small pictures."""
    best = max(_at(result, 16), key=lambda case: case.ratio.median)
    found = best.ratio.median
    text = f"throughput at concurrency 16 at least {THROUGHPUT} of LIMIT"
    yield Aim(text, found, best.workers, found >= THROUGHPUT)
    best = min(_at(result, 1), key=lambda case: case.overhead.median)
    found = best.overhead.median
    text = f"p50 at concurrency 1 less than {OVERHEAD_MS:g} ms over the same work alone"
    yield Aim(text, found, best.workers, found < OVERHEAD_MS)


def _at(result: SizeResult, concurrency: int) -> list[Case]:
    return [case for case in result.cases if case.concurrency == concurrency]


def swap_aims(results: Sequence[SwapResult]) -> Iterator[Aim]:
    """Latency round a swap."""
    best = min(results, key=lambda result: result.pooled_ratio)
    found = best.pooled_ratio
    text = f"p99 in the swap windows at most {SWAP_P99} x steady at concurrency {CONCURRENCY}"
    yield Aim(text, found, best.workers, found <= SWAP_P99)
