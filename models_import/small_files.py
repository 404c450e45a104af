"""Bounded reading of small regular files."""

from __future__ import annotations

import stat
from pathlib import Path

from manifest.version_manifest import BadManifest

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
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadManifest(f"{path.name} is not a regular file")
    with path.open("rb") as file:
        return file.read(most)
