"""The evidence for and against a version that answers: four questions after every observation. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from evaluation.sequential_test import RiseTest
from hotswap.gate import Result, Verdict
from manifest.version_manifest import GuardConfig

#: Of the pairs: how many may be empty beside an answer that is not, and how many slower; in 0..1.
_EMPTY, _SLOW = 0.1, 0.2
#: Agreement of two answers below which they differ.
_AGREE = 0.5
#: Milliseconds by which what is slower is no reason.
_LEAST = 5.0
#: How many of the last times are remembered: a verdict is soon, and its times are to be those it is about.
_TIMES = 15
_QUESTIONS = 4
#: How often the same picture counts: a client may send one all the time, and what is said to it is no share
#: of what cameras see. One without a finding counts less often, as seven are a verdict. What has counted is
#: compared once in so many times, and so many are remembered.
_OFTEN, _OFTEN_EMPTY, _SELDOM, _REMEMBERED = 6, 2, 8, 1000
#: From here on the evidence is a suspicion; 1 is a verdict.
_SUSPICIOUS = 0.2


class GuardEvidence:
    """Of one version in one worker, beside the version before it.

    `false_alarms` bounds the probability that a version which keeps to `rules` is ever found bad.
    """

    def __init__(self, before: str, rules: GuardConfig, false_alarms: float) -> None:
        each = false_alarms / _QUESTIONS
        self._before = before
        self._rules = rules
        self._failing = RiseTest(rules.failing, each)
        self._empty = RiseTest(_EMPTY, each)
        self._differing = RiseTest(rules.differing, each)
        self._slow = RiseTest(_SLOW, each)
        #: Pictures that both versions have answered; the same one counts a few times at most.
        self.pairs = 0
        self._seen: dict[tuple[int | bool, ...], int] = {}
        self._times: list[tuple[float, float]] = []
        self._failure = ""
        self._was_slow = False

    @property
    def answers(self) -> int:
        """How many requests it has answered, or failed to."""
        return self._failing.observed

    @property
    def is_suspicious(self) -> bool:
        """Whether the last picture was slow, or many spoke against it: the next ones are worth their time.

        A single picture with another answer is no reason: the next one shows the same scene, often.
        """
        return self._was_slow or any(test.suspicion >= _SUSPICIOUS for test in self._tests())

    def _tests(self) -> Iterator[RiseTest]:
        yield from (self._failing, self._empty, self._differing, self._slow)

    def answer(self, failure: str | None = None) -> None:
        """A request was answered, or failed for a reason."""
        self._failing.observe(failure is not None)
        self._failure = failure or self._failure

    def pair(self, agreement: float | None, *, is_empty: bool, was_empty: bool, picture: int) -> None:
        """Both versions have answered a picture; `agreement` in 0..1, None where it cannot be told.

        `picture` is the same number for the same picture, which counts six times at most with one outcome.
        """
        self._was_slow = False
        finds_nothing, differs = is_empty and not was_empty, agreement is not None and agreement < _AGREE
        before = self._see(picture, finds_nothing, differs)
        if before < _OFTEN_EMPTY:
            self._empty.observe(finds_nothing)
        if before < _OFTEN:
            self.pairs += 1
            if agreement is not None:
                self._differing.observe(differs)

    def is_worth_comparing(self, picture: int) -> bool:
        """Whether a picture that was answered may say more than it has; asked once for each time it comes."""
        before = self._see(picture)
        return before < _OFTEN or self._was_slow or before % _SELDOM == 0

    def _see(self, *what: int | bool) -> int:
        """How often it was seen before, among the last ones."""
        before = self._seen.pop(what, 0)
        self._seen[what] = before + 1
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return before

    def times(self, before_ms: float, after_ms: float) -> None:
        """Milliseconds that each took for the same picture, at about the same time."""
        self._times = [*self._times[1 - _TIMES :], (before_ms, after_ms)]
        self._was_slow = after_ms > self._rules.slowdown * before_ms and after_ms - before_ms > _LEAST
        self._slow.observe(self._was_slow)

    @property
    def verdict(self) -> Verdict | None:
        """Why it is bad; None where nothing says so."""
        for test, said in (
            (self._failing, self._said_failing),
            (self._empty, self._said_empty),
            (self._differing, self._said_differing),
            (self._slow, self._said_slow),
        ):
            if test.has_risen:
                return Verdict(Result.FAIL, said(), self.numbers())
        return None

    def numbers(self) -> dict[str, float]:
        """The counts behind it."""
        before, after = self._medians()
        return {
            "answers": self.answers,
            "failed": self._failing.bad,
            "pairs": self.pairs,
            "empty": self._empty.bad,
            "differing": self._differing.bad,
            "slow": self._slow.bad,
            "before_ms": before,
            "after_ms": after,
        }

    def _medians(self) -> tuple[float, float]:
        if not self._times:
            return 0.0, 0.0
        before, after = zip(*self._times, strict=True)
        return round(median(before), 3), round(median(after), 3)

    def _said_failing(self) -> str:
        return f"fails: {self._failing.bad} of {self.answers} requests, at last: {self._failure}"

    def _said_empty(self) -> str:
        return (
            f"finds nothing: in {self._empty.bad} of {self._empty.observed} pictures where "
            f"{self._before} finds something"
        )

    def _said_differing(self) -> str:
        test = self._differing
        return (
            f"answers otherwise: than {self._before} on {test.bad} of {test.observed} pictures, "
            f"{test.allowed:.0%} are allowed"
        )

    def _said_slow(self) -> str:
        before, after = self._medians()
        return (
            f"too slow: {after:.1f} ms a picture, {self._before} {before:.1f} ms; at most "
            f"{self._rules.slowdown:g} times as long is allowed"
        )
