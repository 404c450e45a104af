"""What a long piece of work tells whoever waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models_import.importer import Imported


class ImportProgress:
    """Says nothing. The command line overrides what it wants to show."""

    def waiting(self, what: str) -> None:
        """Another process holds what is needed; we wait for it."""

    def step(self, name: str) -> None:
        """A step begins."""

    def progress(self, done: int, total: int) -> None:
        """So many of so many bytes of the current step are done."""


SILENT = ImportProgress()


def told(done: Imported) -> str:
    """What became of a version, in one line."""
    line = f"{done.outcome} {done.tag} {done.digest.removeprefix('sha256:')[:12]}"
    if done.latest == done.tag.version:
        return f"{line}; it is latest"
    return f"{line}; latest is {done.latest}, which was created later"
