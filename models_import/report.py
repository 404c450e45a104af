"""What a long piece of work tells whoever waits for it."""

from __future__ import annotations


class Report:
    """Says nothing. The command line overrides what it wants to show."""

    def waiting(self, what: str) -> None:
        """Another process holds what is needed; we wait for it."""

    def step(self, name: str) -> None:
        """A step begins."""

    def progress(self, done: int, total: int) -> None:
        """So many of so many bytes of the current step are done."""


SILENT = Report()
