"""How often a device may ask: a bucket of tokens for each, filled at a rate up to a burst."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lineage.errors import RateExceeded

#: So many devices have a bucket in memory; the one that asked longest ago gives its place.
_MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """What a device may ask for: so much in a second, and so much at once after a pause."""

    per_second: float
    burst: float

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.burst >= 1):
            raise ValueError("per_second must be above 0, and burst at least 1")

    def cost(self, pictures: int) -> float:
        """What a request of so many pictures takes: a full bucket is enough for any."""
        return min(float(pictures), self.burst)

    def refused(self, device_id: str, tokens: float, cost: float) -> RateExceeded:
        """The refusal of a request by a bucket that has so many tokens."""
        wait = max(0.0, cost - tokens) / self.per_second
        allowed = f"{self.per_second:g} pictures a second, {self.burst:g} at once"
        return RateExceeded(f"device {device_id} may hand in {allowed}; retry in {wait:.1f} s", wait)


class RateLimit(Protocol):
    """The buckets. May be used by several threads at once."""

    def take(self, device_id: str, pictures: int = 1) -> None:
        """Let a device hand in so many pictures. Raises `RateExceeded`, which takes nothing."""
        ...


class LocalRateLimit:
    """A `RateLimit` of one process, in memory."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, device_id: str, pictures: int = 1) -> None:
        """See `RateLimit`."""
        rate, cost = self._rate, self._rate.cost(pictures)
        with self._lock:
            now = self._clock()
            tokens, filled = self._buckets.get(device_id, (rate.burst, now))
            tokens = min(rate.burst, tokens + max(0.0, now - filled) * rate.per_second)
            if tokens < cost:
                raise rate.refused(device_id, tokens, cost)
            self._buckets[device_id] = tokens - cost, max(filled, now)
            self._buckets.move_to_end(device_id)
            if len(self._buckets) > _MOST_BUCKETS:
                self._buckets.popitem(last=False)
