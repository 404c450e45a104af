"""A long answer that nobody has a thread to write for is late, not waited for without end."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from starlette.requests import Request
from starlette.types import Message

from api import context
from api.context import RequestContext
from api.open_inference.http_routes import QUICK, InferenceRoutes
from api.open_inference.inference import Inference
from hotswap.dataplane import DataPlane
from hotswap.errors import DeadlineExceeded, ServingError
from tests.api.grpc.protocol import recorder_of, service_parts
from tests.api.open_inference.asking import HEADER, binary, joined
from tests.hotswap.world import live

ROWS = QUICK  # each gives a number of four bytes


def asked(rows: int) -> Request:
    """An infer request for that many rows, as it comes from the framework."""
    body, size = joined(binary("x", "FP32", [rows, 1], np.zeros(rows, "<f4").tobytes()))

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    headers = [(HEADER.lower().encode(), str(size).encode())]
    scope = {"type": "http", "method": "POST", "headers": headers, "path_params": {"name": "m"}}
    return Request(scope, receive)


def routes(data_plane: DataPlane, refused: list[ServingError]) -> InferenceRoutes:
    """The routes on that core alone."""
    parts = service_parts(
        data_plane=data_plane,
        inference=Inference(data_plane),
        recorder=recorder_of(lambda _, __, error, ___: refused.append(error)),
        max_body_bytes=10 * QUICK,
    )
    return InferenceRoutes(lambda: parts)


@pytest.mark.slow
@pytest.mark.anyio
async def test_r14_an_answer_that_cannot_be_written_in_time_is_504() -> None:
    threads, busy, refused = ThreadPoolExecutor(1), Event(), list[ServingError]()
    with live("m:v1") as world:
        await world.reconciler.view.wait_until(lambda: world.serving() == "v1", 5.0)
        asyncio.get_running_loop().set_default_executor(threads)
        threads.submit(busy.wait)
        try:
            context.current.set(RequestContext("r", time.monotonic() + 0.5))
            with pytest.raises(DeadlineExceeded, match="encoded"):
                await routes(world.data_plane, refused).infer(asked(ROWS))
            assert [type(each) for each in refused] == [DeadlineExceeded]
        finally:
            busy.set()
        context.current.set(RequestContext("r", time.monotonic() + 5))
        answer = await routes(world.data_plane, refused).infer(asked(ROWS))
        assert (answer.status_code, len(refused)) == (200, 1)
