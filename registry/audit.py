"""The audit log: one record per decision of the service, each chained to the one before by its hash.

The hash of a record is SHA-256 over its canonical JSON without the field `hash`. Canonical is JSON as RFC
8785 writes it: keys sorted, no white space, UTF-8, only the escapes that JSON demands. The values are texts,
integers and null; there are no floats, which is where writers of JSON differ.

Some records are checkpoints, which are signed (`registry/audit_key.py`): every record whose sequence number
is a multiple of `EVERY`, and the one after each promotion and rollback. `registry/audit_check.py` verifies.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from common.text import plain
from hotswap.errors import StateUnavailable

#: What the first record is chained to.
GENESIS = "0" * 64
#: Part of the format, as the verification expects a checkpoint at each multiple.
EVERY = 100
#: No record of ours has more bytes; of a longer one only so much is read into memory.
LONGEST = 100_000
#: Maximum characters of an actor, a reason and an outcome.
_LONGEST = 1000

Action = Literal[
    "import",
    "switch",
    "promotion",
    "rollback",
    "alias",
    "archive",
    "refusal",
    "override",
    "eviction",
    "target",
    "edit",
    "retrain",
    "checkpoint",
]
#: Decisions that a checkpoint follows at once.
_SEALED: frozenset[Action] = frozenset({"promotion", "rollback"})


@dataclass(frozen=True, slots=True)
class AuditedDecision:
    """What is to be recorded. `before` and `after` are versions, targets or aliases; `digests` is by version.

    `source` names the decision itself, such as `switch/detector/12`: several processes may report it, also
    again after a restart, and it is recorded once. `time` is when it was made, None for now.
    """

    action: Action
    model: str | None = None
    actor: str | None = None
    reason: str | None = None
    before: str | None = None
    after: str | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    outcome: str = "done"
    source: str | None = None
    time: datetime | None = None


class Record(BaseModel):
    """One record of the log. `time` is ISO 8601 in UTC; `previous` and `hash` are 64 hex digits.

    Only checkpoints have `key`, the fingerprint of the public key, and `signature`, in hex, over the
    canonical JSON of the record without `signature` and `hash`.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    sequence: int
    time: str
    action: Action
    actor: str | None
    reason: str | None
    model: str | None
    before: str | None
    after: str | None
    digests: dict[str, str]
    outcome: str
    source: str | None
    key: str | None
    signature: str | None
    previous: str
    hash: str

    def signed_content(self) -> bytes:
        """What the signature of a checkpoint covers; with `previous`, all records before it."""
        return canonical(self.model_dump(exclude={"signature", "hash"}))

    def text(self) -> bytes:
        """The one way in which a store writes the record."""
        return canonical(self.model_dump())

    def computed_hash(self) -> str:
        """The hash that the content of the record has."""
        return hashlib.sha256(canonical(self.model_dump(exclude={"hash"}))).hexdigest()

    def sealed(self) -> Record:
        """The same record with the hash of its content."""
        return self.model_copy(update={"hash": self.computed_hash()})


@dataclass(frozen=True, slots=True)
class Damaged:
    """What stands in the place of a record and is none."""

    why: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a log: the hash of a record and its sequence number, None where that is not known."""

    sequence: int | None
    hash: str

    def __str__(self) -> str:
        return self.hash if self.sequence is None else f"{self.sequence}:{self.hash}"


#: The new records behind the last one of the log (None: there is none), given which sources are stored.
Chain = Callable[[Record | None, Callable[[str], bool]], Sequence[Record]]


class AuditDamaged(StateUnavailable):
    """The end of the log is not what we wrote; the message says what to do."""


class AuditStore(Protocol):
    """Where records are kept, in order, for all processes of a service."""

    def append(self, chain: Chain) -> Sequence[Record]:
        """Append `chain(last, is_known)` as one step under a lock; all is durable on return.

        `is_known` says whether a record has a source; the store looks at 10,000 records at least. Raises
        `AuditDamaged`, and `OSError` or `StateUnavailable` where nothing can be written.
        """

    def read(self, start: int = 1) -> Iterator[Record | Damaged]:
        """What stands in the places from `start` on, in order, read piece by piece."""

    def last(self) -> Record | None:
        """The last record that is readable."""

    def close(self) -> None:
        """Give back what the store holds open."""


class Signer(Protocol):
    """Signs checkpoints; see `AuditKey`."""

    def sign(self, record: Record) -> Record:
        """The record with key and signature."""

    def keep(self, checkpoint: Record) -> None:
        """Keep a stored checkpoint beside the log: it tells of a tail that was cut."""


class AuditLog:
    """Records decisions; any number of processes may do so at once."""

    def __init__(
        self, store: AuditStore, signer: Signer, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._signer = signer
        self._now = now

    def record(self, decision: AuditedDecision) -> Record | None:
        """Store a decision durably; None where one with its `source` is stored already.

        Blocks for the lock and the disk: milliseconds, at most some seconds. Raises what `record_each` does.
        """
        return self.record_each([decision])[0]

    def record_each(self, decisions: Sequence[AuditedDecision]) -> list[Record | None]:
        """Store decisions in one step, each as `record` does.

        Raises `OSError`, `StateUnavailable`, `BadKey`; then nothing is stored.
        """
        made: dict[int, Record] = {}

        def chain(last: Record | None, is_known: Callable[[str], bool]) -> list[Record]:
            records = [] if last is None else [last]
            for index, decision in enumerate(decisions):
                source = decision.source
                if source is None or not (is_known(source) or any(source == one.source for one in records)):
                    # A process that was killed may have left the last record without its checkpoint.
                    self._seal(records)
                    made[index] = self._record(decision, records).sealed()
                    records.append(made[index])
                    self._seal(records)
            return records if last is None else records[1:]

        stored = self._store.append(chain)
        for checkpoint in [record for record in stored if record.action == "checkpoint"][-1:]:
            self._signer.keep(checkpoint)
        return [made.get(index) for index in range(len(decisions))]

    def close(self) -> None:
        """Give back what the store holds open."""
        self._store.close()

    def _seal(self, chain: list[Record]) -> None:
        """Add the checkpoint that is due, if one is."""
        if chain and is_checkpoint_due(chain[-1].sequence, chain[-1].action):
            checkpoint = self._record(AuditedDecision("checkpoint"), chain)
            chain.append(self._signer.sign(checkpoint).sealed())

    def _record(self, decision: AuditedDecision, chain: Sequence[Record]) -> Record:
        last = chain[-1] if chain else None
        return Record(
            sequence=last.sequence + 1 if last else 1,
            time=(decision.time or self._now()).astimezone(UTC).isoformat(timespec="microseconds"),
            action=decision.action,
            actor=_text(decision.actor),
            reason=_text(decision.reason),
            model=decision.model,
            before=decision.before,
            after=decision.after,
            digests=dict(decision.digests),
            outcome=plain(decision.outcome, _LONGEST),
            source=decision.source,
            key=None,
            signature=None,
            previous=last.hash if last else GENESIS,
            hash="",
        )


def is_checkpoint_due(sequence: int, action: Action) -> bool:
    """Whether the record after this one must be a checkpoint."""
    return action in _SEALED or (action != "checkpoint" and (sequence + 1) % EVERY == 0)


def newest(store: AuditStore, model: str | None, limit: int) -> list[Record]:
    """The newest records, the oldest of them first; checkpoints only where no model is asked for."""
    last = store.last()
    start = 1 if model or last is None else max(1, last.sequence - limit + 1)
    entries = (entry for entry in store.read(start) if isinstance(entry, Record))
    return list(deque((entry for entry in entries if model in (None, entry.model)), limit))


def parsed(text: str | bytes) -> Record | Damaged:
    """What was written as `text()` of a record."""
    try:
        record = Record.model_validate_json(text)
    except ValidationError as error:
        return Damaged(error.errors(include_url=False)[0]["msg"])
    written = record.text()
    same = written == text if isinstance(text, bytes) else written.decode() == text
    return record if same else Damaged("it is not written as the log writes it")


def canonical(document: Mapping[str, object]) -> bytes:
    """The one way to write a document of texts, integers, null and objects of them; see the module."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _text(text: str | None) -> str | None:
    return None if text is None else plain(text, _LONGEST)
