"""The colours of labels: a label has the same colour in every picture, process and version."""

from __future__ import annotations

import colorsys
from hashlib import sha256

Colour = tuple[int, int, int]

BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
GREY: Colour = (96, 96, 96)

_HUES = 24
# (lightness, saturation): a full, a light and a dark tone of every hue.
_TONES = ((0.5, 1.0), (0.68, 0.95), (0.4, 0.9))


def colour_of(label: str) -> Colour:
    """One of 72 colours, derived from the label's text alone."""
    digest = sha256(label.encode("utf-8", "surrogatepass")).digest()
    lightness, saturation = _TONES[digest[1] % len(_TONES)]
    hue = (digest[0] % _HUES) / _HUES
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_on(background: Colour) -> Colour:
    """Black or white, the one with the higher contrast; it is at least 4.5."""
    return max((BLACK, WHITE), key=lambda text: contrast(text, background))


def contrast(one: Colour, other: Colour) -> float:
    """From 1 (the same) to 21 (black on white), as WCAG 2.2 defines the contrast ratio."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Colour) -> float:
    """Relative luminance in 0..1, as WCAG 2.2 defines it."""
    red, green, blue = (_linear(value / 255) for value in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)
