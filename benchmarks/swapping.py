"""What requests notice of a swap: latency round it against the steady state of the same run."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bring
from benchmarks.client import Done, Load, LoadGenerator, request
from benchmarks.figures import Spread, percentile
from benchmarks.serving import Service

CONCURRENCY = 4
#: After the last answer of the old version: it is closed and its memory handed back.
_SETTLE_SECONDS = 0.5
_PATIENCE = 30.0
#: Within this time after its first answer the new version answers alone.
_CHANGE_OVER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Swap:
    """One import under load; moments of `time.monotonic()`."""

    version: str
    begun: float
    imported: float
    first_new: float
    last_old: float

    @property
    def to_first_answer(self) -> float:
        """Seconds from the start of the import to the first answer of the new version."""
        return self.first_new - self.begun

    @property
    def after_import(self) -> float:
        """Seconds from the end of the import to the first answer of the new version."""
        return self.first_new - self.imported

    @property
    def ended(self) -> float:
        """When the old version is gone."""
        return max(self.imported, self.last_old) + _SETTLE_SECONDS


@dataclass(frozen=True, slots=True)
class SwapResult:
    """Several swaps in one run under load."""

    workers: int
    load: Load
    swaps: tuple[Swap, ...]

    @property
    def steady(self) -> list[float]:
        """Latencies of the requests that touch no swap."""
        return [one.milliseconds for one in self.load.done if not any(_touches(one, s) for s in self.swaps)]

    def within(self, swap: Swap) -> list[float]:
        """Latencies of the requests that touch this swap."""
        return [one.milliseconds for one in self.load.done if _touches(one, swap)]

    def steady_p(self, share: float) -> float:
        """A percentile of the steady state."""
        return percentile(self.steady, share)

    def window_p(self, share: float) -> Spread:
        """A percentile in the windows, over the swaps."""
        return Spread.of([percentile(self.within(swap), share) for swap in self.swaps])

    @property
    def pooled_ratio(self) -> float:
        """p99 of all windows together against the steady state."""
        return percentile([ms for swap in self.swaps for ms in self.within(swap)], 0.99) / self.steady_p(0.99)

    @property
    def ratio(self) -> Spread:
        """p99 of each window against the steady state."""
        steady = self.steady_p(0.99)
        return Spread.of([percentile(self.within(swap), 0.99) / steady for swap in self.swaps])


def _touches(one: Done, swap: Swap) -> bool:
    return one.ended >= swap.begun and one.begun <= swap.ended


def measure(
    service: Service, folders: Sequence[Path], pictures: Sequence[bytes], steady_seconds: float
) -> SwapResult:
    """Import each folder's version while requests run, with some steady seconds between."""
    host, port = service.address
    generator = LoadGenerator((host, port), [request(host, port, one) for one in pictures], CONCURRENCY)
    ended = threading.Event()
    loads: list[Load] = []
    thread = threading.Thread(target=lambda: loads.append(generator.run(ended.is_set)))
    thread.start()
    marks: list[tuple[str, float, float]] = []
    try:
        time.sleep(steady_seconds)
        for folder in folders:
            marks.append(_bring(service, folder, generator))
            time.sleep(_SETTLE_SECONDS + steady_seconds)
    finally:
        ended.set()
        thread.join()
    load = loads[0]
    return SwapResult(service.workers, load, tuple(_swap(load, *mark) for mark in marks))


def _bring(service: Service, folder: Path, generator: LoadGenerator) -> tuple[str, float, float]:
    """Import a version and wait until it answers; the moments when that began and when it was imported."""
    begun = time.monotonic()
    bring.bring(service.home, [folder])
    imported = time.monotonic()
    while generator.latest != folder.name:
        if time.monotonic() > imported + _PATIENCE:
            raise RuntimeError(f"{folder.name} does not answer {_PATIENCE:g} s after its import")
        time.sleep(0.05)
    return folder.name, begun, imported


def _swap(load: Load, version: str, begun: float, imported: float) -> Swap:
    new = [one.ended for one in load.done if one.version == version]
    first = min(new)
    # Workers change over one by one: between the first and the last, both versions answer.
    until = first + _CHANGE_OVER_SECONDS
    old = [one.ended for one in load.done if one.version != version and begun <= one.ended <= until]
    return Swap(version, begun, imported, first, max(old, default=first))
