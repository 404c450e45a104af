"""Arithmetic on measurements: percentiles of a run, spread over rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure over several rounds."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(median(values), min(values), max(values), len(values))

    def text(self, digits: int) -> str:
        """`median (lowest-highest)`, or only the value where there was one round."""
        middle = f"{self.median:.{digits}f}"
        if self.rounds == 1:
            return middle
        return f"{middle} ({self.low:.{digits}f}-{self.high:.{digits}f})"

    def as_json(self) -> dict[str, float]:
        """For the results file."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed; NaN of none.

    The nearest rank, because a tail drawn between two measurements was measured by nobody.
    """
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
