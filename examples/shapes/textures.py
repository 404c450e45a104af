"""Surfaces to draw on: gradients, noise, stripes and value noise, each from a generator."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

Rng = np.random.Generator
Size = tuple[int, int]
Colour = tuple[int, int, int]
Texture = Callable[[Rng, Size], Image.Image]


def any_colour(rng: Rng) -> Colour:
    """Any RGB colour, none likelier than another."""
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    return red, green, blue


def near_colour(rng: Rng, colour: Colour | np.ndarray, distance: float) -> Colour:
    """A colour at most `distance` away from `colour`, exactly so unless 0..255 cuts it short."""
    step = rng.standard_normal(3)
    moved = np.asarray(colour) + distance * step / np.linalg.norm(step)
    red, green, blue = (int(value) for value in np.clip(moved, 0, 255))
    return red, green, blue


def blend(ramp: np.ndarray, first: Colour, second: Colour) -> Image.Image:
    """Mix two colours by `ramp`, height by width in 0..1."""
    mix = Image.fromarray(np.rint(ramp * 255).astype(np.uint8))
    size = mix.size
    return Image.composite(Image.new("RGB", size, second), Image.new("RGB", size, first), mix)


def slope(rng: Rng, size: Size) -> np.ndarray:
    """A plane rising from 0 to 1 across the picture in any direction."""
    width, height = size
    angle = rng.uniform(0, 2 * np.pi)
    rise: np.ndarray = np.add.outer(
        np.linspace(-1, 1, height, dtype=np.float32) * np.float32(np.sin(angle)),
        np.linspace(-1, 1, width, dtype=np.float32) * np.float32(np.cos(angle)),
    )
    level: np.ndarray = (rise - rise.min()) / (rise.max() - rise.min())
    return level


def gradient(rng: Rng, size: Size) -> Image.Image:
    """One colour turning into another."""
    return blend(slope(rng, size), any_colour(rng), any_colour(rng))


def stripes(rng: Rng, size: Size) -> Image.Image:
    """Soft or hard parallel stripes of two colours, close together or far apart."""
    wave = np.sin(slope(rng, size) * rng.uniform(4, 40) * np.pi) * rng.uniform(1, 5)
    first = any_colour(rng)
    return blend(np.clip(wave, -1, 1) / 2 + 0.5, first, near_colour(rng, first, rng.uniform(20, 110)))


def value_noise(rng: Rng, size: Size) -> Image.Image:
    """Clouds: random grids of growing fineness, enlarged and laid over each other."""
    clouds = Image.new("RGB", size, any_colour(rng))
    for cells, weight in ((3, 0.7), (6, 0.5), (12, 0.35), (24, 0.25))[: rng.integers(1, 5)]:
        grid = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)
        clouds = Image.blend(clouds, layer, weight)
    return clouds


def speckle(rng: Rng, size: Size) -> Image.Image:
    """A grainy surface of one colour, as of stone or cloth."""
    width, height = size
    grain = rng.integers(0, 256, (height // 2, width // 2), dtype=np.uint8)
    ground = Image.fromarray(grain).filter(ImageFilter.BoxBlur(int(rng.integers(0, 3))))
    first = any_colour(rng)
    ramp = np.asarray(ground.resize(size, Image.Resampling.BILINEAR), np.float32) / 255
    return blend(ramp, first, near_colour(rng, first, rng.uniform(40, 140)))


TEXTURES: tuple[Texture, ...] = (gradient, stripes, value_noise, speckle)


def texture(rng: Rng, size: Size) -> Image.Image:
    """One surface of any kind, sometimes two mixed."""
    first = TEXTURES[rng.integers(len(TEXTURES))](rng, size)
    if rng.random() < 0.6:
        return first
    second = TEXTURES[rng.integers(len(TEXTURES))](rng, size)
    return Image.blend(first, second, float(rng.uniform(0.2, 0.8)))
