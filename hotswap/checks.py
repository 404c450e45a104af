"""Checks that a version has to pass before it may answer, beside the version that answers now.

The list is empty here: a registry, a memory budget or a comparison of answers adds to it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from hotswap.repository import Artifact
from hotswap.runner import Runner

logger = logging.getLogger("bentoml.okawari.hotswap")


class Result(StrEnum):
    """What a check found. An inconclusive one stops nothing."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one check, its reason for people, and the numbers behind it."""

    result: Result
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """A loaded version as a check sees it."""

    artifact: Artifact
    runner: Runner


class Check(Protocol):
    """One question about a version. It runs in the loader's thread and may take its time."""

    @property
    def name(self) -> str:
        """What logs and reasons call the check, for example `golden pictures`."""
        ...

    def judge(self, current: Version | None, candidate: Version) -> Verdict:
        """Compare `candidate` with the version that answers now, None where none does."""
        ...


def judge_all(checks: Sequence[Check], current: Version | None, candidate: Version) -> dict[str, Verdict]:
    """The verdicts by the name of the check, up to and with the first `fail`.

    A check that raises is inconclusive: a fault of a check must not keep a good version out.
    """
    verdicts: dict[str, Verdict] = {}
    for check in checks:
        verdicts[check.name] = verdict = _judge(check, current, candidate)
        if verdict.result is not Result.PASS:
            logger.warning(
                "%s: check %s: %s: %s", candidate.artifact.tag, check.name, verdict.result, verdict.reason
            )
        if verdict.result is Result.FAIL:
            break
    return verdicts


def _judge(check: Check, current: Version | None, candidate: Version) -> Verdict:
    try:
        return check.judge(current, candidate)
    except Exception as error:
        logger.exception("the check %s of %s", check.name, candidate.artifact.tag)
        return Verdict(Result.INCONCLUSIVE, f"the check failed itself: {type(error).__name__}: {error}")
