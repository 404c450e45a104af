"""Progress bars of imports, downloads and predictions; on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from cli.output import note
from models_import.progress import ImportProgress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: The steps that may take long, and their labels.
_LABELS = {
    "download": "downloading",
    "open": "unpacking",
    "copy": "copying",
    "try": "testing the model",
    "compile": "compiling its graphs",
    "sync": "writing to disk",
}


class TerminalReport(ImportProgress):
    """A progress bar per version on a terminal; elsewhere only the notes on waiting."""

    def __init__(self) -> None:
        self._progress: Progress | None = _bar() if sys.stderr.isatty() else None
        self._task: TaskID | None = None

    def __enter__(self) -> TerminalReport:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def waiting(self, what: str) -> None:
        note(f"waiting for {what}")

    def step(self, name: str) -> None:
        if self._progress is None or name not in _LABELS:
            return
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(_LABELS[name], total=None)

    def progress(self, done: int, total: int) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TransferSpeedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def counted(what: str, total: int, *, shown: bool = True) -> Iterator[Callable[[], None]]:
    """A progress bar; each call of the yielded function advances it by one. No bar without a terminal."""
    if not (shown and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


@contextmanager
def share_bar(what: str) -> Iterator[Callable[[float, str], None]]:
    """A progress bar; each call of the yielded function says which share is done, and what there is to see.

    No bar without a terminal.
    """
    if not sys.stderr.isatty():
        yield lambda _share, _text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda share, text: progress.update(task, completed=share, description=f"{what}: {text}")
