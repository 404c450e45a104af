"""The training set: drawn once, then mirrored, transposed and recoloured anew in every round."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from .decoding import shrink
from .drawing import numbered_scene
from .textures import Rng

MOST_SHAPES = 5


class Batch(NamedTuple):
    """Pictures [N,128,128,3] as bytes, boxes [N,5,4], labels [N,5] with -1 for no shape."""

    pixels: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def drawn(seed: int, index: int) -> Batch:
    """One drawn scene as a batch's row."""
    scene = numbered_scene(seed, index)
    boxes, labels = np.zeros((MOST_SHAPES, 4), np.float32), np.full(MOST_SHAPES, -1)
    for place, truth in enumerate(scene.truths):
        boxes[place], labels[place] = truth.box, truth.label
    return Batch(shrink(scene.picture), boxes, labels)


def draw_all(seed: int, scenes: int, workers: int) -> Batch:
    """The whole training set, drawn before training starts."""
    with ProcessPoolExecutor(workers) as pool:
        rows = list(pool.map(partial(drawn, seed), range(scenes), chunksize=50))
    pixels, boxes, labels = (np.stack(parts) for parts in zip(*rows, strict=True))
    return Batch(pixels, boxes, labels)


def turned(rng: Rng, row: Batch) -> Batch:
    """The same row mirrored, transposed and recoloured at random: still the same shapes."""
    pixels, boxes = row.pixels[..., rng.permutation(3)], row.boxes
    if rng.random() < 0.5:
        pixels, boxes = pixels[:, ::-1], np.array([1, 0, 1, 0]) + boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1]
    if rng.random() < 0.5:
        pixels, boxes = pixels[::-1], np.array([0, 1, 0, 1]) + boxes[:, [0, 3, 2, 1]] * [1, -1, 1, -1]
    if rng.random() < 0.5:
        pixels, boxes = pixels.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    return Batch(pixels, boxes, row.labels)


def batches(rng: Rng, data: Batch, size: int) -> Iterator[Batch]:
    """Endless shuffled batches; each scene comes once per round, turned another way."""
    while True:
        order = rng.permutation(len(data.labels))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            rows = [turned(rng, Batch(*(part[place] for part in data))) for place in chosen]
            pixels, boxes, labels = (np.stack(parts) for parts in zip(*rows, strict=True))
            yield Batch(pixels, boxes.astype(np.float32), labels)
