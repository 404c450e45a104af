"""Bounded reading of small regular files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hotswap.manifest import BadManifest

#: Bytes of the largest `model.yaml` or `config.json` that is read.
LARGEST = 1_000_000


def read_small(path: Path) -> bytes:
    """The bytes of a small regular file. Raises `BadManifest` for any other; never blocks."""
    text = read_start(path, LARGEST + 1)
    if len(text) > LARGEST:
        raise BadManifest(f"{path.name} is larger than the allowed {LARGEST} bytes")
    return text


def read_start(path: Path, most: int) -> bytes:
    """At most the first `most` bytes of a file; raises `BadManifest` for a pipe, a device or a folder."""
    # Opening a device may have side effects, and a pipe may replace the file after the check.
    _check_file(path, path.stat())
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        _check_file(path, os.fstat(handle))
        return file.read(most)


def _check_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadManifest(f"{path.name} is not a regular file")
