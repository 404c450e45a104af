"""Files are hashed while they are copied, so that what is hashed is what was copied."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from hotswap.manifest import FileEntry

_BLOCK = 1 << 20


def copy_hashed(source: Path, target: Path) -> Iterator[tuple[int, FileEntry | None]]:
    """Copy a file; yield the bytes done block by block, and with the last one what was copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read, target.open("xb") as write:
        while block := read.read(_BLOCK):
            digest.update(block)
            write.write(block)
            size += len(block)
            yield len(block), None
    yield 0, FileEntry(sha256=digest.hexdigest(), size=size)
