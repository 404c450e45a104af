"""The files that a worker's figures lie in: room is reserved for them, what lived only with it is swept."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import mmap_dict, multiprocess, values

from registry.run_folder import alive

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
