"""The time that a version takes, beside the one before it."""

from __future__ import annotations

from statistics import median
from time import perf_counter

from evaluation.evidence import at_hand, within_time
from evaluation.golden import HeldGolden, usual_options
from hotswap.gate import Result, Verdict, Version
from hotswap.predictions import Options, Picture

#: Rounds, pictures, and milliseconds by which what is slower is no reason.
_ROUNDS, _MOST_PICTURES, _LEAST = 5, 4, 5.0


class LatencyCheck:
    """Whether a version is not much slower than the one before it, on the pictures at hand."""

    name = "latency"

    def __init__(self, held: HeldGolden = lambda _: ()) -> None:
        self._held = held

    def judge(self, current: Version | None, candidate: Version) -> Verdict:
        """See `Check.judge`. Times are in milliseconds."""
        pictures = at_hand(current, candidate, self._held)[:_MOST_PICTURES]
        if current is None or not pictures:
            return Verdict(Result.PASS, "there is nothing to compare with")
        options = usual_options(candidate)
        before, after = [], []
        for each in within_time(pictures * _ROUNDS):
            before.append(_milliseconds(current, each.picture, options))
            after.append(_milliseconds(candidate, each.picture, options))
        return _compared(median(before), median(after), candidate.artifact.config.gate.slowdown)


def _milliseconds(version: Version, picture: Picture, options: Options) -> float:
    begun = perf_counter()
    version.runner.predict([picture], options)
    return (perf_counter() - begun) * 1e3


def _compared(before: float, after: float, slowdown: float) -> Verdict:
    numbers = {"before_ms": round(before, 3), "after_ms": round(after, 3)}
    said = f"takes {after:.1f} ms for a picture, the version before {before:.1f} ms"
    if after > slowdown * before and after - before > _LEAST:
        return Verdict(Result.FAIL, f"{said}; at most {slowdown:g} times as long is allowed", numbers)
    return Verdict(Result.PASS, said, numbers)
