"""The files that a worker's figures lie in: room is reserved for them, what lived only with it is swept."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import mmap_dict, multiprocess, values
from prometheus_client.mmap_dict import MmapedDict

from common.processes import alive

logger = logging.getLogger("bentoml.okawari.metrics")

#: Bytes of one file of figures, enough for every label that may come; and how many a worker has.
FILE_BYTES, _FILES = 1_048_576, 5


class Reserved(mmap_dict.MmapedDict):
    """A file of figures whose bytes are reserved on the disk before they are mapped.

    The library maps a sparse file; touching a page of it on a full disk would end the process.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode:
            _reserve(Path(filename))
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]


def _reserve(file: Path) -> None:
    """Make the file if absent, whole: an empty one, met by who reads all figures, cannot be read."""
    made = file if file.exists() else file.with_name(f".{file.name}")
    handle = os.open(made, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(handle, 0, FILE_BYTES)
        made.replace(file)
    except OSError:
        if made != file:
            made.unlink()
        raise
    finally:
        os.close(handle)


def share(folder: Path) -> bool:
    """Keep figures in files that all workers and later ones read; False where the disk has no room.

    The library asks once who this process is, not at every count: it never forks.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return False
    pid = os.getpid()
    if not _has_room(folder / f".room-{pid}"):
        values.ValueClass = values.MutexValue
        return False
    vars(values)["MmapedDict"] = Reserved
    values.ValueClass = values.MultiProcessValue(lambda: pid)  # type: ignore[no-untyped-call]
    return True


def _has_room(trial: Path) -> bool:
    """Whether the disk takes all files of one worker."""
    try:
        handle = os.open(trial, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.posix_fallocate(handle, 0, FILE_BYTES * _FILES)
        finally:
            os.close(handle)
            trial.unlink()
    except OSError as error:
        logger.warning("no room for shared figures, this worker shows its own alone: %s", error)
        return False
    return True


def sweep(folder: Path) -> None:
    """Forget the live gauges of workers that have died; nobody else does."""
    for pid in _pids(folder.glob("gauge_live*.db")):
        if not alive(pid):
            multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _pids(files: Iterable[Path]) -> set[int]:
    words = {file.stem.rpartition("_")[2] for file in files}
    return {int(word) for word in words if word.isdecimal()}


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
