"""What is known of a picture beside its pixels: camera, hour and brightness; and a small copy for a page."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath

from PIL import Image, ImageStat

from hotswap.predictions import Picture
from runners.decode import decode

#: Model inputs that a picture is decoded for: small JPEGs are decoded much faster than whole ones.
_SMALL = (24, 24)
_MAKE, _MODEL, _EXIF_PART, _TAKEN, _CHANGED = 0x010F, 0x0110, 0x8769, 0x9003, 0x0132
_TIME = re.compile(r"\d{4}[:-]\d\d[:-]\d\d[ T](\d\d):\d\d")
#: Least mean luma, 0..255, of each kind.
_BRIGHTNESS = ((170, "bright"), (85, "medium"), (0, "dark"))
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """`camera` is the one of EXIF, else the folder; `hour` 0..23 of EXIF, where it is known.

    `luma` is the mean of 0..255.
    """

    camera: str
    hour: int | None
    luma: float

    @property
    def brightness(self) -> str:
        """dark, medium or bright."""
        return next(word for least, word in _BRIGHTNESS if self.luma >= least)


def picture_facts(name: str, data: bytes, max_pixels: int) -> PictureFacts:
    """The facts of an encoded picture at a relative path. Raises what `decode` raises."""
    small = decode(Picture(encoded=data), _SMALL, max_pixels).image
    # A sample of the pixels is enough for a mean.
    luma = ImageStat.Stat(small.resize(_SMALL, Image.Resampling.NEAREST).convert("L")).mean[0]
    camera, hour = _exif(data)
    return PictureFacts(camera or _folder(name), hour, round(luma, 1))


def _folder(name: str) -> str:
    parent = PurePosixPath(name).parent.name
    return parent[:_LONGEST_NAME] or "unknown"


def _exif(data: bytes) -> tuple[str | None, int | None]:
    """Camera and hour; odd EXIF is as none."""
    try:
        with Image.open(BytesIO(data)) as image:
            exif = image.getexif()
            part = exif.get_ifd(_EXIF_PART)
    except Exception:  # noqa: BLE001 - Pillow's parsers raise errors of any kind
        return None, None
    words = (str(exif.get(tag, "")).strip("\0 ") for tag in (_MAKE, _MODEL))
    camera = " ".join(word for word in words if word and word.isprintable())[:_LONGEST_NAME]
    taken = _TIME.match(str(part.get(_TAKEN) or exif.get(_CHANGED) or ""))
    hour = int(taken[1]) if taken else None
    return camera or None, hour if hour is not None and hour < 24 else None


def thumbnail(data: bytes, longest: int, quality: int, max_pixels: int) -> tuple[str, int, int]:
    """A small upright copy as a JPEG data URL, its width and height in pixels; raises what `decode` does."""
    image = decode(Picture(encoded=data), (longest // 2, longest // 2), max_pixels).image
    image.thumbnail((longest, longest))
    file = BytesIO()
    image.info = {}
    image.save(file, "JPEG", quality=quality)
    url = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    return url, image.width, image.height
