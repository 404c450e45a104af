"""The model registry: which versions there are, which is production, and who changed that, when and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from manifest.tags import ModelTag, natural_key
from registry import model_record
from registry.entries import (
    By,
    ChangeRecord,
    RegistryEntry,
    Status,
    Switch,
    checked,
    checked_alias,
    checked_name,
    checked_version,
)
from registry.errors import AliasNotFound, InvalidEntry
from registry.model_record import Change, Check, ModelRecord
from registry.record_store import MOST_LISTED, Pointers, RecordStore

_NOBODY = By()
_MOST_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Changed:
    """The entry after a change, and the record of it; `record` is None where nothing had to change."""

    entry: RegistryEntry
    record: ChangeRecord | None


class ModelRegistry:
    """The registry over any store; the same from every process that opens it.

    Versions may be given as 3, "3" or "v3". Raises `InvalidEntry` for a field that is wrong, `ModelNotFound`,
    `VersionNotFound`, `Conflict` (nothing was changed) and `RegistryUnavailable`.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    def register(
        self,
        name: str,
        version: str | int,
        path: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        digest: str | None = None,
        tags: Mapping[str, str] | None = None,
        by: By = _NOBODY,
        just_stored: bool = False,
    ) -> Changed:
        """Add a version as `staging`. Raises `AlreadyRegistered`.

        `just_stored`: a service may have registered it already because it lies in its store, without any
        description; that entry gets this one's.
        """
        entry = checked(
            RegistryEntry,
            "entry",
            model_name=name,
            version=version,
            path=path,
            metadata={} if metadata is None else metadata,
            digest=digest,
            tags=tags or {},
            creation_timestamp=datetime.now(UTC),
        )
        change = model_record.take_in(entry) if just_stored else model_record.register(entry)
        return self._change(name, change, by)

    def register_each(self, versions: Iterable[tuple[ModelTag, str, str | None]], by: By = _NOBODY) -> int:
        """Add versions, given with path and digest, as `staging` in one step; how many were not there yet."""
        now = datetime.now(UTC)
        changes = [
            (
                tag.name,
                model_record.register(
                    checked(
                        RegistryEntry,
                        "entry",
                        model_name=tag.name,
                        version=tag.version,
                        path=path,
                        digest=digest,
                        creation_timestamp=now,
                    ),
                    once=True,
                ),
            )
            for tag, path, digest in versions
        ]
        return sum(outcome.change is not None for outcome in self._store.change_each(changes, by))

    def take_in(self, entry: RegistryEntry, by: By = _NOBODY) -> None:
        """Add an entry of another registry, whole, in one step; a production version becomes `staging`.

        One that is registered without any description is filled in. Raises `AlreadyRegistered` for others.
        """
        changes = [model_record.take_in(entry)]
        changes += [model_record.set_alias(alias, entry.version) for alias in entry.aliases]
        if entry.status is Status.ARCHIVED:
            changes.append(model_record.archive(entry.version))
        elif entry.status is Status.REJECTED:
            changes.append(model_record.reject(entry.version))
        self._store.change_each([(entry.model_name, change) for change in changes], by)

    def activate(
        self, name: str, version: str | int, by: By = _NOBODY, check: Check | None = None
    ) -> Changed:
        """Make a version production; what was production becomes staging, in the same step.

        `check` is asked within that step whether the version can be served, and raises where it cannot.
        """
        return self._change(name, model_record.activate(checked_version(version), check), by)

    def rollback(self, name: str, by: By = _NOBODY, check: Check | None = None) -> Changed:
        """Make the version production that was so before; twice goes two back."""
        return self._change(name, model_record.rollback(check), by)

    def undo(self, name: str, number: int, by: By = _NOBODY) -> Changed:
        """Take back the change of production with this number; `Conflict` when it is not the last one."""
        return self._change(name, model_record.undo(number), by)

    def stage(self, name: str, version: str | int, by: By = _NOBODY) -> Changed:
        """Bring an archived or rejected version back to `staging`."""
        return self._change(name, model_record.stage(checked_version(version)), by)

    def archive(self, name: str, version: str | int, by: By = _NOBODY) -> Changed:
        """Mark a version as put away; `Conflict` for the production version."""
        return self._change(name, model_record.archive(checked_version(version)), by)

    def reject(self, name: str, version: str | int, by: By = _NOBODY) -> Changed:
        """Mark a version as unfit; `Conflict` for the production version."""
        return self._change(name, model_record.reject(checked_version(version)), by)

    def set_alias(self, name: str, alias: str, version: str | int, by: By = _NOBODY) -> Changed:
        """Let an alias mean a version, and no other any more."""
        change = model_record.set_alias(checked_alias(alias), checked_version(version))
        return self._change(name, change, by)

    def delete_alias(self, name: str, alias: str, by: By = _NOBODY) -> Changed:
        """Remove an alias; raises `AliasNotFound`."""
        return self._change(name, model_record.delete_alias(checked_alias(alias)), by)

    def describe(
        self,
        name: str,
        version: str | int,
        *,
        metadata: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        digest: str | None = None,
        by: By = _NOBODY,
    ) -> Changed:
        """Exchange the fields that are given, each as a whole."""
        given = {"metadata": metadata, "tags": tags, "digest": digest}
        fields = {key: value for key, value in given.items() if value is not None}
        text = checked_version(version)
        valid = checked(
            RegistryEntry,
            "entry",
            model_name=name,
            version=text,
            path="-",
            creation_timestamp=datetime.now(UTC),
            **fields,
        )
        new = {key: getattr(valid, key) for key in fields}
        return self._change(name, model_record.describe(text, new), by)

    def list(
        self, name: str | None = None, status: str | None = None, alias: str | None = None
    ) -> tuple[RegistryEntry, ...]:
        """The entries that fit all that is given, by name and version; v2 comes before v10."""
        if status is not None and status not in tuple(Status):
            raise InvalidEntry(f"status: allowed are {', '.join(Status)}, found {status[:80]!r}")
        wanted = Status(status) if status is not None else None
        fitting = self._store.entries(
            None if name is None else checked_name(name),
            wanted,
            None if alias is None else checked_alias(alias),
        )
        return tuple(sorted(fitting, key=lambda one: (one.model_name, natural_key(one.version))))

    def entry(self, name: str, version: str | int) -> RegistryEntry:
        """One entry."""
        return self._record(name).entry(checked_version(version))

    def production(self, name: str) -> RegistryEntry | None:
        """The production version; None where a registered model has none."""
        return self._record(name).production

    def alias(self, name: str, alias: str) -> RegistryEntry:
        """The version that an alias means; raises `AliasNotFound`."""
        entry = self._record(name).alias(checked_alias(alias))
        if entry is None:
            raise AliasNotFound(f"{name} has no alias {alias}")
        return entry

    def rollback_target(self, name: str) -> RegistryEntry:
        """The version that a rollback would make production; `Conflict` where there is none."""
        return model_record.rollback_target(self._record(name))

    def history(self, name: str, before: int | None = None, limit: int = 100) -> tuple[ChangeRecord, ...]:
        """The last changes of a model, newest first; with `before` those with smaller numbers."""
        self._record(name)
        newest = None if before is None else min(max(before, 0), _MOST_NUMBER)
        return self._store.history(name, newest, min(max(limit, 1), MOST_LISTED))

    def changes(self, after: int, limit: int) -> tuple[ChangeRecord, ...]:
        """The changes of all models with numbers above `after`, oldest first, at most `limit`."""
        return self._store.changes(after, limit)

    def pointers(self) -> Pointers:
        """What production and every alias of every model mean; cheap enough to be asked twice a second."""
        return self._store.pointers()

    def record_switch(self, switch: Switch) -> None:
        """Keep from when on a version answered; saying it again does nothing."""
        self._store.record_switch(switch)

    def served_at(self, name: str, time: datetime) -> tuple[Switch, ...]:
        """Which version and digest answered at a time, one switch for each service that knows the model."""
        return self._store.switches_at(checked_name(name), time.astimezone(UTC))

    def close(self) -> None:
        """Give back what the store holds open."""
        self._store.close()

    def _record(self, name: str) -> ModelRecord:
        record = self._store.record(checked_name(name))
        record.check_registered()
        return record

    def _change(self, name: str, change: Change, by: By) -> Changed:
        outcome = self._store.change(checked_name(name), change, by)
        return Changed(outcome.entry, outcome.change)
