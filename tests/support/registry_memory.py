"""The model registry in memory: the twin of its stores, for one process and for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from registry.entries import By, ChangeRecord, RegistryEntry, Status, Switch
from registry.model_record import Change, ChangeOutcome, ModelRecord, Stamp
from registry.record_store import Pointers
from registry.registry_document import RegistryDocument
from registry.switches import last_of_each_service


class RegistryMemory:
    """Forgets everything when its process ends; in all else it keeps the promises of `RecordStore`."""

    def __init__(self) -> None:
        self._document = RegistryDocument()
        self._switches: dict[tuple[str, str, int], Switch] = {}
        self._lock = threading.Lock()

    def change(self, name: str, change: Change, by: By) -> ChangeOutcome:
        return self.change_each([(name, change)], by)[0]

    def change_each(self, changes: Sequence[tuple[str, Change]], by: By) -> list[ChangeOutcome]:
        with self._lock:
            document, outcomes = self._document, list[ChangeOutcome]()
            for name, change in changes:
                record = document.records.get(name) or ModelRecord(name, {})
                outcome = change(record, Stamp(document.next_number, datetime.now(UTC), by))
                if outcome.change is not None:
                    document = document.with_record(outcome.record, outcome.change)
                outcomes.append(outcome)
            self._document = document
            return outcomes

    def record(self, name: str) -> ModelRecord:
        return self._document.records.get(name) or ModelRecord(name, {})

    def entries(self, name: str | None, status: Status | None, alias: str | None) -> Iterable[RegistryEntry]:
        all_entries = (one for record in self._document.records.values() for one in record.entries.values())
        return (
            one
            for one in all_entries
            if name in (None, one.model_name)
            and status in (None, one.status)
            and (alias is None or alias in one.aliases)
        )

    def history(self, name: str, before: int | None, limit: int) -> tuple[ChangeRecord, ...]:
        newest = (one for one in reversed(self._document.history) if one.model_name == name)
        return tuple(one for one in newest if before is None or one.number < before)[:limit]

    def pointers(self) -> Pointers:
        return Pointers(str(self._document.next_number), self._document.pointers())

    def record_switch(self, switch: Switch) -> None:
        self._switches.setdefault((switch.service, switch.model_name, switch.number), switch)

    def switches_at(self, name: str, time: datetime) -> tuple[Switch, ...]:
        fitting = (one for one in self._switches.values() if one.model_name == name and one.time <= time)
        return last_of_each_service(sorted(fitting, key=lambda one: one.time))

    def close(self) -> None:
        pass
