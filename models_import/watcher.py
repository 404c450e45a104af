"""File events as hints to rescan. Without them the next periodic scan finds the change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

#: The longest time for which a missing or replaced folder stays unwatched.
_RECHECK_MS = 2000
_GATHER_MS = 50

_Identity = tuple[tuple[Path, int, int], ...]


class Watcher:
    """Calls `wake` soon after a change below `paths`, from its own thread.

    Folders may be missing, unreadable, removed or replaced at any time. File systems without events
    (network shares, some container mounts) never wake.

    A callable `paths` is called repeatedly. With `recursive` false only the paths themselves are watched;
    else links in them are followed.
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
        """Start watching."""
        self._known = self._there()
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread; safe before `start` and when called twice."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._turn()
            except Exception:  # noqa: BLE001 - hints may fail; the next periodic scan finds the change
                self._ending.wait(_RECHECK_MS / 1000)

    def _turn(self) -> None:
        there = self._there()
        if there != self._known:
            self._known = there
            self._wake()  # a folder appeared or disappeared between two watches
        self._watch(there)

    def _watch(self, there: _Identity) -> None:
        """Report changes until a folder appears, disappears or is replaced."""
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
        """The existing folders, each with the device and inode that identify it."""
        return tuple(identity for path in self._paths() if (identity := _identity(path)) is not None)


def _identity(path: Path) -> tuple[Path, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return path, status.st_dev, status.st_ino
