"""Figures of workers that have ended: what adds up is kept, in one file for all of them."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

from registry.run_folder import alive

_ADDING_UP = ("counter", "histogram")
_ALL = "ended"


@contextmanager
def still(folder: Path) -> Iterator[None]:
    """Nobody else folds or reads meanwhile. The lock is the folder's own: it needs no room on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def fold(folder: Path, make: Callable[[str], MmapedDict]) -> None:
    """Add up the counters of the dead into one file, so that their number costs nothing.

    `make` makes a file of figures. Raises OSError, and has changed nothing, where there is no room for it.
    """
    with still(folder):
        for kind in _ADDING_UP:
            dead = [path for path in folder.glob(f"{kind}_*.db") if _dead(path)]
            if dead:
                _add_up(folder / f"{kind}_{_ALL}.db", dead, make)


def _dead(path: Path) -> bool:
    pid = path.stem.rpartition("_")[2]
    return pid.isdecimal() and not alive(int(pid))


def _add_up(target: Path, dead: list[Path], make: Callable[[str], MmapedDict]) -> None:
    sums: Counter[str] = Counter()
    for path in (*dead, *([target] if target.exists() else [])):
        for key, value, _, _ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
            sums[key] += value
    fresh = target.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    file = make(str(fresh))
    for key, value in sums.items():
        file.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]
    fresh.replace(target)
    for path in dead:
        path.unlink()
