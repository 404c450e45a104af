"""GPUs as NVIDIA's library (NVML) sees them: how many, and how much of their memory is used.

The library comes with the extra `okawari[gpu]`; without it, or without a driver, there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


def count() -> int:
    """How many GPUs the machine has."""
    with _library() as nvml:
        return int(nvml.nvmlDeviceGetCount()) if nvml is not None else 0


def used_bytes() -> dict[str, int]:
    """Used memory by device, of all processes; a GPU that does not say is left out."""
    used: dict[str, int] = {}
    with _library() as nvml:
        if nvml is not None:
            for number in range(int(nvml.nvmlDeviceGetCount())):
                used |= _used(nvml, number)
    return used


def _used(nvml: Any, number: int) -> dict[str, int]:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(number)
        return {f"cuda:{number}": int(nvml.nvmlDeviceGetMemoryInfo(handle).used)}
    except nvml.NVMLError:
        return {}


@contextmanager
def _library() -> Iterator[Any]:
    """NVML, opened; None where it is not installed or finds no driver."""
    nvml = _installed()
    try:
        if nvml is not None:
            nvml.nvmlInit()
    except nvml.NVMLError:
        nvml = None
    try:
        yield nvml
    finally:
        if nvml is not None:
            nvml.nvmlShutdown()


@cache
def _installed() -> Any:
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml
