"""Pictures in ISO media files: AVIF, which Pillow reads, and HEIC, which an extra reads."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import AvifImagePlugin, Image, features
from PIL.ImageFile import ImageFile

from hotswap.errors import PICTURE_FORMATS, UnsupportedPicture

# A picture is decoded by the thread of its request, which is one of a bounded number.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


class _ByPlugin:
    """A picture that a plugin of Pillow has opened; of several, the first, or the one that is named so."""

    def __init__(self, image: ImageFile) -> None:
        self._image = image
        self.size = image.size

    @property
    def exif(self) -> bytes:
        """The EXIF block, whose orientation agrees with the file's own."""
        return self._aside("exif")

    @property
    def profile(self) -> bytes:
        """The colour profile; empty when there is none."""
        return self._aside("icc_profile")

    def _aside(self, name: str) -> bytes:
        found = self._image.info.get(name)
        return found if isinstance(found, bytes) else b""

    def pixels(self, scale: int) -> Image.Image:  # noqa: ARG002 - only JPEGs can
        """The pixels; raises what the plugin raises where data are missing."""
        self._image.load()
        return self._image


class Avif(_ByPlugin):
    """An AVIF whose headers are read; raises `UnsupportedPicture` where this Pillow has no decoder."""

    def __init__(self, data: bytes) -> None:
        if not features.check("avif"):
            raise UnsupportedPicture("the picture is AVIF, which the Pillow installed here does not read")
        super().__init__(AvifImagePlugin.AvifImageFile(BytesIO(data)))


class Heic(_ByPlugin):
    """A HEIC whose headers are read; raises `UnsupportedPicture` where the extra is not installed."""

    def __init__(self, data: bytes) -> None:
        super().__init__(_heif().HeifImageFile(BytesIO(data)))


def _heif() -> Any:
    try:
        import pillow_heif
    except ImportError:
        raise UnsupportedPicture(
            f"the picture is HEIC; install okawari[heif] to have it read, or send {PICTURE_FORMATS}"
        ) from None
    pillow_heif.options.DECODE_THREADS = 1
    return pillow_heif
