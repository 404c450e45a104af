"""How close a detector's answers are to the reference's, score by score and side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.average_precision import iou
from hotswap.predictions import Detection, Options, Prediction
from runners.onnx_runner import OnnxRunner
from tests.runners.golden import full_size

#: The reference's ranges come from three ways to resize, ours (Pillow, bilinear) among them.
SCORE = 0.002
OVERLAP = 0.75


@dataclass(frozen=True)
class Closeness:
    """Of the reference's stable detections: how many there are, how many are missing, and of the others
    how far the worst score lies outside the reference's range, and by how many pixels of the input the
    left, top, right and bottom sides are off in the middle of all.
    """

    stable: int
    missing: int
    score: float
    sides: tuple[float, ...]

    @property
    def good(self) -> bool:
        """All are found with their scores, and boxes are not shifted or scaled by a fraction of a pixel."""
        # The middle of few boxes says less.
        side = 0.25 + 1 / self.stable
        return self.missing == 0 and self.score <= SCORE and max(map(abs, self.sides)) <= side


def closeness(data: Path, model: str, runner: OnnxRunner, pictures: int | None = None) -> Closeness:
    """Run the model over the reference's pictures, decoded at full size as the reference did.

    `pictures`: only over the first of those with stable detections.
    """
    items = islice(_items(data, model), pictures)
    pairs = [pair for item in items for pair in _pairs(item, _answer(data, item, runner))]
    found = [(mine, one, item) for mine, one, item in pairs if mine is not None]
    shape = runner._artifact.config.input
    off = [_off(mine, one, item, (shape.width, shape.height)) for mine, one, item in found]
    return Closeness(
        stable=len(pairs),
        missing=len(pairs) - len(found),
        score=max((_beyond(mine, one) for mine, one, _ in found), default=1.0),
        sides=tuple(np.median(off, axis=0).tolist()) if off else (1e3,),
    )


def _items(data: Path, model: str) -> Iterator[Mapping[str, Any]]:
    items = json.loads((data / "golden" / "detections.json").read_bytes())["items"]
    return (
        item for item in items if item["model"] == model and any(one["stable"] for one in item["detections"])
    )


def _answer(data: Path, item: Mapping[str, Any], runner: OnnxRunner) -> Prediction:
    # Scores that fell are compared, too, and not only missed.
    options = Options(threshold=0.1)
    return runner.predict([full_size(data / item["image"])], options).items[0]


Pair = tuple[Detection | None, Mapping[str, Any], Mapping[str, Any]]


def _pairs(item: Mapping[str, Any], ours: Prediction) -> Iterator[Pair]:
    """Each stable detection with ours of its label at its place, if there is one, and its picture."""
    for one in item["detections"]:
        if one["stable"]:
            alike = [mine for mine in ours.detections if (mine.label_id, mine.label) == _label(one)]
            box = _relative(one, item)
            best = max(alike, key=lambda mine: iou(mine.bbox or box, box), default=None)
            there = best is not None and best.bbox is not None and iou(best.bbox, box) >= OVERLAP
            yield best if there else None, one, item


def _label(one: Mapping[str, Any]) -> tuple[int, str]:
    return one["class_id"], one["label"]


def _relative(one: Mapping[str, Any], item: Mapping[str, Any]) -> Any:
    return tuple(
        side / size for side, size in zip(one["box"], (item["width"], item["height"]) * 2, strict=True)
    )


def _beyond(mine: Detection, one: Mapping[str, Any]) -> float:
    return max(one["score_min"] - mine.score, mine.score - one["score_max"], 0.0)


def _off(
    mine: Detection, one: Mapping[str, Any], item: Mapping[str, Any], size: tuple[int, int]
) -> list[float]:
    """Pixels of the input between our sides and the reference's; a letterbox has one scale for both."""
    scale = min(size[0] / item["width"], size[1] / item["height"])
    sides = zip(mine.bbox or (), _relative(one, item), (item["width"], item["height"]) * 2, strict=True)
    return [(ours - theirs) * length * scale for ours, theirs, length in sides]
