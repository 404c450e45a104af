"""What a worker reports in the run folder, for the command line and for callers that wait for a reload."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Any

from hotswap import status
from hotswap.schedule import Schedule
from hotswap.version_status import AVAILABLE
from workers.run_folder import RunFolder


class WorkerStatus:
    """Keeps this worker's file in the run folder true."""

    def __init__(
        self, view: status.StateView, schedule: Schedule, run: RunFolder, listener: socket.socket | None
    ) -> None:
        self._view = view
        self._schedule = schedule
        self._run = run
        self._fixed = {"pid": os.getpid(), "started": time.time(), **_address(listener)}
        self._reload_seen = self._reload_pending = run.reload_asked()
        self._written: dict[str, Any] = {}

    def write(self) -> None:
        """Called after every look: write what has changed, pass on who asked for another look."""
        self._reload_seen = self._reload_pending
        state = {**self._fixed, **self._state()}
        if state != self._written:
            with suppress(OSError):  # a full disk must not end the looking; it is written next time
                self._run.write_worker(state)
                self._written = state
        asked = self._run.reload_asked()
        if asked > self._reload_pending:
            self._reload_pending = asked
            self._schedule.retry()

    def add(self, **more: Any) -> None:
        """Something else that holds from now on; it is written after the next look."""
        self._fixed = {**self._fixed, **more}

    def remove(self) -> None:
        """The worker has ended."""
        self._run.remove_worker(os.getpid())

    def _state(self) -> dict[str, Any]:
        return {
            "ready": self._view.ready(),
            "reload_seen": self._reload_seen,
            "models": {
                each.name: {**_model(each), "away": self._view.version_to_bring(each.name)}
                for each in self._view.models()
            },
        }


def _model(found: status.ModelStatus) -> dict[str, Any]:
    return {
        "target": found.target,
        "serving": found.serving,
        "generation": found.generation,
        "revision": found.revision,
        "generations": [
            {
                "version": each.version,
                "state": each.state,
                "digest": each.digest,
                "reason": each.reason,
                "device": each.device,
                "device_reason": each.device_reason,
            }
            for each in found.versions
            if each.state != AVAILABLE
        ],
    }


def _address(listener: socket.socket | None) -> dict[str, Any]:
    if listener is None or not isinstance(listener.getsockname(), tuple):
        return {"host": None, "port": None}
    host, port = listener.getsockname()[:2]
    return {"host": host, "port": port}
