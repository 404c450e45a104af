"""Where the model registry keeps its records: the protocol of its stores, and what they hand out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from registry.entries import By, ChangeRecord, RegistryEntry, Status, Switch
from registry.model_record import Change, ChangeOutcome, ModelRecord

#: Maximum records of one answer.
MOST_LISTED = 1_000


@dataclass(frozen=True, slots=True)
class Pointer:
    """What `@production` and each `@alias` of one model mean."""

    production: str | None = None
    aliases: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Pointers:
    """What every pointer means.

    `row_version` differs whenever something may have changed; two of them may only be compared for equality.
    `problem` says why newer content of the registry is not used, such as a wrong edit of its file.
    """

    row_version: str
    models: Mapping[str, Pointer]
    problem: str | None = None


class RecordStore(Protocol):
    """A place for the records, shared by all processes that open it. All raise `RegistryUnavailable`."""

    def change(self, name: str, change: Change, by: By) -> ChangeOutcome:
        """Apply a change to the newest record of a model, as one step with its line in the history.

        No change is lost and none is half made, whoever else changes something or is killed. Whatever
        `change` raises leaves everything as it was.
        """
        ...

    def change_each(self, changes: Sequence[tuple[str, Change]], by: By) -> list[ChangeOutcome]:
        """Apply several changes, each to the record of its model, as one step: all or none."""
        ...

    def record(self, name: str) -> ModelRecord:
        """The record of a model; one without entries where it is not registered."""
        ...

    def entries(self, name: str | None, status: Status | None, alias: str | None) -> Iterable[RegistryEntry]:
        """The entries that fit, in no order."""
        ...

    def history(self, name: str, before: int | None, limit: int) -> tuple[ChangeRecord, ...]:
        """The last changes of a model with numbers below `before`, newest first."""
        ...

    def changes(self, after: int, limit: int) -> tuple[ChangeRecord, ...]:
        """The changes of all models with numbers above `after`, oldest first."""
        ...

    def pointers(self) -> Pointers:
        """What every pointer means now. What it costs does not grow with versions that nothing points at."""
        ...

    def record_switch(self, switch: Switch) -> None:
        """Keep a switch; the first of the same service, model and number counts."""
        ...

    def switches_at(self, name: str, time: datetime) -> tuple[Switch, ...]:
        """The last switch of a model in each service at or before `time`."""
        ...

    def close(self) -> None:
        """Give back what the store holds open."""
        ...
