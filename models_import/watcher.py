"""File events wake whoever looks. They are a hint: the next look would come without them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

#: How long a folder that is missing or was exchanged goes unwatched, at most.
_RECHECK_MS = 2000
_GATHER_MS = 50

_Identity = tuple[tuple[Path, int, int], ...]


class Watcher:
    """Calls `wake` soon after something changes below `paths`, from a thread of its own.

    Folders may be missing, unreadable, removed or exchanged at any time. Nothing is promised where the
    file system tells no events (network shares, some container mounts).

    `paths` may be asked for, again and again. With `recursive` false only they themselves are watched;
    else links in them are followed, wherever they lead.
    """

    def __init__(
        self,
        paths: Iterable[Path] | Callable[[], Iterable[Path]],
        wake: Callable[[], None],
        *,
        recursive: bool = True,
    ) -> None:
        if callable(paths):
            self._paths = paths
        else:
            fixed = tuple(paths)
            self._paths = lambda: fixed
        self._recursive = recursive
        self._wake = wake
        self._known: _Identity = ()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="okawari-watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._known = self._there()
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread; harmless before `start` and when called twice."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._turn()
            except Exception:  # noqa: BLE001 - a hint that fails is no hint; the next look comes anyway
                self._ending.wait(_RECHECK_MS / 1000)

    def _turn(self) -> None:
        there = self._there()
        if there != self._known:
            self._known = there
            self._wake()  # something came or went while nobody watched
        self._watch(there)

    def _watch(self, there: _Identity) -> None:
        """Tell of changes until the folders are others than when it began."""
        import watchfiles

        if not there:
            self._ending.wait(_RECHECK_MS / 1000)
            return
        for changes in watchfiles.watch(
            *(path for path, _, _ in there),
            watch_filter=None,
            debounce=_GATHER_MS,
            step=_GATHER_MS // 2,
            stop_event=self._ending,
            rust_timeout=_RECHECK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=self._recursive,
            ignore_permission_denied=True,
        ):
            if changes:
                self._wake()
            if self._there() != there:
                return

    def _there(self) -> _Identity:
        """The folders that are there, each with what tells it from another of the same name."""
        return tuple(found for path in self._paths() if (found := _identity(path)) is not None)


def _identity(path: Path) -> tuple[Path, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return path, status.st_dev, status.st_ino
