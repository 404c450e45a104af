"""Figures of workers that have ended: what adds up is kept, in one file for all of them.

A kill at any point neither loses nor doubles: the new sums are made beside the old ones, then a list of
what they hold is put down in one step. From then on whoever comes next finishes: the sums take their
place, what is listed is deleted, the list last.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

from registry.run_folder import alive

_ADDING_UP = ("counter", "histogram")
_ALL = "ended"
#: Seconds to wait for others who read or fold, and between two tries.
PATIENCE, _PAUSE = 1.0, 0.01

Make = Callable[[str], MmapedDict]


@contextmanager
def still(folder: Path) -> Iterator[None]:
    """Nobody else folds or reads meanwhile, and no fold is half done; who only reads is told in any case."""
    with _alone(folder) as alone:
        if alone:
            with suppress(OSError):
                _finish_all(folder)
        yield


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether nobody else folds or reads meanwhile: somebody may have been stopped while he did.

    The lock is the folder's own: it needs no room on the disk.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield _locked(handle)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE)
        else:
            return True


def fold(folder: Path, make: Make) -> None:
    """Add up the counters of the dead into one file, so that their number costs nothing.

    `make` makes a file of figures. Raises OSError, and has changed nothing, where there is no room for it, or
    somebody else keeps the folder for himself.
    """
    with _alone(folder) as alone:
        if not alone:
            raise TimeoutError(f"{folder} is kept by another process")
        _finish_all(folder)
        for kind in _ADDING_UP:
            dead = [path for path in folder.glob(f"{kind}_*.db") if _dead(path)]
            if dead:
                _Fold(folder, kind).begin(dead, make)


def _finish_all(folder: Path) -> None:
    for kind in _ADDING_UP:
        _Fold(folder, kind).finish()


def _dead(path: Path) -> bool:
    pid = path.stem.rpartition("_")[2]
    return pid.isdecimal() and not alive(int(pid))


class _Fold:
    """One kind's files: the sums, the sums that are to come, and the list of what those hold."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._sums = folder / f"{kind}_{_ALL}.db"
        self._fresh = self._sums.with_suffix(".new")
        self._list = self._sums.with_suffix(".list")

    def begin(self, dead: list[Path], make: Make) -> None:
        """Fold the figures of the dead."""
        listing = self._list.with_suffix(".list.new")
        try:
            self._add_up((*dead, self._sums), make)
            listing.write_text("\n".join(path.name for path in dead))
            listing.replace(self._list)
        except OSError:
            for left in (listing, self._fresh):
                left.unlink(missing_ok=True)
            raise
        self.finish()

    def finish(self) -> None:
        """Do what is left of a fold whose list is there."""
        try:
            names = self._list.read_text().split("\n")
        except FileNotFoundError:
            return
        with suppress(FileNotFoundError):
            self._fresh.replace(self._sums)
        for name in names:
            self._sums.with_name(name).unlink(missing_ok=True)
        self._list.unlink()

    def _add_up(self, paths: Iterable[Path], make: Make) -> None:
        sums: dict[str, float] = defaultdict(float)
        for path in paths:
            for key, value in _figures(path):
                sums[key] += value
        self._fresh.unlink(missing_ok=True)
        file = make(str(self._fresh))
        for key, value in sums.items():
            file.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
        file.close()  # type: ignore[no-untyped-call]


def _figures(path: Path) -> Iterator[tuple[str, float]]:
    """Keys and values of a file; none of one that is not there, or whose worker died while it made it."""
    if not path.exists() or not path.stat().st_size:
        return
    for key, value, _, _ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
        yield key, value
