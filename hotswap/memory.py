"""Giving freed memory back to the machine."""

from __future__ import annotations

import ctypes
import gc


def release() -> None:
    """Collect what is unreachable and return free heap pages to the system, where libc can."""
    gc.collect()
    trim()


def trim() -> None:
    """Return free heap pages to the system, where libc can; other threads run on meanwhile."""
    malloc_trim = getattr(_libc(), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except OSError:  # pragma: no cover - a system without a C library to ask
        return None
