"""The parts of the routes for devices: one object for a worker, built when it is first needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from api.detector import Detector
from api.device_auth import DeviceAuth
from hotswap.admission import Admission
from hotswap.errors import Overloaded


class Rates(Protocol):
    """Bounds how much one device hands in."""

    def take(self, device: str, count: int = 1) -> None:
        """Count so many pictures. Raises `Overloaded` with `retry_after`, in seconds."""
        ...


class BatchPlaces:
    """Bounds the batches that are on disk at once, and those of one device to one. For the event loop."""

    def __init__(self, capacity: int) -> None:
        self._admission = Admission(capacity)
        self._devices: set[str] = set()

    @contextmanager
    def taken(self, device: str | None) -> Iterator[None]:
        """Hold a place for a batch of a device (None: it has said no name yet). Raises `Overloaded`."""
        if device in self._devices:
            raise Overloaded(f"a batch of {device} is being handled; send the next one after its answer")
        permit = self._admission.enter()
        names = set() if device is None else {device}
        self._devices |= names
        try:
            yield
        finally:
            self._devices -= names
            permit.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionParts:
    """The parts of the routes for devices. Sizes in bytes, times in seconds.

    `batch_places` bounds the batches on disk; while `batch` is entered nobody else commits the pictures of
    one, which `commit` does. `ending`: the service takes no new work. `spool` is the folder of batches that
    arrive.
    """

    auth: DeviceAuth
    rates: Rates
    detector: Detector
    batch: Callable[[], AbstractContextManager[None]]
    commit: Callable[[Sequence[UUID]], object]
    check_room: Callable[[], None]
    batch_places: BatchPlaces
    ending: Callable[[], bool]
    not_ready: Callable[[], str | None]
    metrics: Callable[[], bytes]
    spool: Path
    max_picture_bytes: int
    max_batch: int
    batch_timeout: float
    batches: bool = True


#: The parts; the first call opens database and picture store. Raises `StateUnavailable` of some kind.
GetDetection = Callable[[], Awaitable[DetectionParts]]
