"""Drawn pictures of fruit on a belt, sound or with brown spots; each is made from its number alone."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 160
#: Colours of sound skin: apples, oranges, lemons, pears.
_SKINS = ((186, 38, 42), (232, 132, 32), (236, 206, 62), (150, 176, 62))
_BELTS = ((206, 206, 202), (92, 96, 104), (40, 44, 52), (178, 170, 150))


def fruit(number: int, *, defect: bool) -> Image.Image:
    """One fruit of `SIZE` x `SIZE` pixels, RGB."""
    chance = np.random.default_rng((number, int(defect)))
    belt = _varied(chance, _BELTS[chance.integers(len(_BELTS))], 14)
    skin = _varied(chance, _SKINS[chance.integers(len(_SKINS))], 18)
    image = Image.new("RGB", (SIZE, SIZE), belt)
    draw = ImageDraw.Draw(image)
    middle = chance.uniform(0.42, 0.58, 2) * SIZE
    radius = float(chance.uniform(0.24, 0.38) * SIZE)
    draw.ellipse((*(middle - radius), *(middle + radius)), fill=skin)
    shine = middle + radius * np.array([-0.35, -0.4])
    draw.ellipse((*(shine - radius / 5), *(shine + radius / 5)), fill=_varied(chance, (250, 246, 236), 5))
    if defect:
        for _ in range(int(chance.integers(1, 4))):
            _spot(draw, chance, middle, radius)
    image = image.filter(ImageFilter.GaussianBlur(float(chance.uniform(0.3, 1.4))))
    light = float(chance.uniform(0.75, 1.2))
    noise = chance.normal(0, 5, (SIZE, SIZE, 3))
    pixels = np.clip(np.asarray(image, np.float32) * light + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels)


def _varied(chance: np.random.Generator, colour: tuple[int, int, int], by: int) -> tuple[int, int, int]:
    red, green, blue = (int(np.clip(each + int(chance.integers(-by, by + 1)), 0, 255)) for each in colour)
    return red, green, blue


def _spot(draw: ImageDraw.ImageDraw, chance: np.random.Generator, middle: np.ndarray, radius: float) -> None:
    angle, away = float(chance.uniform(0, 2 * math.pi)), float(chance.uniform(0, 0.62)) * radius
    place = middle + away * np.array([math.cos(angle), math.sin(angle)])
    size = float(chance.uniform(0.12, 0.3)) * radius
    draw.ellipse(
        (*(place - size), *(place + size * np.array([1.0, 0.8]))), fill=_varied(chance, (74, 46, 26), 14)
    )
