"""The gate: checks that a version has to pass before it may answer, beside the version that answers now.

One verdict for the files of a version, kept by digest. It may only refuse, never promote; and what has
answered before is never refused, so that a rollback goes through.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from hotswap.errors import VersionFailed
from hotswap.repository import Artifact
from hotswap.runner import Runner
from manifest.tags import ModelTag

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


class Requirement(Protocol):
    """What a version needs before it is even loaded, under any policy, also when it has answered before."""

    @property
    def name(self) -> str:
        """What reasons call it; a name of `REQUIREMENTS`."""
        ...

    def judge(self, artifact: Artifact) -> Verdict:
        """Whether the files fulfil it. It is asked at each load."""
        ...


#: Checks that are asked at each load: what they found before is not kept against a version.
REQUIREMENTS = frozenset({"signature"})


def judge_all(
    checks: Sequence[Check],
    current: Version | None,
    candidate: Version,
    allowed: Collection[str] = (),
) -> dict[str, Verdict]:
    """The verdicts by the name of the check, up to and with the first `fail` that is not `allowed`.

    A check that raises is inconclusive: a fault of a check must not keep a good version out.
    """
    verdicts: dict[str, Verdict] = {}
    for check in checks:
        verdicts[check.name] = verdict = _judge(check, current, candidate)
        if verdict.result is not Result.PASS:
            tag, reason = candidate.artifact.tag, verdict.reason
            level = logging.WARNING if verdict.result is Result.FAIL else logging.INFO
            logger.log(level, "%s: check %s: %s: %s", tag, check.name, verdict.result, reason)
        if verdict.result is Result.FAIL and check.name not in allowed:
            break
    return verdicts


def _judge(check: Check, current: Version | None, candidate: Version) -> Verdict:
    try:
        return check.judge(current, candidate)
    except Exception as error:
        logger.exception("the check %s of %s", check.name, candidate.artifact.tag)
        return Verdict(Result.INCONCLUSIVE, f"the check failed itself: {type(error).__name__}: {error}")


class GatePolicy(StrEnum):
    """What a failed check does: refuses the version, is logged, or is not asked."""

    ENFORCE = "enforce"
    WARN = "warn"
    OFF = "off"


#: The name under which it is kept that a version was taken back after it had come to answer.
GUARD = "guard"


@dataclass(frozen=True, slots=True)
class GateRecord:
    """What the gate found about the files of one version, and which version it was held against.

    `allowed` are the checks whose failure somebody has accepted for these files.
    """

    tag: ModelTag
    digest: str
    policy: GatePolicy
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    compared: str | None = None
    judged: datetime | None = None
    allowed: frozenset[str] = frozenset()

    @property
    def result(self) -> Result:
        """The worst of all verdicts; a failure that somebody has allowed does not count."""
        results = {verdict.result for name, verdict in self.verdicts.items() if name not in self.allowed}
        return next((each for each in (Result.FAIL, Result.INCONCLUSIVE) if each in results), Result.PASS)

    @property
    def taken_back(self) -> Verdict | None:
        """Why it was taken back after it had come to answer; None where it was not, or that is allowed."""
        verdict = self.verdicts.get(GUARD)
        bad = verdict is not None and verdict.result is Result.FAIL and GUARD not in self.allowed
        return verdict if bad else None

    @property
    def refusal(self) -> str | None:
        """Why the version may not answer; None where it may."""
        failed = (
            f"check {name}: {verdict.reason}"
            for name, verdict in self.verdicts.items()
            if verdict.result is Result.FAIL
            and name not in self.allowed
            and (self.policy is GatePolicy.ENFORCE or name in REQUIREMENTS)
        )
        return next(failed, None)


def taken_back(
    known: GateRecord | None, tag: ModelTag, digest: str, verdict: Verdict, compared: str | None = None
) -> GateRecord:
    """The record of a version that has answered and is refused from now on, with what was `known` of it."""
    return GateRecord(
        tag,
        digest,
        GatePolicy.ENFORCE,
        {**(known.verdicts if known else {}), GUARD: verdict},
        compared=compared,
        judged=datetime.now(UTC),
        allowed=known.allowed - {GUARD} if known else frozenset(),
    )


class GateStore(Protocol):
    """Where verdicts are kept, for all workers of a service. Methods raise `OSError`."""

    def read(self, digest: str) -> GateRecord | None:
        """What was found about these files; None where they were not judged."""
        ...

    def write(self, record: GateRecord) -> None:
        """Keep it."""
        ...

    def has_served(self, digest: str) -> bool:
        """Whether a version with these files has answered here."""
        ...

    def note_served(self, digest: str) -> None:
        """A version with these files answers."""
        ...

    def judging(self, digest: str) -> AbstractContextManager[None]:
        """Held by the one that judges. Raises `TimeoutError`."""
        ...


class Gate:
    """Judges versions after they were checked, before they may answer."""

    def __init__(
        self,
        checks: Sequence[Check] = (),
        store: GateStore | None = None,
        *,
        requirements: Sequence[Requirement] = (),
        policy: Callable[[Artifact], GatePolicy] = lambda _: GatePolicy.ENFORCE,
        last_digest: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """Without a `store` each load is judged anew. `last_digest` is that of what answered last."""
        self._checks = checks
        self._store = store
        self._requirements = requirements
        self._policy = policy
        self._last_digest = last_digest
        self._taken_back: dict[str, GateRecord] = {}

    @property
    def is_open(self) -> bool:
        """Whether nothing is asked."""
        return not self._checks

    def check_known(self, artifact: Artifact) -> None:
        """Raise `VersionFailed` for a version that lacks what is required, or that was refused before.

        It need not be loaded then.
        """
        for requirement in self._requirements:
            self._require(requirement, artifact)
        known = self._known(artifact)
        if known is not None:
            self._raise_if_refused(known, artifact.tag)

    def take_back(self, artifact: Artifact, verdict: Verdict, compared: str | None = None) -> None:
        """Refuse from now on a version that has come to answer."""
        record = taken_back(self._read(artifact), artifact.tag, artifact.digest, verdict, compared)
        self._taken_back[artifact.digest] = record
        if self._store is None:
            return
        try:
            self._store.write(record)
        except OSError as error:
            # This process refuses it all the same.
            logger.warning("%s: that it was taken back cannot be kept: %s", artifact.tag, error)
        else:
            del self._taken_back[artifact.digest]

    def ruling(self, artifact: Artifact) -> Verdict | None:
        """What somebody said of a version that answers: to take it back, or that it is good; else None."""
        known = self._read(artifact)
        if known is None:
            return None
        if GUARD in known.allowed:
            return Verdict(Result.PASS, "somebody has accepted it")
        return known.taken_back

    def judge(self, current: Version | None, candidate: Version) -> Mapping[str, Verdict]:
        """The verdicts by the names of the checks. Raises `VersionFailed` where the version is refused."""
        artifact = candidate.artifact
        if not self._checks or self._is_trusted(artifact):
            return {}
        record = self._judged(current, candidate)
        self._raise_if_refused(record, artifact.tag)
        return record.verdicts

    def _raise_if_refused(self, record: GateRecord, tag: ModelTag) -> None:
        """In the same words when it is judged and whenever it is met again: to others it is one refusal."""
        if record.refusal is not None:
            advice = f"; okawari gate {tag} --again judges it anew" if self._store is not None else ""
            raise VersionFailed(f"{record.refusal}{advice}")

    def _require(self, requirement: Requirement, artifact: Artifact) -> None:
        """Raise `VersionFailed` where the version lacks it; else take back what was written down of that."""
        verdict, known = requirement.judge(artifact), self._read(artifact)
        record = known or GateRecord(artifact.tag, artifact.digest, GatePolicy.WARN)
        fails, failed = verdict.result is Result.FAIL, requirement.name in record.verdicts
        if fails:
            judged = record.judged or datetime.now(UTC)
            self._note(
                replace(record, verdicts={**record.verdicts, requirement.name: verdict}, judged=judged)
            )
            raise VersionFailed(f"check {requirement.name}: {verdict.reason}")
        if failed and record.verdicts[requirement.name].result is Result.FAIL:
            others = {name: each for name, each in record.verdicts.items() if name != requirement.name}
            self._note(replace(record, verdicts=others, judged=record.judged if others else None))

    def _note(self, record: GateRecord) -> None:
        if self._store is None:
            return
        try:
            self._store.write(record)
        except OSError as error:
            logger.warning("%s: its verdict cannot be kept: %s", record.tag, error)

    def _judged(self, current: Version | None, candidate: Version) -> GateRecord:
        digest = candidate.artifact.digest
        if self._store is None:
            return self._judge(current, candidate, frozenset())
        try:
            with self._store.judging(digest):
                known = self._store.read(digest)
                if known is not None and known.judged is not None:
                    return known
                allowed = known.allowed if known is not None else frozenset[str]()
                record = self._judge(current, candidate, allowed)
                self._store.write(record)
                return record
        except (OSError, TimeoutError) as error:
            # Without a place for verdicts each worker judges for itself.
            logger.warning("%s: its verdict cannot be kept: %s", candidate.artifact.tag, error)
            return self._judge(current, candidate, frozenset())

    def _judge(self, current: Version | None, candidate: Version, allowed: frozenset[str]) -> GateRecord:
        artifact, policy = candidate.artifact, self._policy(candidate.artifact)
        checks = () if policy is GatePolicy.OFF else self._checks
        # Where nothing is refused, all checks are asked.
        passed_over = allowed if policy is GatePolicy.ENFORCE else [check.name for check in checks]
        return GateRecord(
            artifact.tag,
            artifact.digest,
            policy,
            {
                **{each.name: each.judge(artifact) for each in self._requirements},
                **judge_all(checks, current, candidate, passed_over),
            },
            compared=None if current is None else str(current.artifact.tag),
            judged=datetime.now(UTC),
            allowed=allowed,
        )

    def _known(self, artifact: Artifact) -> GateRecord | None:
        """What counts for a version now: it is trusted once it has answered, unless it was taken back."""
        known = self._read(artifact)
        if known is None or (known.taken_back is None and self._is_trusted(artifact)):
            return None
        return known

    def _read(self, artifact: Artifact) -> GateRecord | None:
        if (unwritten := self._taken_back.get(artifact.digest)) is not None or self._store is None:
            return unwritten
        try:
            return self._store.read(artifact.digest)
        except OSError:
            return None

    def has_answered(self, artifact: Artifact) -> bool:
        """Whether it is noted that a version with these files has answered."""
        try:
            return self._store is not None and self._store.has_served(artifact.digest)
        except OSError:
            return False

    def _is_trusted(self, artifact: Artifact) -> bool:
        """Whether it has answered before."""
        if self._store is None:
            return False
        return self.has_answered(artifact) or self._last_digest(artifact.tag.name) == artifact.digest
