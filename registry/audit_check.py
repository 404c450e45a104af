"""Verification of the audit log: the first record that is not what was written, and what was done to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeGuard

from registry.audit import GENESIS, AuditStore, Damaged, Head, Record, is_checkpoint_due
from registry.audit_key import is_signed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Kind = Literal["edited", "removed", "reordered", "inserted", "cut"]
Entry = Record | Damaged


class Tampered(Exception):
    """The log is not as it was written: the first record concerned, and what was done to it."""

    def __init__(self, kind: Kind, sequence: int, found: str) -> None:
        super().__init__(f"record {sequence} was {kind}: {found}")
        self.kind = kind
        self.sequence = sequence
        self.found = found


def verify(
    store: AuditStore,
    keys: Mapping[str, Ed25519PublicKey],
    heads: Sequence[Head] = (),
    step: Callable[[], object] = lambda: None,
) -> Head:
    """Verify a log from its first record to its last, in bounded memory; return its head.

    `keys` are public keys by fingerprint; `heads` were kept elsewhere, and the log must contain each. `step`
    is called after each record. Raises `Tampered`.
    """
    check = _Check(store, keys, heads)
    for entry in store.read():
        check.take(entry)
        step()
    check.end()
    return check.head


class _Check:
    """A log as far as it was verified: up to `_last`, and `_before` it."""

    def __init__(
        self, store: AuditStore, keys: Mapping[str, Ed25519PublicKey], heads: Sequence[Head]
    ) -> None:
        self._store = store
        self._keys = keys
        self._awaited = [head for head in heads if head.sequence != 0]
        self._before: Record | None = None
        self._last: Record | None = None
        self._checkpoint = 0

    @property
    def head(self) -> Head:
        """The last record verified."""
        return Head(self._last.sequence, self._last.hash) if self._last else Head(0, GENESIS)

    def take(self, entry: Entry) -> None:
        """Verify what stands in the next place. Raises `Tampered`."""
        if not _continues(entry, self._last):
            raise self._named(entry)
        self._check_checkpoint(entry)
        self._check_heads(entry)
        self._before, self._last = self._last, entry

    def end(self) -> None:
        """Raise `Tampered` where a head that is known was not met."""
        for head in self._awaited:
            number = self._place - 1
            raise Tampered(
                "cut",
                self._place,
                f"the log ends with record {number}; the head {head}, known from elsewhere, is not in it",
            )

    @property
    def _place(self) -> int:
        """The sequence number that is next."""
        return (self._last.sequence if self._last else 0) + 1

    def _check_checkpoint(self, record: Record) -> None:
        if record.action == "checkpoint":
            self._check_signature(record)
            self._checkpoint = record.sequence
        elif self._last is not None and is_checkpoint_due(self._last.sequence, self._last.action):
            raise Tampered(
                "removed",
                record.sequence,
                f"a signed checkpoint must stand here, found action {record.action!r}; all records after "
                f"{self._checkpoint} may have been rewritten",
            )

    def _check_signature(self, record: Record) -> None:
        if is_signed(record, self._keys):
            return
        since = f"a record from {self._checkpoint + 1} on was rewritten together with the hashes after it"
        known = ", ".join(self._keys) or "none"
        found = (
            f"the signature of this checkpoint does not fit; {since}"
            if record.key in self._keys
            else f"this checkpoint is signed by the key {record.key}, known: {known}; give its public key "
            f"with --key, or {since}"
        )
        raise Tampered("edited", record.sequence, found)

    def _check_heads(self, record: Record) -> None:
        for head in self._awaited:
            if head.sequence == record.sequence and head.hash != record.hash:
                raise Tampered(
                    "edited",
                    record.sequence,
                    f"its hash is {record.hash}, known from elsewhere is {head.hash}; it or a record before "
                    "it was rewritten together with the hashes after it",
                )
        self._awaited = [head for head in self._awaited if head.hash != record.hash]

    def _named(self, entry: Entry) -> Tampered:
        """What was done here, where `entry` does not continue the log."""
        following = next(self._store.read(self._place + 1), None)
        if not _is_intact(entry):
            return self._not_intact(entry, following)
        if entry.sequence < self._place:
            return self._seen_already(entry, following)
        if entry.sequence > self._place:
            return self._too_early(entry)
        return self._not_chained(entry, following)

    def _not_intact(self, entry: Entry, following: Entry | None) -> Tampered:
        place = self._place
        found = (
            entry.why if isinstance(entry, Damaged) else f"its content has the hash {entry.computed_hash()}"
        )
        if following is not None and _continues(following, self._last):
            return Tampered("inserted", place, f"the genuine record {place} stands behind it; {found}")
        stated = "" if isinstance(entry, Damaged) else f", stated is {entry.hash}"
        return Tampered("edited", place, f"{found}{stated}")

    def _seen_already(self, entry: Record, following: Entry | None) -> Tampered:
        """A copy of an earlier record; or the genuine record, behind one that was forged in its place."""
        last = self._last
        genuine = last is not None and entry.hash != last.hash and _continues(entry, self._before)
        if genuine and following is not None and _continues(following, entry):
            return Tampered(
                "inserted", entry.sequence, f"the genuine record {entry.sequence} stands behind it"
            )
        return Tampered(
            "inserted",
            self._place,
            f"in its place stands another record with the sequence number {entry.sequence}",
        )

    def _too_early(self, entry: Record) -> Tampered:
        place, missing, again = self._place, True, False
        for later in self._store.read(place + 1):
            missing = missing and not _continues(later, self._last)
            again = again or (isinstance(later, Record) and later.sequence == entry.sequence)
        if missing:
            upto = f"records {place} to {entry.sequence - 1} are" if entry.sequence > place + 1 else "it is"
            return Tampered("removed", place, f"{upto} missing, record {entry.sequence} stands here")
        if again:
            return Tampered("inserted", place, f"the genuine records {place} and {entry.sequence} come later")
        return Tampered("reordered", place, f"record {entry.sequence} stands in its place, it comes later")

    def _not_chained(self, entry: Record, following: Entry | None) -> Tampered:
        """The record before was edited and given a new hash, unless this one is the odd one."""
        place, last = self._place, self._last
        if following is not None and _continues(following, last):
            return Tampered("inserted", place, f"the genuine record {place} stands behind it")
        odd = following is not None and not _continues(following, entry)
        if last is None or odd:
            return Tampered(
                "edited", place, f"it is chained to {entry.previous}, the record before has {self.head.hash}"
            )
        return Tampered(
            "edited", last.sequence, f"its hash is {last.hash}, record {place} is chained to {entry.previous}"
        )


def _is_intact(entry: Entry) -> TypeGuard[Record]:
    return isinstance(entry, Record) and entry.computed_hash() == entry.hash


def _continues(entry: Entry, last: Record | None) -> TypeGuard[Record]:
    """Whether a record is the one that was written after `last`."""
    sequence, previous = (last.sequence, last.hash) if last else (0, GENESIS)
    return (
        isinstance(entry, Record)
        and (entry.sequence, entry.previous) == (sequence + 1, previous)
        and _is_intact(entry)
    )
