"""The rules of the model registry: what a change makes of one model's record. Pure; every store applies them.

A change is a function of the record and a `Stamp`. It returns the record after it and the `ChangeRecord` for
the history, or None where nothing changes; or it raises, and then nothing changes either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from hotswap.errors import Conflict, ModelNotFound, VersionNotFound
from registry.entries import MOST_ALIASES, Action, By, ChangeRecord, RegistryEntry, Status
from registry.errors import AliasNotFound, AlreadyRegistered

#: Maximum versions of one model, and how many rollbacks in a row are possible.
MOST_VERSIONS = 10_000
MOST_EARLIER = 100
#: Changes that move production. Each may be the way to a version that a rollback returns to.
MOVES = (Action.ACTIVATE, Action.ROLLBACK, Action.UNDO, Action.FILE_EDIT)


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """All that the registry knows of one model; `moves` are its changes of production, oldest first."""

    name: str
    entries: Mapping[str, RegistryEntry]
    moves: Sequence[ChangeRecord] = ()

    def entry(self, version: str) -> RegistryEntry:
        """Raises `ModelNotFound`, `VersionNotFound`."""
        self.check_registered()
        if version not in self.entries:
            raise VersionNotFound(f"{self.name}:{version} is not registered; register it first")
        return self.entries[version]

    def check_registered(self) -> None:
        """Raise `ModelNotFound` where there is no version of the model."""
        if not self.entries:
            raise ModelNotFound(f"{self.name} is not registered; register a version first")

    @property
    def production(self) -> RegistryEntry | None:
        """The production version."""
        return next((one for one in self.entries.values() if one.status is Status.PRODUCTION), None)

    def alias(self, alias: str) -> RegistryEntry | None:
        """The version that an alias means."""
        return next((one for one in self.entries.values() if alias in one.aliases), None)

    def changed(self, *entries: RegistryEntry) -> ModelRecord:
        """The record with these entries exchanged or added."""
        return replace(self, entries={**self.entries, **{one.version: one for one in entries}})


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who changes something, and the number and time that the store gives the change."""

    number: int
    time: datetime
    by: By


@dataclass(frozen=True, slots=True)
class ChangeOutcome:
    """The record after a change, the entry that it was about, and what the history keeps of it."""

    record: ModelRecord
    entry: RegistryEntry
    change: ChangeRecord | None = None


Change = Callable[[ModelRecord, Stamp], ChangeOutcome]
#: Raises where a version must not become production, such as `Conflict` when its files are gone.
Check = Callable[[RegistryEntry], None]


def earlier(moves: Sequence[ChangeRecord]) -> tuple[str, ...]:
    """The versions that rollbacks return to, the next one last.

    An activation adds the version that it replaced; a rollback takes one away; an undo leaves what was
    before the change that it takes back.
    """
    versions: tuple[str, ...] = ()
    at: dict[int, tuple[str, ...]] = {}
    for move in moves:
        at[move.number] = versions
        if move.action is Action.ROLLBACK:
            versions = versions[:-1]
        elif move.action is Action.UNDO:
            versions = at.get(move.undoes or 0, versions)
        elif move.before is not None:
            versions = (*versions, move.before)[-MOST_EARLIER:]
    return versions


def rollback_target(record: ModelRecord) -> RegistryEntry:
    """The version that a rollback makes production; raises `Conflict` with the reason when there is none."""
    record.check_registered()
    versions = earlier(record.moves)
    if not versions:
        raise Conflict(f"no version of {record.name} was production before: activate one by its version")
    version = versions[-1]
    entry = record.entries.get(version)
    if entry is None:
        raise Conflict(f"{record.name}:{version} was production before, but is no longer registered")
    if entry.status in (Status.ARCHIVED, Status.REJECTED):
        raise Conflict(
            f"{record.name}:{version} was production before, but is {entry.status}: activate another version"
        )
    return entry


def register(entry: RegistryEntry, *, once: bool = False) -> Change:
    """Add a version as `staging`. Raises `Conflict` when the model has too many versions.

    A version that is registered already raises `AlreadyRegistered`, or with `once` stays as it is.
    """

    def change(record: ModelRecord, stamp: Stamp) -> ChangeOutcome:
        _expect_production(record, stamp)
        if entry.version in record.entries:
            if once:
                return ChangeOutcome(record, record.entries[entry.version])
            raise AlreadyRegistered(f"{entry.model_name}:{entry.version} is already registered")
        if len(record.entries) >= MOST_VERSIONS:
            raise Conflict(f"{record.name} has {MOST_VERSIONS} versions, the maximum")
        new = entry.with_(creation_timestamp=stamp.time)
        noted = _note(
            stamp, Action.REGISTER, record, version=new.version, status=new.status, after_digest=new.digest
        )
        return ChangeOutcome(record.changed(new), new, noted)

    return change


def take_in(entry: RegistryEntry) -> Change:
    """Register a version with its description, without its status and aliases.

    A version that is registered without any description, as the service does it, is described. Raises
    `AlreadyRegistered` for any other.
    """

    def change(record: ModelRecord, stamp: Stamp) -> ChangeOutcome:
        known = record.entries.get(entry.version)
        if known is None or known.is_described:
            return register(entry.with_(status=Status.STAGING, aliases=()))(record, stamp)
        fields = {"metadata": entry.metadata, "tags": entry.tags, "digest": entry.digest}
        return describe(entry.version, fields)(record, stamp)

    return change


def activate(version: str, check: Check | None = None) -> Change:
    """Make a version production; what was production becomes staging. Raises `Conflict` if it is rejected."""

    def change(record: ModelRecord, stamp: Stamp) -> ChangeOutcome:
        entry = record.entry(version)
        _expect_production(record, stamp)
        if entry.status is Status.REJECTED:
            raise Conflict(f"{record.name}:{version} is rejected; stage it first if that is over")
        return _promote(record, stamp, Action.ACTIVATE, entry, check)

    return change


def rollback(check: Check | None = None) -> Change:
    """Make the version production that was so before. Raises `Conflict` where there is none."""

    def change(record: ModelRecord, stamp: Stamp) -> ChangeOutcome:
        _expect_production(record, stamp)
        return _promote(record, stamp, Action.ROLLBACK, rollback_target(record), check)

    return change


def undo(number: int) -> Change:
    """Take the last change of production back, which has this number: all is as it was before it.

    Raises `Conflict` when production was moved since, or the version before is gone.
    """

    def change(record: ModelRecord, stamp: Stamp) -> ChangeOutcome:
        record.check_registered()
        last = record.moves[-1] if record.moves else None
        if last is None or last.number != number:
            raise Conflict(
                f"production of {record.name} was changed since change {number}; nothing was changed"
            )
        return _undone(record, stamp, last)

    return change


def _undone(record: ModelRecord, stamp: Stamp, last: ChangeRecord) -> ChangeOutcome:
    now = record.production
    entries = [now.with_(status=last.was or Status.STAGING)] if now else []
    back = record.entry(last.before) if last.before else None
    if back:
        entries.append(back.with_(status=Status.PRODUCTION))
    after = record.changed(*entries)
    noted = _moved(stamp, Action.UNDO, record, after, back or now, undoes=last.number)
    about = entries[-1] if entries else next(iter(record.entries.values()))
    return ChangeOutcome(replace(after, moves=(*record.moves, noted)), about, noted)


def archive(version: str) -> Change:
    """Put a version away; raises `Conflict` for the production version."""
    return _set_status(version, Status.ARCHIVED, Action.ARCHIVE)


def reject(version: str) -> Change:
    """Mark a version as unfit; raises `Conflict` for the production version."""
    return _set_status(version, Status.REJECTED, Action.REJECT)


def stage(version: str) -> Change:
    """Bring an archived or rejected version back; raises `Conflict` for the production version."""
    return _set_status(version, Status.STAGING, Action.STAGE)


def _set_status(version: str, status: Status, action: Action) -> Change:
    def change(record: ModelRecord, stamp: Stamp) -> ChangeOutcome:
        entry = record.entry(version)
        _expect_production(record, stamp)
        if entry.status is Status.PRODUCTION:
            raise Conflict(
                f"{record.name}:{version} is production; activate another version before it becomes {status}"
            )
        if entry.status is status:
            return ChangeOutcome(record, entry)
        new = entry.with_(status=status)
        noted = _note(stamp, action, record, version=version, was=entry.status, status=status)
        return ChangeOutcome(record.changed(new), new, noted)

    return change


def set_alias(alias: str, version: str) -> Change:
    """Let an alias mean a version, and no other any more."""

    def change(record: ModelRecord, stamp: Stamp) -> ChangeOutcome:
        entry, old = record.entry(version), record.alias(alias)
        _expect(record, stamp, old, f"alias {alias}")
        if old is entry:
            return ChangeOutcome(record, entry)
        if len(entry.aliases) >= MOST_ALIASES:
            raise Conflict(f"{record.name}:{version} has {MOST_ALIASES} aliases, the maximum")
        new = entry.with_(aliases=(*entry.aliases, alias))
        exchanged = [*([_without(old, alias)] if old else []), new]
        noted = _pointed(stamp, Action.SET_ALIAS, record.name, old, new, alias=alias)
        return ChangeOutcome(record.changed(*exchanged), new, noted)

    return change


def delete_alias(alias: str) -> Change:
    """Let an alias mean nothing; raises `AliasNotFound`."""

    def change(record: ModelRecord, stamp: Stamp) -> ChangeOutcome:
        record.check_registered()
        old = record.alias(alias)
        _expect(record, stamp, old, f"alias {alias}")
        if old is None:
            raise AliasNotFound(f"{record.name} has no alias {alias}")
        new = _without(old, alias)
        noted = _pointed(stamp, Action.DELETE_ALIAS, record.name, old, None, alias=alias)
        return ChangeOutcome(record.changed(new), new, noted)

    return change


def describe(version: str, fields: Mapping[str, object]) -> Change:
    """Exchange `metadata`, `tags` or `digest`, whose values are valid already."""

    def change(record: ModelRecord, stamp: Stamp) -> ChangeOutcome:
        entry = record.entry(version)
        _expect_production(record, stamp)
        new = entry.with_(**fields)
        if new == entry:
            return ChangeOutcome(record, entry)
        return ChangeOutcome(record.changed(new), new, _note(stamp, Action.DESCRIBE, record, version=version))

    return change


def take_in_edit(record: ModelRecord, stamp: Stamp) -> ChangeOutcome | None:
    """Note that production was moved past the registry, by an edit of its file; None where it was not."""
    noted = record.moves[-1].after if record.moves else None
    now = record.production
    if noted == (now.version if now else None):
        return None
    before = record.entries.get(noted) if noted else None
    change = _pointed(stamp, Action.FILE_EDIT, record.name, before, now)
    change = change.model_copy(update={"before": noted})
    entry = now or before or next(iter(record.entries.values()))
    return ChangeOutcome(replace(record, moves=(*record.moves, change)), entry, change)


def _promote(
    record: ModelRecord, stamp: Stamp, action: Action, entry: RegistryEntry, check: Check | None
) -> ChangeOutcome:
    if entry.status is Status.PRODUCTION:
        return ChangeOutcome(record, entry)
    if check:
        check(entry)
    old, new = record.production, entry.with_(status=Status.PRODUCTION)
    demoted = [old.with_(status=Status.STAGING)] if old else []
    after = record.changed(*demoted, new)
    noted = _moved(stamp, action, record, after, entry)
    return ChangeOutcome(replace(after, moves=(*record.moves, noted)), new, noted)


def _moved(
    stamp: Stamp,
    action: Action,
    before: ModelRecord,
    after: ModelRecord,
    about: RegistryEntry | None,
    **fields: Any,
) -> ChangeRecord:
    """A change of production; `about` is the version as it was before, whose status is noted."""
    status = after.entries[about.version].status if about else None
    return _pointed(
        stamp,
        action,
        before.name,
        before.production,
        after.production,
        version=about.version if about else None,
        was=about.status if about else None,
        status=status,
        **fields,
    )


def _pointed(
    stamp: Stamp,
    action: Action,
    name: str,
    old: RegistryEntry | None,
    new: RegistryEntry | None,
    **fields: Any,
) -> ChangeRecord:
    """A change of what production or an alias means."""
    about = new or old
    return ChangeRecord(
        number=stamp.number,
        time=stamp.time,
        action=action,
        model_name=name,
        actor=stamp.by.actor,
        reason=stamp.by.reason,
        before=old.version if old else None,
        after=new.version if new else None,
        **{
            "version": about.version if about else None,
            "before_digest": old.digest if old else None,
            "after_digest": new.digest if new else None,
            **fields,
        },
    )


def _note(stamp: Stamp, action: Action, record: ModelRecord, **fields: Any) -> ChangeRecord:
    """A change that moves neither production nor an alias."""
    return _pointed(stamp, action, record.name, None, None, **fields)


def _without(entry: RegistryEntry, alias: str) -> RegistryEntry:
    return entry.with_(aliases=tuple(one for one in entry.aliases if one != alias))


def _expect_production(record: ModelRecord, stamp: Stamp) -> None:
    _expect(record, stamp, record.production, "production")


def _expect(record: ModelRecord, stamp: Stamp, current: RegistryEntry | None, pointer: str) -> None:
    expected = stamp.by.expected_current
    if expected is not None and (current is None or current.version != expected):
        meaning = current.version if current else "no version"
        raise Conflict(f"{pointer} of {record.name} is {meaning}, not {expected}; nothing was changed")
