"""The thread that turns a reconciler."""

from __future__ import annotations

import threading

from hotswap.reconciler import Reconciler


class ReconcilerThread:
    """Turns a reconciler: a look at least every `interval` seconds, and whenever it is woken."""

    def __init__(self, reconciler: Reconciler, interval: float) -> None:
        self._reconciler = reconciler
        self._interval = interval
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._turn, name="okawari-reconciler", daemon=True)

    def start(self) -> None:
        """Begin with a look at once."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End after the look that is under way."""
        self._ending.set()
        self._reconciler.wake()
        self._thread.join(timeout)

    def _turn(self) -> None:
        while not self._ending.is_set():
            self._reconciler.step()
            self._reconciler.wait(self._interval)
