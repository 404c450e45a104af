"""Sessions with threads of their own are opened where those threads get the priority that requests have."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from runners.devices import Provider
from runners.placed_graph import OpenSession


class SessionOpener:
    """Opens sessions of several threads in one lasting thread, which has the priority of who makes this.

    onnxruntime starts the threads of a session while it is opened. They inherit the niceness of whoever
    opens it, and keep it: opened by the loader's thread, of low priority, they would run every request with
    that priority. Nobody without privileges can raise it again.
    """

    def __init__(self, open_session: OpenSession) -> None:
        self._open = open_session
        self._thread = ThreadPoolExecutor(1, "okawari-opener")
        # The executor starts its thread at the first call: from here, not from the loader's thread.
        self._thread.submit(int).result()

    def __call__(self, weights: Path, threads: int, providers: Sequence[Provider]) -> Any:
        """Open a session; raise whatever that raises."""
        if threads == 1:
            return self._open(weights, threads, providers)
        return self._thread.submit(self._open, weights, threads, providers).result()
