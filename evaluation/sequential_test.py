"""Whether a share has risen above what is allowed, asked after every observation. Pure.

The evidence is a likelihood ratio of "the share rose at some observation to some higher value" against "it
never was above what is allowed": the mean over a few higher values, and over the moments at which it may have
risen. While the share is allowed it is a supermartingale that begins at 1, so that it ever reaches 1 / a with
a probability of at most a (J. Ville, Étude critique de la notion de collectif, 1939), however often and long
one looks. Over the moments it is a sum as of A. N. Shiryaev and S. W. Roberts; such evidence is what J. Shin,
A. Ramdas and A. Rinaldo call an e-detector (https://arxiv.org/abs/2203.03532).
"""

from __future__ import annotations

import math

#: How far the share may have risen: parts of the way from what is allowed to 1.
_RISEN = (0.5, 0.9, 0.98)


class RiseTest:
    """Observations are good or bad; `allowed` is the share of bad ones that is no alarm, in 0..1 exclusively.

    Each bad one must have at most that probability, given those before it; they need not be independent, and
    the probability may change all the time. `false_alarms` bounds the probability of ever raising an alarm
    then. The rise is found soonest within the first `horizon` observations.
    """

    def __init__(self, allowed: float, false_alarms: float, horizon: int = 500) -> None:
        if not (0 < allowed < 1 and 0 < false_alarms < 1 and horizon > 0):
            raise ValueError("allowed and false_alarms lie between 0 and 1, horizon is positive")
        self.allowed = allowed
        self.observed = self.bad = 0
        self._limit = 1 / false_alarms
        self._weight = 1 / (horizon * len(_RISEN))
        self._horizon = horizon
        risen = [allowed + part * (1 - allowed) for part in _RISEN]
        self._factors = [((1 - share) / (1 - allowed), share / allowed) for share in risen]
        self._sums = [0.0] * len(_RISEN)

    def observe(self, bad: bool) -> bool:
        """Take in one observation; whether the share has risen."""
        if self.has_risen:
            return True
        weight = self._weight if self.observed < self._horizon else 0.0
        self.observed += 1
        self.bad += bad
        self._sums = [
            min(self._limit, (before + weight) * factors[bad])
            for before, factors in zip(self._sums, self._factors, strict=True)
        ]
        return self.has_risen

    @property
    def evidence(self) -> float:
        """The likelihood ratio now; 1 at the beginning."""
        not_begun = 1 - min(self.observed, self._horizon) / self._horizon
        return sum(self._sums) + not_begun

    @property
    def has_risen(self) -> bool:
        """Whether the evidence has been enough; it stays so."""
        return self.evidence >= self._limit

    @property
    def suspicion(self) -> float:
        """How near an alarm is: 0 none at all, 1 alarm."""
        return min(1.0, max(0.0, math.log(max(self.evidence, 1.0)) / math.log(self._limit)))
