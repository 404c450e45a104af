"""The verdict of a comparison: whether version B is better, by pictures that became better or worse. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from evaluation.answers import PairedAnswer
from evaluation.transitions import ChangedPicture

#: Chance at which as many better pictures would come by themselves, below which a verdict is given.
SIGNIFICANT = 0.05
#: Agreement from which versions without a known truth count as the same.
_SAME = 0.95


class ComparisonResult(StrEnum):
    """What comes out for version B."""

    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no clear difference"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True)
class ChangeTally:
    """Pictures that both answered, those with a known truth, those with changes, and what came of them.

    A picture is better where more became right than wrong, or where only version A failed to answer.
    """

    pictures: int
    known: int
    changed: int
    better: int
    worse: int

    @classmethod
    def of(
        cls, changed: Sequence[ChangedPicture], answers: Sequence[PairedAnswer], known: Sequence[int]
    ) -> ChangeTally:
        """Count them; `known` are the places of pictures with a known truth. Without any, all count."""
        pictures = sum(each.a.error is None and each.b.error is None for each in answers)
        counting = [answers[row] for row in known] or answers
        only_a = sum(each.a.error is None and each.b.error is not None for each in counting)
        only_b = sum(each.a.error is not None and each.b.error is None for each in counting)
        better = sum(each.gain > 0 for each in changed) + only_b
        worse = sum(each.gain < 0 for each in changed) + only_a
        return cls(pictures, len(known), len(changed), better, worse)


@dataclass(frozen=True, slots=True)
class MeasureChange:
    """A measure against the truth that must not contradict the verdict, of both versions."""

    title: str
    before: float
    after: float


def verdict(
    a: str, b: str, tally: ChangeTally, change: MeasureChange | None, agreement: float | None
) -> tuple[ComparisonResult, str]:
    """The result for version `b`, and a sentence with its numbers; without a truth `change` is None."""
    if not tally.pictures:
        return ComparisonResult.NOT_COMPARABLE, f"{a} and {b} answered no picture both"
    if change is None:
        return _by_agreement(a, b, agreement, tally)
    better, worse = tally.better, tally.worse
    chance = sign_test(better, worse)
    result = ComparisonResult.NO_DIFFERENCE
    if chance < SIGNIFICANT:
        if better > worse and change.after >= change.before:
            result = ComparisonResult.BETTER
        elif worse > better and change.after <= change.before:
            result = ComparisonResult.WORSE
    said = {
        ComparisonResult.BETTER: f"{b} is better than {a}",
        ComparisonResult.WORSE: f"{b} is worse than {a}",
    }.get(result, f"there is no clear difference between {a} and {b}")
    return result, (
        f"{said}: of {tally.known} pictures with a known truth {better} are better and {worse} worse "
        f"(sign test, p = {chance:.2g}); {change.title} {change.before:.3f} → {change.after:.3f}"
    )


def _by_agreement(
    a: str, b: str, agreement: float | None, tally: ChangeTally
) -> tuple[ComparisonResult, str]:
    """Without a known truth only that they are alike can be said."""
    if agreement is None:
        said = f"{a} and {b} find nothing in {tally.pictures} pictures"
        return ComparisonResult.NOT_COMPARABLE, said
    numbers = f"they agree to {agreement:.1%}; {tally.changed} of {tally.pictures} pictures change"
    if agreement >= _SAME and sign_test(tally.better, tally.worse) >= SIGNIFICANT:
        return ComparisonResult.NO_DIFFERENCE, f"there is no clear difference between {a} and {b}: {numbers}"
    return ComparisonResult.NOT_COMPARABLE, (
        f"nothing says whether {a} or {b} is right: {numbers}; mark pictures below, or give a ground truth"
    )


def sign_test(better: int, worse: int) -> float:
    """The chance that of as many changed pictures at least so many go one way, if both ways were alike.

    The exact two-sided sign test (binomial, 1/2), which is McNemar's for pairs.
    """
    count, fewer = better + worse, min(better, worse)
    # As logarithms: 2 to the power of thousands is no float.
    terms = [
        math.lgamma(count + 1) - math.lgamma(each + 1) - math.lgamma(count - each + 1) - count * math.log(2)
        for each in range(fewer + 1)
    ]
    return min(1.0, 2 * sum(math.exp(term) for term in terms))
