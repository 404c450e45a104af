"""Progress of an import, and its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models_import.importer import Imported


class ImportProgress:
    """Callbacks of an import, all without effect. A subclass overrides those that it shows."""

    def waiting(self, what: str) -> None:
        """The import waits for `what`, which another process holds."""

    def step(self, name: str) -> None:
        """The step `name` begins."""

    def progress(self, done: int, total: int) -> None:
        """`done` of `total` bytes of the current step are done."""


SILENT = ImportProgress()


def summary(imported: Imported) -> str:
    """The outcome of an import in one line."""
    line = f"{imported.outcome} {imported.tag} {imported.digest.removeprefix('sha256:')[:12]}"
    if imported.latest == imported.tag.version:
        return f"{line}; it is latest"
    return f"{line}; latest is {imported.latest}, which was created later"
