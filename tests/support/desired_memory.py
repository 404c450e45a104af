"""The desired state in memory: the twin of the JSON file, for one process and for tests."""

from __future__ import annotations

import threading

from hotswap.desired import DesiredState, Edit, edited


class DesiredMemory:
    """Forgets everything when its process ends; in all else it keeps the promises of `DesiredStore`."""

    def __init__(self, document: DesiredState | None = None) -> None:
        self._document = document or DesiredState()
        self._lock = threading.Lock()

    def read(self) -> DesiredState:
        """The document as it is now."""
        return self._document

    def edit(self, change: Edit) -> DesiredState:
        """Apply `change` to the newest document as one step; see `DesiredStore.edit`."""
        with self._lock:
            self._document = edited(self._document, change)
            return self._document
