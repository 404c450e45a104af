"""Text on pictures, in Pillow's default font, which has ASCII and little more."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import cast

from PIL import ImageFont
from PIL.ImageFont import FreeTypeFont

_LONGEST = 64
_ELLIPSIS = "…"


@lru_cache(maxsize=64)
def font(size: int) -> FreeTypeFont:
    """The font at a height of `size` pixels."""
    return cast(FreeTypeFont, ImageFont.load_default(size))


@lru_cache(maxsize=64)
def heights(size: int) -> tuple[int, int]:
    """The ascent and descent of letters in pixels."""
    _, above, _, below = font(size).getbbox("Blpg", anchor="ls")
    return -int(above), int(below)


def writable(label: str, label_id: int) -> str:
    """The label in characters of the font: accents are removed, other scripts become `#<label_id>`."""
    return in_letters(label) or f"#{label_id}"


def in_letters(label: str) -> str | None:
    """The text in characters of the font, accents removed; None for other scripts."""
    plain = "".join(
        char for char in unicodedata.normalize("NFKD", label[:_LONGEST]) if not unicodedata.combining(char)
    )
    words = " ".join(plain.split())
    return words if words and words.isascii() and words.isprintable() else None


def width(text: str, size: int) -> int:
    """The width of a line in pixels."""
    return -int(-font(size).getlength(text) // 1)


def shortened(text: str, size: int, room: int) -> str:
    """The text cut to `room` pixels; empty when not even one letter fits."""
    if width(text, size) <= room:
        return text
    for end in range(len(text) - 1, 0, -1):
        if width(text[:end].rstrip() + _ELLIPSIS, size) <= room:
            return text[:end].rstrip() + _ELLIPSIS
    return ""
