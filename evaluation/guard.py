"""The guard's judge: a version that has come to answer, held against the version before on the same pictures.

A share of the pictures that are answered is answered by the version before, too, beside the requests: by one
thread of low priority, within a bound of time, and seldom while requests wait for a thread: a version so slow
that they always wait has to be found, too. Light and traffic change nothing in the comparison, since both
versions see the same pictures.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from evaluation.agreement import agreement
from evaluation.guard_evidence import GuardEvidence
from hotswap.errors import ServingError
from hotswap.gate import Result, Verdict
from hotswap.generation import Generation
from hotswap.guard import Watch
from hotswap.predictions import Options, Picture, Prediction, Predictions

logger = logging.getLogger("bentoml.okawari.hotswap")

#: A good version is taken back at most in one of so many switches.
FALSE_ALARMS = 1 / 1000
#: Seconds of work that may be saved up while there are no pictures, for a share of the whole core.
_SAVED = 10.0
#: What of its time is left to the comparison while requests wait.
_WHILE_BUSY = 0.1
#: Pictures that both have to have answered before a window ends, where there are such pictures.
_LEAST_PAIRS = 30
_WINDOWS = 10


@dataclass(frozen=True, slots=True)
class GuardRules:
    """How switches are watched.

    `seconds` is the window, 0 for none; it is up to ten times as long where fewer than `answers` were given
    in it, or fewer than 30 of them were compared. `share` is the part of one core that may compare. All
    `workers` watch for themselves.
    """

    seconds: float = 60.0
    answers: int = 100
    share: float = 0.03
    workers: int = 1


@dataclass(frozen=True, slots=True)
class _Pair:
    """A picture, what was answered to it, and in how many milliseconds (None: among others of a request)."""

    watch: VersionWatch
    picture: Picture
    options: Options
    answered: Prediction
    milliseconds: float | None

    @property
    def picture_key(self) -> int:
        """The same number for the same picture; what is asked about it, as a prompt, makes it another."""
        shown = self.picture.encoded if self.picture.pixels is None else self.picture.pixels.tobytes()
        return hash((shown, repr(self.options)))


class VersionGuard:
    """Watches switches of one worker. See `hotswap.guard.Guard`."""

    def __init__(self, rules: GuardRules, is_busy: Callable[[], bool] = lambda: False) -> None:
        """`is_busy`: whether requests wait for a thread."""
        self._rules = rules
        self._pairs = PairThread(rules.share, is_busy)

    def keeps(self, before: Generation, after: Generation) -> bool:
        """See `Guard`: where both answer the same question in the same way, with other, new files."""
        if after.has_answered or not self._window(after) or before.artifact.digest == after.artifact.digest:
            return False
        old, new = before.artifact.config, after.artifact.config
        return old.answers_as == new.answers_as and old.crop_with is None and new.crop_with is None

    def watch(self, before: Generation, after: Generation, wake: Callable[[], None]) -> Watch:
        """See `Guard`."""
        seconds = self._window(after)
        rules = GuardRules(seconds, self._rules.answers, self._rules.share, self._rules.workers)
        return VersionWatch(before, after, rules, self._pairs, wake)

    def _window(self, after: Generation) -> float:
        guard = after.artifact.config.guard
        if guard.policy == "off":
            return 0.0
        return self._rules.seconds if guard.seconds is None else guard.seconds

    def close(self) -> None:
        """End the thread."""
        self._pairs.close()


class VersionWatch:
    """One version of a model, beside the one before it. See `hotswap.guard.Watch`."""

    def __init__(
        self,
        before: Generation,
        after: Generation,
        rules: GuardRules,
        pairs: PairThread,
        wake: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.before = before
        self.after = after
        self._rules = rules
        self._pairs = pairs
        self._wake = wake
        self._clock = clock
        self._until = clock() + rules.seconds
        self._at_last = clock() + _WINDOWS * rules.seconds
        config = after.artifact.config
        self._by_label = before.artifact.config.labels == config.labels
        self._evidence = GuardEvidence(str(before.tag), config.guard, FALSE_ALARMS / rules.workers)
        self._lock = threading.Lock()
        self._verdict: Verdict | None = None
        self._to_compare = 0
        self.is_closed = False

    def answered(self, pictures: Sequence[Picture], options: Options, found: Predictions) -> None:
        """See `Watch`. The first picture is compared, if there is time."""
        self._observe(lambda evidence: evidence.answer())
        if not found.items or self._verdict is not None:
            return
        self._to_compare += 1
        alone = found.timings.inference / found.sharing if len(pictures) == 1 else None
        pair = _Pair(self, pictures[0], options, found.items[0], alone)
        self._pairs.offer(pair, self._evidence.is_suspicious)

    def failed(self, error: Exception) -> None:
        """See `Watch`."""
        self._observe(lambda evidence: evidence.answer(str(error)))

    @property
    def verdict(self) -> Verdict | None:
        """See `Watch`."""
        if self._verdict is not None or self._clock() < self._until:
            return self._verdict
        with self._lock:
            evidence = self._evidence
            seen = evidence.answers >= self._rules.answers and (
                evidence.pairs >= min(_LEAST_PAIRS, self._to_compare)
            )
            if not seen and self._clock() < self._at_last:
                return None
            said = f"{evidence.answers} answers, {evidence.pairs} compared with {self.before.tag}"
            return Verdict(Result.PASS, said, evidence.numbers())

    def close(self) -> None:
        """See `Watch`."""
        self.is_closed = True

    def compare(self, pair: _Pair) -> None:
        """Let the version before answer a picture, too. In the thread that compares."""
        with self._lock:
            if not self._evidence.is_worth_comparing(pair.picture_key):
                return
        lease = None if self.is_closed else self.before.borrow_beside()
        if lease is None:
            return
        with lease as before:
            try:
                found = before.runner.predict([pair.picture], pair.options)
            except ServingError as error:
                # Such as an option that it does not take, or the fault for which the new version came.
                logger.debug("%s has no answer to compare: %s", before.tag, error)
                return
        self._take_in(pair, found)

    def _take_in(self, pair: _Pair, found: Predictions) -> None:
        (expected,), answered = found.items, pair.answered
        agreed = agreement(expected, answered, by_label=self._by_label)

        empty, was_empty = not answered.detections, not expected.detections
        key = pair.picture_key

        def observe(evidence: GuardEvidence) -> None:
            evidence.pair(agreed, is_empty=empty, was_empty=was_empty, picture=key)
            if pair.milliseconds is not None:
                evidence.times(found.timings.inference, pair.milliseconds)

        self._observe(observe)

    def _observe(self, change: Callable[[GuardEvidence], None]) -> None:
        with self._lock:
            if self._verdict is not None:
                return
            change(self._evidence)
            self._verdict = self._evidence.verdict
            if self._verdict is None:
                return
        self._wake()


class TimeBudget:
    """A share of the time that passes, of which that of 10 seconds can be saved up, and owed."""

    def __init__(self, share: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._left = _SAVED * share
        self._clock = clock
        self._counted = clock()

    @property
    def has_time(self) -> bool:
        """Whether there is any left."""
        now = self._clock()
        self._left = min(_SAVED * self._share, self._left + (now - self._counted) * self._share)
        self._counted = now
        return self._left > 0

    def spend(self, seconds: float) -> None:
        """Take from it; it may fall below 0, so far that 10 seconds make up for it."""
        self._left = max(-_SAVED * self._share, self._left - seconds)


class PairThread:
    """Compares one picture after the other; it begins with the first. What comes meanwhile is passed over."""

    def __init__(self, share: float, is_busy: Callable[[], bool]) -> None:
        """`share` of one core, a tenth of it while `is_busy`."""
        self._is_busy = is_busy
        self._budget, self._busy_budget = TimeBudget(share), TimeBudget(share * _WHILE_BUSY)
        self._waiting: queue.Queue[tuple[_Pair, TimeBudget] | None] = queue.Queue(maxsize=1)
        self._thread: threading.Thread | None = None

    def offer(self, pair: _Pair, suspicious: bool) -> None:
        """Compare it, if there is time: of the share, or any time where there is suspicion."""
        if self._waiting.full():
            return
        budget = self._busy_budget if self._is_busy() else self._budget
        if not (budget.has_time or suspicious):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="okawari-guard", daemon=True)
            self._thread.start()
        with suppress(queue.Full):
            self._waiting.put_nowait((pair, budget))

    def _serve(self) -> None:
        if os.uname().sysname == "Linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while (offered := self._waiting.get()) is not None:
            pair, budget = offered
            begun = time.monotonic()
            try:
                pair.watch.compare(pair)
            except Exception:
                logger.exception("comparing an answer of %s", pair.watch.after.tag)
            budget.spend(time.monotonic() - begun)
            del offered, pair  # a picture, or a closed version, must not stay

    def close(self) -> None:
        """End after the picture that is being compared."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(5.0)
