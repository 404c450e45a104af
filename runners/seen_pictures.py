"""The last pictures that a model has seen, with the outputs of the graph that saw them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from numpy.typing import NDArray

from hotswap.predictions import Picture
from runners.geometry import Geometry


@dataclass(frozen=True, slots=True)
class SeenBatch:
    """What the graph for pictures gave for a batch; `sizes` are width and height of each upright picture."""

    outputs: Mapping[str, NDArray[Any]]
    placed: Sequence[Geometry]
    sizes: Sequence[tuple[int, int]]


class SeenPictures:
    """The last `most` pictures by their content; may be used by several threads at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: OrderedDict[bytes, SeenBatch] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> SeenBatch | None:
        """What is kept for a picture."""
        with self._lock:
            if key in self._seen:
                self._seen.move_to_end(key)
            return self._seen.get(key)

    def keep(self, key: bytes, seen: SeenBatch) -> None:
        """Keep it, and let the one that was asked for longest ago go."""
        with self._lock:
            self._seen[key] = seen
            while len(self._seen) > self._most:
                self._seen.popitem(last=False)

    def clear(self) -> None:
        """Keep nothing more."""
        with self._lock:
            self._seen.clear()


def picture_key(picture: Picture) -> bytes:
    """A hash of the content: the same bytes, or the same pixels, have the same."""
    digest = blake2b(digest_size=16)
    if picture.pixels is not None:
        digest.update(repr(picture.pixels.shape).encode())
        digest.update(picture.pixels.tobytes())
    else:
        digest.update(picture.encoded or b"")
    return digest.digest()
