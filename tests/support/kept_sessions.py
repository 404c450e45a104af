"""Sessions of onnxruntime that tests share: to open a graph of the reference takes longer than to run it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from runners.devices import Provider
from runners.placed_graph import open_session


def kept_session(weights: Path, threads: int, providers: Sequence[Provider]) -> Any:
    """The session of a file that never changes; one of the last few is not opened again."""
    assert not providers, "the reference runs on the CPU"
    return _opened(weights, threads)


@lru_cache(maxsize=6)
def _opened(weights: Path, threads: int) -> Any:
    return open_session(weights, threads, ())
