"""What every test may use."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Coroutines run on asyncio, as in the service."""
    return "asyncio"


@pytest.fixture(autouse=True, scope="module")
def small_heap() -> Iterator[None]:
    """Every close of a model collects garbage: what was loaded before need not be searched each time."""
    gc.freeze()
    yield
    gc.unfreeze()
