"""Keeps in the registry from when on which version answered."""

from __future__ import annotations

import threading
from collections import deque
from datetime import UTC, datetime

from hotswap.events import Observer, Swap
from registry.entries import Switch
from registry.errors import RegistryUnavailable
from registry.model_registry import ModelRegistry

#: Switches that are kept while the registry is away; older ones are forgotten.
_MOST = 1_000
#: Bits for the decisions of one run.
_NUMBERS = 24


class SwitchRecorder(Observer):
    """One record for each decision of the service: every worker says it, and the first one counts."""

    def __init__(self, registry: ModelRegistry, service: str, started: int = 0) -> None:
        """`started` tells the runs of a service apart, whose decisions may have the same numbers."""
        self._registry = registry
        self._service = service
        self._run = started << _NUMBERS
        self._waiting: deque[Switch] = deque(maxlen=_MOST)
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
