"""Waiting for what should become true, with a bound and without fixed pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.e2e.sizes import SOON

T = TypeVar("T")

_PAUSE = 0.02


def until(check: Callable[[], T], what: str, seconds: float = SOON) -> T:
    """Ask `check` again and again until it gives something true; return that."""
    end = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {found!r}")
        time.sleep(_PAUSE)
    return found
