"""What a wire of the Open Inference Protocol calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from api.open_inference.inference import Inference
from api.open_inference.metadata import Models
from api.open_inference.repository import Repository
from api.open_inference.statistics import Statistics
from hotswap.dataplane import DataPlane
from hotswap.errors import DeadlineExceeded
from hotswap.events import Recorder

T = TypeVar("T")


async def in_time(work: Callable[[], T], deadline: float) -> T:
    """Do something long in a thread that runs no models; raise `DeadlineExceeded` when it takes too long.

    It asks for no place: for what a request does at its end, when it has had one.
    """
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await asyncio.to_thread(work)
    except TimeoutError:
        raise DeadlineExceeded("the answer was not written within the request's time") from None


@dataclass(frozen=True, slots=True)
class ProtocolParts:
    """The protocol on the core, for every wire.

    `recorder` records the outcome of each infer request. `check_room` raises `Overloaded` before a body is
    read in vain; `not_ready` says why a required model does not serve, None when all do.
    """

    data_plane: DataPlane
    inference: Inference
    models: Models
    repository: Repository
    statistics: Statistics
    recorder: Recorder
    check_room: Callable[[], None]
    not_ready: Callable[[], str | None]
    max_body_bytes: int

    async def aside(self, work: Callable[[], T], deadline: float) -> T:
        """Do something long as `DataPlane.aside` does."""
        return await self.data_plane.aside(work, deadline)
