"""Detectors from the picture's bytes to their answers, plainly: the judge where no library is at hand.

Written from the published formulas with Pillow, numpy and onnxruntime alone: no runner is asked. Sources:
`LetterBox`, `non_max_suppression` and `process_mask_native` of ultralytics/ultralytics, commit 002363f1;
export.py of ultralytics/yolov5, commit 0041a670; `DetrImageProcessor` and `DeformableDetrImageProcessor` of
huggingface/transformers 4.57; rfdetr_object_detection_onnx.py of roboflow/inference, commit 3bb973b5.

Three steps are the service's own, and said in its guide: pictures are resized by Pillow instead of OpenCV,
boxes go back by the factor of each side instead of one for both, and boxes without an area in the picture are
left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from hotswap.predictions import Detection
from tests.runners.pixel_graphs import EDGE, LABELS, LONGEST, SIDE

_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_SCORE, _OVERLAP, _DETR = 0.25, 0.45, 0.5
_Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Judged:
    """An expected object; the box is in pixels of the picture."""

    label: int
    score: float
    box: _Corners
    mask: NDArray[np.bool_] | None = None

    @property
    def solid(self) -> bool:
        return self.box[0] < self.box[2] and self.box[1] < self.box[3]


@dataclass(frozen=True)
class _Letterbox:
    """A picture in the middle of a grey square."""

    pixels: NDArray[np.float32]
    left: int
    top: int
    size: tuple[int, int]
    picture: tuple[int, int]

    def back(self, x: float, y: float) -> tuple[float, float]:
        (across, down), (width, height) = self.size, self.picture
        inside = (x - self.left) * width / across, (y - self.top) * height / down
        return min(max(inside[0], 0.0), width), min(max(inside[1], 0.0), height)


def _letterboxed(image: Image.Image) -> _Letterbox:
    gain = min(SIDE / image.width, SIDE / image.height)
    size = round(image.width * gain), round(image.height * gain)
    left, top = (round((SIDE - side) / 2 - 0.1) for side in size)
    page = Image.new("RGB", (SIDE, SIDE), (114, 114, 114))
    page.paste(image.resize(size, Image.Resampling.BILINEAR), (left, top))
    pixels = np.asarray(page).astype(np.float32) / np.float32(255)
    return _Letterbox(pixels, left, top, size, image.size)


def _run(model: onnx.ModelProto, **inputs: Any) -> dict[str, Any]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, (array[0] for array in session.run(names, inputs)), strict=True))


def _planes(pixels: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)


def _overlap(one: _Corners, other: _Corners) -> float:
    across = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return across * down / (areas - across * down)


def _suppressed(rows: list[tuple[int, float, _Corners, Any]]) -> list[tuple[int, float, _Corners, Any]]:
    """Greedy, class by class: the best one that is left, without those that overlap it too much."""
    kept: list[tuple[int, float, _Corners, Any]] = []
    for row in sorted(rows, key=lambda one: -one[1]):
        if all(row[0] != best[0] or _overlap(row[2], best[2]) <= _OVERLAP for best in kept):
            kept.append(row)
    return kept


def _ultralytics(
    model: onnx.ModelProto, image: Image.Image, score_of: Callable[[Any], NDArray[Any]], output: str, at: int
) -> list[Judged]:
    """Rows of centre, sides, scores [C] made by `score_of`, and from column `at` on the values of masks."""
    placed = _letterboxed(image)
    outputs = _run(model, images=_planes(placed.pixels))
    table = outputs[output]
    rows = []
    for row in table if table.shape[0] > table.shape[1] else table.T:
        scores, (x, y, w, h) = score_of(row), (float(value) for value in row[:4])
        corners = x - w / 2, y - h / 2, x + w / 2, y + h / 2
        if scores.max() >= _SCORE:
            rows.append((int(scores.argmax()), float(scores.max()), corners, row[at:]))
    judged = []
    for label, score, corners, values in _suppressed(rows):
        box = (*placed.back(*corners[:2]), *placed.back(*corners[2:]))
        mask = _mask(values, outputs["output1"], box, placed) if len(values) else None
        if mask is None or mask.any():
            judged.append(Judged(label, score, box, mask))
    return [one for one in judged if one.solid]


def _mask(values: Any, prototypes: Any, box: _Corners, placed: _Letterbox) -> NDArray[np.bool_]:
    """Prototypes, weighted and summed, at the place of each pixel of the picture; cut at the box."""
    plane = sum(value * each for value, each in zip(values.astype(float), prototypes, strict=True))
    (width, height), (across, down) = placed.picture, placed.size
    columns, rows = np.arange(width), np.arange(height)
    u = (placed.left + (columns + 0.5) * across / width) / 4 - 0.5
    v = (placed.top + (rows + 0.5) * down / height) / 4 - 0.5
    inside = _between(plane, v, u) > 0
    inside[:, (columns < box[0]) | (columns >= box[2])] = False
    inside[(rows < box[1]) | (rows >= box[3])] = False
    return inside


def _between(plane: NDArray[Any], v: NDArray[Any], u: NDArray[Any]) -> NDArray[Any]:
    v, u = v.clip(0, len(plane) - 1)[:, None], u.clip(0, plane.shape[1] - 1)[None, :]
    y, x = np.floor(v).astype(int), np.floor(u).astype(int)
    below, right = np.minimum(y + 1, len(plane) - 1), np.minimum(x + 1, plane.shape[1] - 1)
    upper = plane[y, x] * (1 - (u - x)) + plane[y, right] * (u - x)
    lower = plane[below, x] * (1 - (u - x)) + plane[below, right] * (u - x)
    result: NDArray[Any] = upper * (1 - (v - y)) + lower * (v - y)
    return result


def yolov8(model: onnx.ModelProto, image: Image.Image) -> list[Judged]:
    return _ultralytics(model, image, lambda row: row[4:], "output0", 4 + len(LABELS))


def yolov8_seg(model: onnx.ModelProto, image: Image.Image) -> list[Judged]:
    end = 4 + len(LABELS)
    return _ultralytics(model, image, lambda row: row[4:end], "output0", end)


def yolov5(model: onnx.ModelProto, image: Image.Image) -> list[Judged]:
    return _ultralytics(model, image, lambda row: row[4] * row[5:], "output", 5 + len(LABELS))


def _normalised(image: Image.Image, size: tuple[int, int]) -> NDArray[np.float32]:
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR)) / 255
    return _planes((pixels - _MEAN) / _STD)


def _box(query: Any, picture: tuple[int, int]) -> _Corners:
    (x, y, w, h), (width, height) = (float(value) for value in query), picture
    left, right = (min(max(side, 0.0), 1.0) * width for side in (x - w / 2, x + w / 2))
    top, bottom = (min(max(side, 0.0), 1.0) * height for side in (y - h / 2, y + h / 2))
    return left, top, right, bottom


def detr(model: onnx.ModelProto, image: Image.Image) -> list[Judged]:
    """The shorter side is EDGE, the longer one at most LONGEST; each query has its best class, or none."""
    short, long = min(image.size), max(image.size)
    exact = min(EDGE, LONGEST * short / long)
    width, height = (round(exact) if side == short else int(exact * side / short) for side in image.size)
    mask = np.ones((1, height, width), np.int64)
    outputs = _run(model, pixel_values=_normalised(image, (width, height)), pixel_mask=mask)
    judged = []
    for logits, query in zip(outputs["logits"].astype(float), outputs["pred_boxes"], strict=True):
        scores = (np.exp(logits) / np.exp(logits).sum())[:-1]
        if scores.max() > _DETR:
            judged.append(Judged(int(scores.argmax()), float(scores.max()), _box(query, image.size)))
    return [one for one in judged if one.solid]


def rf_detr(model: onnx.ModelProto, image: Image.Image) -> list[Judged]:
    """Stretched; each pair of query and class counts."""
    outputs = _run(model, input=_normalised(image, (SIDE, SIDE)))
    judged = []
    for logits, query in zip(outputs["labels"].astype(float), outputs["dets"], strict=True):
        for label, score in enumerate(1 / (1 + np.exp(-logits))):
            if score > _DETR:
                judged.append(Judged(label, float(score), _box(query, image.size)))
    return [one for one in judged if one.solid]


JUDGES: Mapping[str, Callable[[onnx.ModelProto, Image.Image], list[Judged]]] = {
    "yolov5": yolov5,
    "yolov8": yolov8,
    "yolov8-seg": yolov8_seg,
    "detr": detr,
    "rf-detr": rf_detr,
}


@dataclass(frozen=True)
class Difference:
    """How far answers are from the expected ones: how many have no partner, and the worst of the others.

    `score` and `box` (pixels of the picture) are greatest differences, `mask` is the least IoU.
    """

    alone: int
    score: float
    box: float
    mask: float

    @property
    def good(self) -> bool:
        """Whether it is within the tolerances of the references with originals."""
        return not self.alone and self.score <= 0.002 and self.box <= 0.5 and self.mask >= 0.999


def difference(found: tuple[Detection, ...], expected: list[Judged], image: bytes) -> Difference:
    """Compare as sets: each expected object with the nearest of its label."""
    scale = np.array(Image.open(BytesIO(image)).size * 2)
    rest, alone, score, box, mask = list(found), 0, 0.0, 0.0, 1.0
    for one in expected:
        near = [each for each in rest if each.label_id == one.label]
        distances = [float(np.abs(np.array(each.bbox) * scale - one.box).max()) for each in near]
        if not near or min(distances) > 2:
            alone += 1
            continue
        best = near[int(np.argmin(distances))]
        rest.remove(best)
        score, box = max(score, abs(best.score - one.score)), max(box, min(distances))
        if one.mask is not None and best.mask is not None:
            pixels = best.mask.pixels()
            mask = min(mask, float((pixels & one.mask).sum() / (pixels | one.mask).sum()))
    return Difference(alone + len(rest), score, box, mask)
