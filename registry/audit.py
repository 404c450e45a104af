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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from common.text import plain

#: What the first record is chained to.
GENESIS = "0" * 64
#: Part of the format, as the verification expects a checkpoint at each multiple.
EVERY = 100
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


#: The new records behind the last one of the log (None: there is none).
Chain = Callable[[Record | None], Sequence[Record]]


class AuditStore(Protocol):
    """Where records are kept, in order, for all processes of a service."""

    def append(self, source: str | None, chain: Chain) -> Sequence[Record]:
        """Append `chain(last)` as one step under a lock; all is durable on return.

        Nothing is appended where a record has the same `source`; the store looks at 10,000 records at least.
        Raises `OSError` where nothing can be written.
        """

    def read(self, start: int = 1) -> Iterator[Record | Damaged]:
        """What stands in the places from `start` on, in order, read piece by piece."""

    def last(self) -> Record | None:
        """The last record that is readable."""


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

        Blocks for the lock and the disk: milliseconds, at most some seconds. Raises `OSError`.
        """
        stored = self._store.append(decision.source, lambda last: self._chained(decision, last))
        for record in stored:
            if record.action == "checkpoint":
                self._signer.keep(record)
        return next((record for record in stored if record.action == decision.action), None)

    def _chained(self, decision: AuditedDecision, last: Record | None) -> list[Record]:
        """The record of a decision, with the checkpoints that are due before and after it."""
        chain = [] if last is None else [last]
        # A process that was killed may have left the last record without its checkpoint.
        self._seal(chain)
        chain.append(self._record(decision, chain).sealed())
        self._seal(chain)
        return chain if last is None else chain[1:]

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


def canonical(document: Mapping[str, object]) -> bytes:
    """The one way to write a document of texts, integers, null and objects of them; see the module."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _text(text: str | None) -> str | None:
    return None if text is None else plain(text, _LONGEST)
