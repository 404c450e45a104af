"""The crop step: a classifier asked about what a detector found, instead of about the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from hotswap.predictions import Box, Detection, Options, Picture, Prediction, Predictions
from hotswap.repository import Artifact
from hotswap.runner import Runner
from manifest.crop_config import CropConfig
from runners.decode import decode

#: A model input so large that a JPEG is never decoded at a smaller scale.
_FULL = (1 << 30, 1 << 30)
#: What a detector is asked for before boxes of other labels are left out.
_MOST_BOXES = 1000


class Cropper:
    """Crops a detector's boxes for a classifier. Implements `hotswap.runner.CropStep`."""

    def __init__(self, max_pixels: int) -> None:
        """Refuse pictures of more than `max_pixels`."""
        self._max_pixels = max_pixels

    def __call__(
        self,
        detector: Runner,
        classifier: Runner,
        artifact: Artifact,
        crop: CropConfig,
        *,
        pictures: Sequence[Picture],
        options: Options,
    ) -> Predictions:
        """See `hotswap.runner.CropStep`."""
        asked = Options(threshold=crop.threshold, max_detections=_MOST_BOXES, text_prompt=crop.text_prompt)
        found = detector.predict(pictures, asked)
        timings, items = found.timings, []
        for picture, prediction in zip(pictures, found.items, strict=True):
            boxes = _wanted(prediction, crop)[: options.max_detections]
            crops = self._crops(picture, boxes, crop.margin) if boxes else []
            # Also without boxes: the options are checked all the same.
            answer = classifier.predict(crops, options)
            timings = timings + answer.timings
            detections = _with_boxes(boxes, answer.items, options)
            items.append(_answered(prediction, detections, artifact))
        return Predictions(tuple(items), timings)

    def _crops(self, picture: Picture, boxes: Sequence[Box], margin: float) -> list[Picture]:
        image = decode(picture, _FULL, self._max_pixels).image
        return [Picture(pixels=np.asarray(image.crop(area(box, margin, image)))) for box in boxes]


def area(box: Box, margin: float, image: Image.Image) -> tuple[int, int, int, int]:
    """A box in pixels of the picture, wider by `margin` times its own sides on each side, clipped to the
    picture; whole pixels, at least one."""
    left, right = _span(box[0], box[2], margin, image.width)
    top, bottom = _span(box[1], box[3], margin, image.height)
    return left, top, right, bottom


def _span(low: float, high: float, margin: float, length: int) -> tuple[int, int]:
    more = margin * (high - low)
    first = min(max(0, round((low - more) * length)), length - 1)
    return first, max(first + 1, min(length, round((high + more) * length)))


def _answered(prediction: Prediction, detections: tuple[Detection, ...], artifact: Artifact) -> Prediction:
    return Prediction(
        detections,
        artifact.tag.version,
        prediction.width,
        prediction.height,
        task=artifact.config.answers_as,
    )


def _wanted(prediction: Prediction, crop: CropConfig) -> list[Box]:
    return [
        each.bbox
        for each in prediction.detections
        if each.bbox is not None and (not crop.labels or each.label in crop.labels)
    ]


def _with_boxes(
    boxes: Sequence[Box], answers: Sequence[Prediction], options: Options
) -> tuple[Detection, ...]:
    """The best labels of each crop at its box, by falling score."""
    labels = (
        replace(label, bbox=box)
        for box, answer in zip(boxes, answers, strict=True)
        for label in answer.detections[: options.top_k or 1]
    )
    return tuple(sorted(labels, key=lambda each: -each.score)[: options.max_detections])
