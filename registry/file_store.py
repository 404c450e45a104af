"""The desired state as one JSON file, edited under a lock and replaced as a whole."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from common.files import locked, write_atomically
from hotswap.desired import DesiredState, Edit, edited
from hotswap.errors import StateUnavailable


class StateDamaged(StateUnavailable):
    """The state file is not what we wrote; the message says what to do."""


class DesiredFile:
    """`<home>/state/desired.json`. Every process of the home reads and edits the same file."""

    def __init__(self, home: Path) -> None:
        self._path = home / "state" / "desired.json"
        self._lock = home / "state" / "desired.lock"
        self._seen: tuple[bytes, DesiredState] | None = None

    @property
    def path(self) -> Path:
        """The file itself."""
        return self._path

    def read(self) -> DesiredState:
        """The document as it is now; an empty one where there is none. Raises `StateDamaged`."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return DesiredState()
        # Compared by content: inode, time and size may all come again when a file is replaced twice.
        seen = self._seen
        if seen is None or seen[0] != text:
            self._seen = seen = (text, self._parse(text))
        return seen[1]

    def edit(self, change: Edit) -> DesiredState:
        """Apply `change` to the newest document as one step; see `DesiredStore.edit`."""
        with locked(self._lock):
            before = self.read()
            after = edited(before, change)
            if after is not before:
                write_atomically(self._path, after.model_dump_json(indent=1).encode())
        return after

    def _parse(self, text: bytes) -> DesiredState:
        try:
            return DesiredState.model_validate_json(text)
        except ValidationError:
            raise StateDamaged(
                f"{self._path} is damaged; move it away to start from OKAWARI_SERVE again"
            ) from None
