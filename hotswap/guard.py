"""The guard: after a switch the version before stays warm for a while, and answers again if it has to.

Who judges is behind `Guard` and `Watch`; what is here keeps, takes back and lets go. It may only take back:
what answered before was judged by whoever had it served.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hotswap.gate import Gate, Result, Verdict
from hotswap.generation import Generation
from hotswap.predictions import Options, Picture, Predictions
from hotswap.rollout import Rollout
from hotswap.slot import Slot

logger = logging.getLogger("bentoml.okawari.hotswap")


class Watch(Protocol):
    """One version, looked at while it answers. The first two are called by the threads that run models."""

    def answered(self, pictures: Sequence[Picture], options: Options, found: Predictions) -> None:
        """It has answered; to tensors where there are no pictures. Must be quick and must not raise."""
        ...

    def failed(self, error: Exception) -> None:
        """It could not answer what another version has answered."""
        ...

    @property
    def verdict(self) -> Verdict | None:
        """Why the version is bad, or, at the end of the window, that it is not; None: not known yet."""
        ...

    def close(self) -> None:
        """Look no more."""
        ...


class Guard(Protocol):
    """Decides which switches are watched."""

    def keeps(self, before: Generation, after: Generation) -> bool:
        """Whether `before` is to stay in memory while `after` is watched. Called by requests, too: quick."""
        ...

    def watch(self, before: Generation, after: Generation, wake: Callable[[], None]) -> Watch:
        """Look at `after` from now on; `wake` is called when there is a verdict."""
        ...


@dataclass(frozen=True, slots=True)
class _Watched:
    before: Generation
    after: Generation
    watch: Watch
    is_candidate: bool


class GuardTurns:
    """The guard's part of the reconciler's turns, in its thread."""

    def __init__(self, guard: Guard, gate: Gate, rollout: Rollout, wake: Callable[[], None]) -> None:
        self._guard = guard
        self._gate = gate
        self._rollout = rollout
        self._wake = wake
        self._watched: dict[str, _Watched] = {}

    def turn(self, slot: Slot, *, looking: bool) -> None:
        """Begin or end a watch, and take back what is bad."""
        before, after = self._pair(slot)
        known = self._watched.get(slot.name)
        # A candidate that becomes the target is looked at anew: it was asked by few.
        is_candidate = after is not None and after is slot.candidate
        pair = before, after, is_candidate
        if known is not None and (known.before, known.after, known.is_candidate) != pair:
            self._end(slot.name)
            known = None
        if before is None or after is None:
            return
        if known is None:
            known = self._begin(slot.name, before, after, is_candidate)
        verdict = known.watch.verdict
        if looking:
            verdict = self._gate.ruling(after.artifact) or verdict
        if verdict is None:
            return
        if verdict.result is Result.FAIL:
            self._take_back(slot, before, after, verdict)
        elif before is slot.kept:
            logger.info("%s stays, %s is let go: %s", after.tag, before.tag, verdict.reason)
            self._end(slot.name)
            slot.release_kept()

    def _pair(self, slot: Slot) -> tuple[Generation | None, Generation | None]:
        """What is held against what: the new against what is kept, then a candidate against the target."""
        if slot.kept is None and slot.candidate is not None and slot.current is not None:
            watched = self._guard.keeps(slot.current, slot.candidate)
            return (slot.current, slot.candidate) if watched else (None, None)
        return slot.kept, slot.current

    def _begin(self, name: str, before: Generation, after: Generation, is_candidate: bool) -> _Watched:
        watch = self._guard.watch(before, after, self._wake)
        self._watched[name] = known = _Watched(before, after, watch, is_candidate)
        after.watch = watch
        return known

    def _end(self, name: str) -> None:
        known = self._watched.pop(name)
        known.after.watch = None
        known.watch.close()

    def _take_back(self, slot: Slot, before: Generation, after: Generation, verdict: Verdict) -> None:
        # First the verdict: from the moment the other answers, nobody may load this one again.
        self._gate.take_back(after.artifact, verdict, str(before.tag))
        logger.warning("%s is taken back, %s answers again: %s", after.tag, before.tag, verdict.reason)
        if after is slot.candidate:
            self._rollout.end_canary(slot)
        else:
            self._rollout.take_back(slot)
        if after not in (slot.current, slot.candidate):
            self._end(slot.name)
