"""Family `segmenter`: a class for each pixel, as one detection with a mask for each class that occurs.

The output is [N, C, h, w] or, known by the number of labels, [N, h, w, C]: logits or scores of C classes, of
any size. They are interpolated to the picture before the greatest is taken (SegFormer:
`post_process_semantic_segmentation` of huggingface/transformers, 4.57; DeepLab: torchvision's models give
them at the input's size). A class's score is the mean of its pixels' probabilities, its box the smallest
round its pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hotswap.predictions import Detection, Options
from manifest.version_manifest import Thresholds
from runners.families.base import Family, Found, Outputs, Parameters, expect, only
from runners.geometry import Geometry
from runners.interpolate import Floats, greatest
from runners.mask_runs import box_of, mask_of


class SegmenterParameters(Parameters):
    """How to read the classes."""

    background: int | None = Field(
        default=None, ge=0, description="the number of a label that is not reported, such as a background"
    )


class Segmenter(Family[SegmenterParameters]):
    """Semantic segmentation."""

    name = "segmenter"
    task = "semantic-segmentation"
    schema = SegmenterParameters
    usual_thresholds = Thresholds(score=0.0)

    def check(self, outputs: Outputs) -> None:
        """See `Family.check`."""
        shape, count = only(outputs).shape, len(self.config.labels)
        fits = len(shape) == 3 and count in (shape[0], shape[2]) and min(shape) > 0
        expect(fits, f"[{count}, h, w] or [h, w, {count}] (one map per label)", shape)

    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """See `Family.find`."""
        array = only(outputs).astype(np.float32)
        channels_first = len(array) == len(self.config.labels)
        maps = geometry.inside(array if channels_first else array.transpose(2, 0, 1))
        width, height = geometry.picture
        classes = greatest(maps, height, width)
        scores = _mean_scores(maps, classes)
        least = self.threshold(options)
        found = [
            self._detection(classes, label, score)
            for label, score in sorted(scores.items(), key=lambda pair: -pair[1])
            if score >= least and label != self.parameters.background
        ]
        return Found(tuple(found[: options.max_detections]))

    def _classes_first(self, array: Floats) -> Floats:
        return array if len(array) == len(self.config.labels) else np.moveaxis(array, 2, 0)

    def _detection(self, classes: NDArray[np.uint16], label: int, score: float) -> Detection:
        inside = classes == label
        box = box_of(inside)
        return Detection(self.config.labels[label], label, score, box, mask=mask_of(inside))


def _mean_scores(maps: Floats, classes: NDArray[np.uint16]) -> dict[int, float]:
    """The mean probability of each class that occurs, over its pixels.

    A pixel's probability is that of the nearest place of the maps: interpolating all would cost many times
    as much, for a figure that nobody compares to the last digit.
    """
    powers = np.exp(maps - maps.max(axis=0))
    powers /= powers.sum(axis=0)
    rows, columns = (
        np.arange(size) * old // size for size, old in zip(classes.shape, maps.shape[1:], strict=True)
    )
    scores = powers[classes, rows[:, None], columns]
    pixels = np.bincount(classes.ravel(), minlength=len(maps))
    sums = np.bincount(classes.ravel(), scores.ravel(), minlength=len(maps))
    return {label: float(sums[label] / pixels[label]) for label in np.flatnonzero(pixels).tolist()}
