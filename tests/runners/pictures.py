"""Pictures for tests, made on the spot."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hotswap.predictions import Picture
from runners.decode import Decoded, decode

NO_LIMIT = 1_000_000_000
ORIENTATION = 0x0112


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Random pixels [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(width: int, height: int) -> NDArray[np.uint8]:
    """Slow ramps, different in each channel and direction, that survive lossy coding."""
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)
    channels = [
        np.broadcast_to(across[None, :], (height, width)),
        np.broadcast_to(down[:, None], (height, width)),
        np.broadcast_to(255 - across[None, :], (height, width)),
    ]
    return np.stack(channels, axis=2).astype(np.uint8)


def encode(picture: NDArray[np.uint8] | Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file of Pillow's format `kind`."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    """An EXIF block that holds an orientation."""
    block = Image.Exif()
    block[ORIENTATION] = orientation
    return block


def read(data: bytes, model_input: tuple[int, int] = (32, 32), max_pixels: int = NO_LIMIT) -> Decoded:
    """Decode encoded bytes."""
    return decode(Picture(encoded=data), model_input, max_pixels)


def pixels(decoded: Decoded) -> NDArray[np.uint8]:
    """The decoded pixels [height, width, 3]."""
    return np.asarray(decoded.image)
