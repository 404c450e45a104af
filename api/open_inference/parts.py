"""The parts that a wire of the Open Inference Protocol uses."""

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
    """Run `work` in a thread outside the inference pool. Raises `DeadlineExceeded` at the deadline.

    It takes no admission: it is for the end of a request that was admitted.
    """
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await asyncio.to_thread(work)
    except TimeoutError:
        raise DeadlineExceeded("the answer could not be encoded before the request's deadline") from None


@dataclass(frozen=True, slots=True)
class ProtocolParts:
    """The protocol on the core, for every wire.

    `recorder` records the outcome of each infer request. `check_room` raises `Overloaded` before a body is
    read; `not_ready` returns why a required model is not serving, None when all are.
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
        """See `DataPlane.aside`."""
        return await self.data_plane.aside(work, deadline)
