"""What the gate found, as files: one for each digest, and a mark for each that has answered."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from common.files import locked, write_atomically
from hotswap.events import Observer, Swap
from hotswap.gate import GUARD, GatePolicy, GateRecord, Result, Verdict, taken_back
from manifest.tags import ModelTag

#: Seconds that a worker waits for another one's verdict.
_PATIENCE = 120.0


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _StoredVerdict(_Part):
    result: Result
    reason: str
    numbers: Mapping[str, float] = {}


class _StoredRecord(_Part):
    format: int = 1
    model: str
    version: str
    digest: str
    policy: GatePolicy
    compared: str | None = None
    judged: datetime | None = None
    allowed: frozenset[str] = frozenset()
    verdicts: Mapping[str, _StoredVerdict] = {}


class VerdictFiles:
    """`<home>/state/verdicts`, shared by all processes of the home. Implements `GateStore`."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "state" / "verdicts"
        self._known: dict[str, tuple[int, GateRecord | None]] = {}

    def read(self, digest: str) -> GateRecord | None:
        """See `GateStore.read`. A file that is damaged counts as none: the version is judged anew."""
        try:
            stored = _StoredRecord.model_validate_json(self._record(digest).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return GateRecord(
            tag=ModelTag(stored.model, stored.version),
            digest=stored.digest,
            policy=stored.policy,
            verdicts={
                name: Verdict(each.result, each.reason, each.numbers)
                for name, each in stored.verdicts.items()
            },
            compared=stored.compared,
            judged=stored.judged,
            allowed=stored.allowed,
        )

    def write(self, record: GateRecord) -> None:
        """See `GateStore.write`."""
        stored = _StoredRecord(
            model=record.tag.name,
            version=record.tag.version,
            digest=record.digest,
            policy=record.policy,
            compared=record.compared,
            judged=record.judged,
            allowed=record.allowed,
            verdicts={
                name: _StoredVerdict(result=each.result, reason=each.reason, numbers=dict(each.numbers))
                for name, each in record.verdicts.items()
            },
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._record(record.digest), stored.model_dump_json(indent=1).encode())

    def known(self, digest: str) -> GateRecord | None:
        """As `read`, out of memory while the file is the same; None also where it cannot be read."""
        try:
            stamp = self._record(digest).stat().st_mtime_ns
            if self._known.get(digest, (0, None))[0] != stamp:
                self._known[digest] = stamp, self.read(digest)
        except OSError:
            self._known.pop(digest, None)
            return None
        return self._known[digest][1]

    def judge_again(self, tag: ModelTag, digest: str, allow: Collection[str] = ()) -> frozenset[str]:
        """Let these files be judged anew at the next load; returns the checks that may fail for them.

        Those are `allow`, and whatever was allowed before. What was taken back is as if it had never
        answered: it is watched again. Raises `OSError`.
        """
        before = self.read(digest)
        if before is not None and before.taken_back is not None and GUARD not in allow:
            self._mark(digest).unlink(missing_ok=True)
        allowed = frozenset(allow) | (before.allowed if before is not None else frozenset())
        if allowed:
            self.write(GateRecord(tag, digest, GatePolicy.ENFORCE, allowed=allowed))
        else:
            self._record(digest).unlink(missing_ok=True)
        return allowed

    def refuse(self, tag: ModelTag, digest: str, actor: str, reason: str) -> None:
        """Refuse a version from now on, whether or not it has answered. Raises `OSError`."""
        verdict = Verdict(Result.FAIL, f"refused by {actor}: {reason}")
        self.write(taken_back(self.read(digest), tag, digest, verdict))

    def has_served(self, digest: str) -> bool:
        """See `GateStore.has_served`."""
        return self._mark(digest).exists()

    def note_served(self, digest: str) -> None:
        """See `GateStore.note_served`."""
        if not self.has_served(digest):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._mark(digest).touch()

    @contextmanager
    def judging(self, digest: str) -> Iterator[None]:
        """See `GateStore.judging`."""
        with locked(self._folder / f".{_name(digest)}.lock", _PATIENCE):
            yield

    def _record(self, digest: str) -> Path:
        return self._folder / f"{_name(digest)}.json"

    def _mark(self, digest: str) -> Path:
        return self._folder / f"{_name(digest)}.served"


def _name(digest: str) -> str:
    return digest.rpartition(":")[2]


class ServedVersions(Observer):
    """Notes whatever comes to answer, so that a rollback to it is never refused."""

    def __init__(self, files: VerdictFiles) -> None:
        self._files = files

    def published(self, swap: Swap) -> None:
        """Another version answers."""
        if swap.digest is not None:
            with suppress(OSError):  # a full disk: it is asked again at the next load
                self._files.note_served(swap.digest)
