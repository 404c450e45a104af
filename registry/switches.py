"""Which version answered when: the recorder of switches, and the file of JSON lines that keeps them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from common.files import locked, write_atomically
from hotswap.events import Observer, Swap
from registry.entries import Switch
from registry.errors import RegistryUnavailable
from registry.model_registry import ModelRegistry

#: A longer log loses the older half.
MOST_SWITCHES = 20_000
#: Switches that are kept while the registry is away; older ones are forgotten.
_MOST_WAITING = 1_000
#: Bits for the decisions of one run.
_NUMBERS = 24


def last_of_each_service(switches: Iterable[Switch]) -> tuple[Switch, ...]:
    """Of switches in the order of their time, the last one of each service."""
    return tuple({switch.service: switch for switch in switches}.values())


class SwitchRecorder(Observer):
    """One record for each decision of the service: every worker says it, and the first one counts."""

    def __init__(self, registry: ModelRegistry, service: str, started: int = 0) -> None:
        """`started` tells the runs of a service apart, whose decisions may have the same numbers."""
        self._registry = registry
        self._service = service
        self._run = started << _NUMBERS
        self._waiting: deque[Switch] = deque(maxlen=_MOST_WAITING)
        self._writing = threading.Lock()

    def published(self, swap: Swap) -> None:
        """See `Observer`; `write` brings it into the registry."""
        self._waiting.append(
            Switch(
                model_name=swap.name,
                number=self._run + swap.number,
                version=swap.after,
                digest=swap.digest,
                time=datetime.now(UTC),
                service=self._service,
            )
        )

    @property
    def waiting(self) -> bool:
        """Whether there is something to write."""
        return bool(self._waiting)

    def write(self) -> None:
        """Write what waits, oldest first; what cannot be written waits on."""
        with self._writing:
            while self._waiting:
                try:
                    self._registry.record_switch(self._waiting[0])
                except RegistryUnavailable:
                    return
                self._waiting.popleft()


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
