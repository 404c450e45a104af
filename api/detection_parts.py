"""The parts of the routes for devices: one object for a worker, built when it is first needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from api.detector import Detector
from api.device_auth import DeviceAuth
from hotswap.admission import Admission


class Rates(Protocol):
    """Bounds how much one device hands in."""

    def take(self, device: str, count: int = 1) -> None:
        """Count so many pictures. Raises `Overloaded` with `retry_after`, in seconds."""
        ...


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
    batch_places: Admission
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
