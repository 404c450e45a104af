"""A world with a data plane, and requests to it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np

from hotswap.admission import Admission
from hotswap.dataplane import DataPlane
from hotswap.predictions import Answer, TensorRequest
from hotswap.threads import InferencePool
from tests.hotswap.fakes import PATIENCE, Hold
from tests.hotswap.world import World, asked


class Served(World):
    """A world with a data plane; the reconciler still moves only when told."""

    def __init__(self, *tags: str, capacity: int = 4, threads: int = 1, **more: Any) -> None:
        super().__init__(*tags, **more)
        self.hold = Hold()
        self.loader.holds["held"] = self.hold
        self.pool = InferencePool(threads)
        self.admission = Admission(capacity)
        self.plane = DataPlane(self.reconciler.view, self.reconciler.schedule, self.admission, self.pool)

    def ask(self, version: str | None = None, seconds: float = 30.0) -> asyncio.Task[Answer]:
        """A request under way."""
        return asyncio.create_task(self.plane.predict(asked("m", version, seconds)))

    async def held(self) -> asyncio.Task[Answer]:
        """A request that stands still in its thread."""
        task = self.ask()
        await asyncio.to_thread(self.hold.reached)
        return task

    async def end(self) -> None:
        """Let everything end; nothing may be left behind or have been misused."""
        self.hold.let_go()
        assert await asyncio.to_thread(self.pool.close, PATIENCE)
        assert (self.admission.inside, self.loader.misused) == (0, [])


def tensors(rows: int = 2, **more: Any) -> TensorRequest:
    """A request for the graph itself."""
    inputs = {"x": np.zeros((rows, 2), np.float32)}
    deadline = time.monotonic() + more.pop("seconds", 30.0)
    return TensorRequest(request_id="r", inputs=inputs, deadline=deadline, model="m", **more)
