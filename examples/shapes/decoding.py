"""From a picture to the network's input, and from its output to detections."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from .drawing import Box

SIDE = 128
GRID = 16


class Detection(NamedTuple):
    """One found shape: its label's place in LABELS, how sure, and its relative box."""

    label: int
    score: float
    box: Box


def shrink(picture: Image.Image) -> np.ndarray:
    """The picture stretched to the network's square, as RGB bytes."""
    small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(small)


def to_input(pixels: np.ndarray) -> np.ndarray:
    """RGB bytes [N,128,128,3] as the network's float32 [N,3,128,128] in 0..1."""
    scaled = pixels.astype(np.float32) / 255
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def cell_centres() -> np.ndarray:
    """The relative (x, y) of every cell's centre, row by row: [256, 2]."""
    along = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    x, y = np.meshgrid(along, along)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with each of `others`."""
    corner = np.maximum(box[:2], others[:, :2])
    sides = np.clip(np.minimum(box[2:], others[:, 2:]) - corner, 0, None)
    shared = sides.prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - shared
    ratio: np.ndarray = shared / np.maximum(union, 1e-9)
    return ratio


def suppress(boxes: np.ndarray, scores: np.ndarray, limit: float) -> list[int]:
    """Places of the boxes that no better box overlaps by more than `limit`, best first."""
    waiting, kept = np.argsort(-scores, kind="stable"), []
    while waiting.size:
        best, waiting = int(waiting[0]), waiting[1:]
        kept.append(best)
        waiting = waiting[overlap(boxes[best], boxes[waiting]) <= limit]
    return kept


def decode(prediction: np.ndarray, threshold: float, limit: float = 0.5) -> list[Detection]:
    """The detections in one picture's output [8,16,16], best first."""
    distances, scores = prediction.reshape(prediction.shape[0], -1).T[:, :4], prediction[4:]
    centres, best = cell_centres(), scores.max(axis=0).ravel()
    labels = scores.argmax(axis=0).ravel()
    boxes = np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1)
    boxes, found = boxes.clip(0, 1), []
    for label in range(len(scores)):
        cells = np.flatnonzero((labels == label) & (best >= threshold))
        for place in cells[suppress(boxes[cells], best[cells], limit)]:
            x1, y1, x2, y2 = boxes[place].tolist()
            found.append(Detection(label, float(best[place]), (x1, y1, x2, y2)))
    return sorted(found, key=lambda detection: -detection.score)
