"""Coroutines that wait for something to become true of a reconciler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from hotswap.reconciler import Reconciler


class Changes:
    """Lets coroutines wait for the reconciler's next step."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._waiters: set[Callable[[], None]] = set()
        reconciler.on_step.append(self._tell)

    def _tell(self) -> None:
        for wake in tuple(self._waiters):
            with suppress(RuntimeError):  # the loop ended while we told it
                wake()

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until `holds()`; False when that takes longer than `seconds`."""
        loop = asyncio.get_running_loop()
        stepped = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(stepped.set)

        self._waiters.add(wake)
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await stepped.wait()
                    stepped.clear()
        except TimeoutError:
            return holds()
        finally:
            self._waiters.discard(wake)
        return True
