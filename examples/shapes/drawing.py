"""Draws pictures of shapes with their true boxes: the same seed gives the same picture.

Run as `python -m examples.shapes.drawing --out drawn --index 0 1 2`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

from .textures import Colour, Rng, Size, any_colour, near_colour, slope, texture

LABELS = ("circle", "square", "triangle", "star")
HELD_OUT_SEED = 90210
SIZES: tuple[Size, ...] = ((320, 240),) * 5 + ((240, 320), (256, 256), (400, 225), (360, 240))
Box = tuple[float, float, float, float]


class Truth(NamedTuple):
    """One drawn shape: its label's place in LABELS and its box, relative to the picture."""

    label: int
    box: Box


class Scene(NamedTuple):
    """A picture and its ground truth."""

    picture: Image.Image
    truths: list[Truth]


def unit_outline(rng: Rng, label: int) -> np.ndarray:
    """Corner points of one shape around the origin, at any rotation and slightly stretched."""
    corners = (48, 4, 3, 10)[label]
    angles = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if LABELS[label] == "star":
        points[1::2] *= rng.uniform(0.38, 0.52)
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned: np.ndarray = points * [1, rng.uniform(0.8, 1)] @ rotation
    return turned


def place(rng: Rng, outline: np.ndarray, size: Size) -> np.ndarray:
    """Move and scale an outline to a place in the picture, rarely reaching over its edge."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    side = min(size) * 0.12 * 5 ** rng.uniform(0, 1)
    scaled = (outline - (low + high) / 2) * side / (high - low).max()
    margin = side * (0.35 if rng.random() < 0.15 else 0.5)
    placed: np.ndarray = scaled + rng.uniform([margin, margin], np.array(size) - margin)
    return placed


def bar(rng: Rng, size: Size) -> np.ndarray:
    """The outline of a thin bar across the picture: it only hides, it is never a shape."""
    angle, middle = rng.uniform(0, np.pi), rng.uniform([0, 0], size)
    along = np.array([np.cos(angle), np.sin(angle)]) * max(size)
    across = np.array([-np.sin(angle), np.cos(angle)]) * min(size) * rng.uniform(0.006, 0.025)
    return middle + np.stack([along + across, along - across, -along - across, -along + across])


def tight_box(outline: np.ndarray, size: Size) -> Box:
    """The box around the whole outline, cut at the picture's edges, relative to its size."""
    ends = np.stack([outline.min(axis=0), outline.max(axis=0)]) / size
    x1, y1, x2, y2 = (round(float(end), 5) for end in np.clip(ends, 0, 1).ravel())
    return x1, y1, x2, y2


def area(outline: np.ndarray) -> float:
    """The surface inside an outline, in pixels, also where it leaves the picture."""
    x, y = outline.T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def fill(outline: np.ndarray, size: Size) -> Image.Image:
    """The outline's smooth-edged mask."""
    mask = Image.new("L", (size[0] * 2, size[1] * 2))
    ImageDraw.Draw(mask).polygon([(x * 2, y * 2) for x, y in outline.tolist()], fill=255)
    return mask.reduce(2)


class Canvas:
    """A picture that refuses a shape that would hide too much of the earlier ones."""

    def __init__(self, ground: Image.Image) -> None:
        self.picture = ground
        self._shown: list[tuple[np.ndarray, float]] = []

    def put(self, rng: Rng, outline: np.ndarray, least_seen: float) -> bool:
        """Paint the outline if it and all earlier ones stay visible enough; return whether it was painted."""
        mask = fill(outline, self.picture.size)
        covered = np.asarray(mask) > 127
        left = [(seen & ~covered, whole) for seen, whole in self._shown]
        left.append((covered, area(outline)))
        if any(seen.sum() < least_seen * whole for seen, whole in left):
            return False
        self._shown = left
        self._paint(rng, mask)
        return True

    def hide(self, rng: Rng, outline: np.ndarray, least_seen: float) -> None:
        """Paint an outline that is not a shape, unless it would hide a shape."""
        if self.put(rng, outline, least_seen):
            self._shown.pop()

    def _paint(self, rng: Rng, mask: Image.Image) -> None:
        paint = Image.new("RGB", self.picture.size, self._contrasting(rng, mask))
        if rng.random() < 0.4:
            paint = Image.blend(paint, texture(rng, paint.size), float(rng.uniform(0.1, 0.3)))
        self.picture = Image.composite(paint, self.picture, mask)

    def _contrasting(self, rng: Rng, mask: Image.Image) -> Colour:
        behind = np.array(ImageStat.Stat(self.picture, mask).mean)
        if rng.random() < 0.2:
            return near_colour(rng, behind, rng.uniform(38, 65))
        for _ in range(20):
            colour = any_colour(rng)
            if np.linalg.norm(behind - colour) > 80:
                break
        return colour


def as_camera(rng: Rng, picture: Image.Image) -> Image.Image:
    """The picture as a poor camera would show it: unevenly lit, blurred and noisy."""
    if rng.random() < 0.5:
        light = 255 * (1 - rng.uniform(0.1, 0.5) * slope(rng, picture.size))
        shade = Image.fromarray(light.astype(np.uint8)).convert("RGB")
        picture = ImageChops.multiply(picture, shade)
    if rng.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.6))))
    pixels = np.asarray(picture, np.float32)
    noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(0, 16))
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def draw_scene(rng: Rng, width: int, height: int) -> Scene:
    """One to five shapes on a textured ground, each at least half visible."""
    size = (width, height)
    canvas, truths = Canvas(texture(rng, size)), []
    count = rng.integers(1, 6)
    for _ in range(60):
        label = int(rng.integers(len(LABELS)))
        outline = place(rng, unit_outline(rng, label), size)
        if canvas.put(rng, outline, least_seen=rng.choice([0.55, 0.95])):
            truths.append(Truth(label, tight_box(outline, size)))
        if len(truths) == count:
            break
    for _ in range(rng.choice(3, p=[0.6, 0.25, 0.15])):
        canvas.hide(rng, bar(rng, size), least_seen=0.5)
    return Scene(as_camera(rng, canvas.picture), truths)


def numbered_scene(seed: int, index: int, size: Size | None = None) -> Scene:
    """Scene `index` of the endless series `seed`; a size of its own unless one is given."""
    rng = np.random.default_rng((seed, index))
    own = SIZES[rng.integers(len(SIZES))]
    return draw_scene(rng, *(size or own))


def described(name: str, scene: Scene) -> dict[str, object]:
    """The entry of one picture in truth.json."""
    objects = [{"label": LABELS[label], "box": list(box)} for label, box in scene.truths]
    width, height = scene.picture.size
    return {"file": name, "width": width, "height": height, "objects": objects}


def write_scenes(out: Path, seed: int, indices: Sequence[int], size: Size | None) -> None:
    """Write each scene as a JPEG into `out`, and add its true boxes to truth.json there."""
    out.mkdir(parents=True, exist_ok=True)
    truth = out / "truth.json"
    known = {entry["file"]: entry for entry in json.loads(truth.read_text())} if truth.exists() else {}
    for index in indices:
        scene, name = numbered_scene(seed, index, size), f"shapes-{index:04d}.jpg"
        scene.picture.save(out / name, quality=80)
        known[name] = described(name, scene)
    lines = ",\n".join(json.dumps(known[name]) for name in sorted(known))
    truth.write_text(f"[\n{lines}\n]\n")


def main() -> None:
    """Write example pictures as JPEG, with their true boxes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED, help="default: the held-out series")
    parser.add_argument("--index", type=int, nargs="+", default=list(range(8)))
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"))
    arguments = parser.parse_args()
    write_scenes(arguments.out, arguments.seed, arguments.index, arguments.size and tuple(arguments.size))


if __name__ == "__main__":
    main()
