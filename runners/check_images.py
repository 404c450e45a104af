"""The pictures on which a version is tested before it serves."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hotswap.errors import VersionFailed
from hotswap.predictions import Picture
from hotswap.repository import Artifact
from runners.decode import decode


def check_pictures(artifact: Artifact) -> list[tuple[str, Picture]]:
    """The version's golden pictures by file name; without any, generated ones by name.

    Raises `VersionFailed` if a golden picture is missing.
    """
    if golden := golden_pictures(artifact):
        return golden
    return generated_pictures(artifact.config.input.width, artifact.config.input.height)


def golden_pictures(artifact: Artifact) -> list[tuple[str, Picture]]:
    """The version's golden pictures by file name. Raises `VersionFailed` if one is missing."""
    return [(golden.file, _golden(artifact, golden.file)) for golden in artifact.config.golden]


def generated_pictures(width: int, height: int) -> list[tuple[str, Picture]]:
    """Pictures of that size that need no file, by name."""
    return list(_generated(width, height))


def _golden(artifact: Artifact, file: str) -> Picture:
    try:
        return Picture(encoded=(artifact.path / file).read_bytes())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise VersionFailed(f"golden picture {file} cannot be read: {reason}") from None


def _generated(width: int, height: int) -> Iterator[tuple[str, Picture]]:
    shape = (height, width, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    yield "noise", Picture(pixels=noise)
    yield "black", Picture(pixels=np.zeros(shape, dtype=np.uint8))
    yield "white", Picture(pixels=np.full(shape, 255, dtype=np.uint8))
    yield "gradient", Picture(pixels=np.broadcast_to(ramp[None, :, None], shape).copy())


def pixels_of(picture: Picture, size: tuple[int, int], max_pixels: int) -> NDArray[np.uint8]:
    """The upright RGB pixels [height, width, 3] of a picture; of a JPEG, at least twice `size`.

    Raises what `decode` raises.
    """
    return np.array(decode(picture, size, max_pixels).image, dtype=np.uint8)


def as_jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """RGB pixels [height, width, 3] as a JPEG; `quality` in 1..95."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()
