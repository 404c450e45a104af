"""BMPs, uncompressed."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import cast

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile

from hotswap.errors import BadPicture, UnsupportedPicture

_RUN_LENGTH = (1, 2)


class Bmp:
    """A BMP whose headers are read and whose pixels are not."""

    exif = b""
    profile = b""

    def __init__(self, data: bytes) -> None:
        self._data = data
        image = BmpImageFile(BytesIO(data))
        if image.info.get("compression") in _RUN_LENGTH:
            raise UnsupportedPicture("the BMP is run-length coded; uncompressed ones are read")
        self.size = image.size

    def pixels(self, scale: int) -> Image.Image:  # noqa: ARG002 - only JPEGs can
        """The pixels; raises `BadPicture` where some are missing, the padding of the last row aside."""
        image = BmpImageFile(BytesIO(self._data))
        tile = image.tile[0]
        stride = cast(tuple[str, int, int], tile.args)[1]
        (bits,) = struct.unpack_from("<H", self._data, 28 if self._data[14] >= 40 else 24)
        row = -(-image.width * bits // 8)
        missing = tile.offset + stride * image.height - len(self._data)
        if missing > stride - row:
            raise BadPicture(f"the BMP is truncated: {missing} bytes of its rows are missing")
        if missing > 0:
            image = BmpImageFile(BytesIO(self._data + bytes(missing)))
        image.load()
        return image
