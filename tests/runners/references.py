"""Exports with random weights, and what the original libraries answer: the judge of families.

They lie in `reference/` of the test data. A right pipeline needs no slack: the tolerances are those of its
README.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hotswap.predictions import Detection, Options, Picture, Prediction
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import parse_config
from runners.loader import OnnxLoader
from runners.onnx_runner import OnnxRunner
from tests.data import need_data, need_reference
from tests.support.kept_sessions import kept_session

IMAGENET: Mapping[str, Any] = {
    "scale": 1 / 255,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


@dataclass(frozen=True, slots=True)
class ReferencePicture:
    """A picture, and the document of what is expected for it."""

    expected: Mapping[str, Any]
    picture: Picture

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.expected["width"], self.expected["height"]


@dataclass(frozen=True, slots=True)
class Reference:
    """One folder."""

    folder: Path
    expected: Mapping[str, Any]

    @classmethod
    def of(cls, name: str) -> Reference:
        """The folder of this name; skips the test without."""
        folder = need_reference(name)
        return cls(folder, json.loads((folder / "expected.json").read_text()))

    def pictures(self) -> Iterator[ReferencePicture]:
        """Every picture with what is expected; one may stand twice, with another prompt."""
        for expected in self.expected["images"]:
            file = need_data() / "images" / expected["file"]
            yield ReferencePicture(expected, Picture(encoded=file.read_bytes()))

    def load(self, config: Mapping[str, Any], weights: str = "model.onnx") -> OnnxRunner:
        """A graph of the folder with a config, loaded as the service does."""
        artifact = Artifact(
            tag=ModelTag("reference", "v1"),
            path=self.folder,
            weights=self.folder / weights,
            digest="sha256:" + "0" * 64,
            config=parse_config(json.dumps(config)),
            created=datetime.now(UTC),
            size_bytes=1,
        )
        loader = OnnxLoader(max_pixels=100_000_000, thread_cap=2, open_graph=kept_session)
        return loader.load(artifact)


def answer(runner: OnnxRunner, asked: ReferencePicture, options: Options) -> Prediction:
    """What a model says of one picture."""
    (prediction,) = runner.predict([asked.picture], options).items
    return prediction


@dataclass(frozen=True, slots=True)
class DetectionMatch:
    """Detections against the expected ones, each with the nearest of its label.

    `missing` and `extra` count, `score` and `box` (pixels) are the greatest differences of matched ones.
    """

    missing: int
    extra: int
    score: float
    box: float

    @property
    def good(self) -> bool:
        """Whether it is within the tolerances: score 0.002, box 0.5 pixel, all found, none extra."""
        return not self.missing and not self.extra and self.score <= 0.002 and self.box <= 0.5


def match(found: tuple[Detection, ...], asked: ReferencePicture) -> DetectionMatch:
    """Compare as sets: by label, box and score, never by place.

    Ours are clipped to the picture, the reference's are not.
    """
    width, height = asked.size
    scale, rest = np.array([width, height, width, height]), list(found)
    missing, score, box = 0, 0.0, 0.0
    for expected in asked.expected["detections"]:
        corners = np.clip(np.array(expected["box"]) / scale, 0, 1) * scale
        near = [each for each in rest if each.label == expected["label"]]
        distances = [float(np.abs(np.array(each.bbox) * scale - corners).max()) for each in near]
        if not near or min(distances) > 2.0:
            missing += 1
            continue
        best = int(np.argmin(distances))
        rest.remove(near[best])
        score, box = max(score, abs(near[best].score - expected["score"])), max(box, distances[best])
    return DetectionMatch(missing, len(rest), score, box)
