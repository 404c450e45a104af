"""What tests assert of calls."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

Code = grpc.StatusCode


async def ends(call: Any, code: grpc.StatusCode) -> str:
    """Assert that a call ends with this code; the message."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code, caught.value
    return str(caught.value.details())


async def reached(hold: Any) -> None:
    """Wait until a thread has stopped there."""
    await asyncio.to_thread(hold.reached)
