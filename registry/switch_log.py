"""Which version answered when: one JSON line for each switch of a service, appended."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from common.files import locked, write_atomically
from registry.entries import Switch

#: A longer log loses the older half.
MOST_SWITCHES = 20_000


def last_of_each_service(switches: Iterable[Switch]) -> tuple[Switch, ...]:
    """Of switches in the order of their time, the last one of each service."""
    return tuple({switch.service: switch for switch in switches}.values())


class SwitchLog:
    """A file of switches, shared by all processes. A line cut by a crash is dropped."""

    def __init__(self, path: Path, lock: Path) -> None:
        self._path = path
        self._lock = lock

    def add(self, switch: Switch) -> None:
        """Append a switch, unless the same service noted that number of the model before."""
        with locked(self._lock):
            known = self._read()
            if any(_key(one) == _key(switch) for one in known):
                return
            if len(known) >= MOST_SWITCHES or not self._ends_with_a_line():
                kept = known[-MOST_SWITCHES // 2 :]
                write_atomically(self._path, b"".join(map(_line, [*kept, switch])))
            else:
                self._append(_line(switch))

    def at(self, name: str, time: datetime) -> tuple[Switch, ...]:
        """The last switch of the model in each service at or before a time."""
        fitting = (one for one in self._read() if one.model_name == name and one.time <= time)
        return last_of_each_service(sorted(fitting, key=lambda one: one.time))

    def _read(self) -> list[Switch]:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [switch for line in lines if (switch := _parsed(line))]

    def _ends_with_a_line(self) -> bool:
        if not self._path.exists() or not self._path.stat().st_size:
            return True
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def _append(self, line: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _key(switch: Switch) -> tuple[str, str, int]:
    return switch.service, switch.model_name, switch.number


def _line(switch: Switch) -> bytes:
    return switch.model_dump_json(exclude_none=True).encode() + b"\n"


def _parsed(line: bytes) -> Switch | None:
    try:
        return Switch.model_validate_json(line)
    except ValidationError:
        return None
