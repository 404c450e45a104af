"""Back-off: what failed, why, and when it may be tried again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hotswap.repository import VersionInfo
from manifest.tags import ModelTag


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """It may not. `settling`: waiting may help, so it is tried again at the next look."""

    tag: ModelTag
    reason: str
    settling: bool = False
    digest: str | None = None


Clock = Callable[[], float]

_FIRST = 1.0
_LONGEST = 60.0
_SETTLING = 0.5


@dataclass(frozen=True, slots=True)
class Failure:
    """One version's last failure. `number` counts failures in a row, `seen` is what the store showed."""

    reason: str
    number: int
    retry_at: float
    settling: bool
    seen: VersionInfo | None
    digest: str | None = None


class Backoff:
    """Failures by tag. A version whose files have changed is tried again at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[ModelTag, Failure] = {}

    @property
    def failures(self) -> Mapping[ModelTag, Failure]:
        """What failed and has not been forgiven."""
        return self._failures

    def record(self, failed: LoadFailure, seen: VersionInfo | None) -> float:
        """Remember a failure; return the seconds until the next try."""
        before = self._failures.get(failed.tag)
        number = 1 if before is None or before.settling else before.number + 1
        delay = _SETTLING if failed.settling else min(_LONGEST, _FIRST * 2 ** min(number - 1, 10))
        self._failures[failed.tag] = Failure(
            failed.reason, number, self._clock() + delay, failed.settling, seen, failed.digest
        )
        return delay

    def waiting(self, tag: ModelTag, seen: VersionInfo | None) -> bool:
        """Whether the version failed and is not to be tried yet."""
        failure = self._failures.get(tag)
        return failure is not None and failure.seen == seen and self._clock() < failure.retry_at

    def keep(self, known: Callable[[ModelTag], bool]) -> None:
        """Forget the failures of versions that are no longer known."""
        for tag in [tag for tag in self._failures if not known(tag)]:
            del self._failures[tag]

    def forgive(self, tag: ModelTag) -> None:
        """The version may be tried now."""
        self._failures.pop(tag, None)

    def forgive_all(self) -> None:
        """Every version may be tried now."""
        self._failures.clear()
