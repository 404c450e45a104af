"""JPEGs to send: photographs where there are some, else drawings."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SMALL = (640, 480)
LARGE = (4000, 3000)
_COUNT = 8
_LARGE_COUNT = 2
#: What cameras make of twelve megapixels; far enough below the service's limit of 10 MB.
_LARGE_BYTES = (3_000_000, 5_000_000)
_NOISE = (2.0, 4.0, 6.0, 9.0, 13.0)


def small(data: Path | None) -> list[bytes]:
    """Several JPEGs of 640x480: the folder's own as they are, or drawn ones."""
    found = list(_photographs(data)) if data else []
    return found or [_jpeg(_drawing(number), 90) for number in range(_COUNT)]


def large(sources: list[bytes]) -> list[bytes]:
    """Some of these pictures at 4000x3000, with as much noise as a real file of that size has."""
    return [_enlarged(source, number) for number, source in enumerate(sources[:_LARGE_COUNT])]


def smooth(source: bytes) -> bytes:
    """A picture at 4000x3000 without noise, in which things have plain outlines."""
    with Image.open(BytesIO(source)) as image:
        return _jpeg(image.convert("RGB").resize(LARGE, Image.Resampling.BICUBIC), 90)


def _photographs(data: Path) -> Iterator[bytes]:
    found = 0
    for path in sorted((data / "images").rglob("*.jpg")):
        with Image.open(path) as image:
            if image.size != SMALL or image.mode != "RGB":
                continue
        yield path.read_bytes()
        found += 1
        if found == _COUNT:
            return


def _enlarged(source: bytes, seed: int) -> bytes:
    with Image.open(BytesIO(source)) as image:
        wide = np.asarray(image.convert("RGB").resize(LARGE, Image.Resampling.BICUBIC), np.float32)
    noise = np.random.default_rng(seed).standard_normal(wide.shape[:2], np.float32)[..., None]
    made = b""
    for strength in _NOISE:
        pixels = np.clip(wide + noise * strength, 0, 255).astype(np.uint8)
        made = _jpeg(Image.fromarray(pixels), 90)
        if _LARGE_BYTES[0] <= len(made):
            break
    return made


def _drawing(seed: int) -> Image.Image:
    """Shapes on a textured ground: about as costly to decode as a photograph."""
    width, height = SMALL
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 120, width)[None, :, None] + np.linspace(0, 60, height)[:, None, None]
    ground = ramp + rng.integers(0, 60, 3) + rng.normal(0, 9, (height, width, 3))
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = (int(value) for value in rng.integers(0, (width - 90, height - 90)))
        side, colour = int(rng.integers(20, 90)), tuple(int(value) for value in rng.integers(0, 255, 3))
        draw = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        draw((x, y, x + side, y + side), fill=colour)
    return image


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
