"""External data: the weight files that a graph names, which must lie in its own folder."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from hotswap.errors import VersionFailed

# TensorProto.external_data (field 13) with the pair "location" -> path; the path's length is a varint of
# one or two bytes. Searching for these bytes finds every path without an ONNX library.
_LOCATION = re.compile(rb"\x6a[\x00-\xff]{1,3}?\n\x08location\x12([\x80-\xff]?[\x01-\x7f])")
# A search holds the GIL, so it is cut into steps between which other threads run.
_STEP, _OVERLAP = 1 << 20, 64


def check_external_data(weights: Path) -> None:
    """Raise `VersionFailed` unless all external data of the graph lie in its own folder."""
    folder = weights.parent.resolve()
    for location in external_locations(weights):
        place = folder / location
        if not place.resolve().is_relative_to(folder):
            raise VersionFailed(f"the graph reads weights from outside its folder: {location!r}")
        if not place.is_file():
            raise VersionFailed(f"the graph reads weights from {location!r}, which is missing in its folder")


def leads_out(location: str) -> bool:
    """Whether a path named by a graph may leave the graph's folder."""
    path = PurePosixPath(location)
    return path.is_absolute() or ".." in path.parts or "\0" in location


def external_locations(weights: Path) -> tuple[str, ...]:
    """The external data files of a graph, as it names them, without duplicates."""
    return tuple(dict.fromkeys(_locations(weights)))


def _locations(weights: Path) -> Iterator[str]:
    with weights.open("rb") as file:
        if weights.stat().st_size == 0:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for start in range(0, len(data), _STEP):
                for match in _LOCATION.finditer(data, start, start + _STEP + _OVERLAP):
                    path = data[match.end() : match.end() + _length(match[1])]
                    yield path.decode("utf-8", "replace")


def _length(varint: bytes) -> int:
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(varint))
