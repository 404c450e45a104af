"""COCO's own evaluation of boxes, and pictures with detections that are made up for it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.coco_truth import TrueObject, TruePicture
from hotswap.predictions import Detection

Picture = tuple[TruePicture, list[Detection]]


def reference(pictures: Sequence[Picture], labels: Sequence[str], area: str = "all") -> dict[str, Any]:
    """`ap`, `ap50`, `ap75` and `ar` over all labels, and `classes` with the same of each, by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    numbers = {label: number for number, label in enumerate(labels, 1)}
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [
            {"id": number, "width": each.width, "height": each.height}
            for number, (each, _) in enumerate(pictures, 1)
        ],
        "categories": [{"id": number, "name": label} for label, number in numbers.items()],
        "annotations": [],
    }
    found = []
    for number, (picture, detections) in enumerate(pictures, 1):
        for each in picture.objects:
            entry = {
                "id": len(truth.dataset["annotations"]) + 1,
                "image_id": number,
                "category_id": numbers[each.label],
                "bbox": _xywh(each.bbox, 1, 1),
                "area": each.area,
                "iscrowd": int(each.crowd),
            }
            truth.dataset["annotations"].append(entry)
        for one in detections:
            if one.label in numbers:
                box = _xywh(one.bbox, picture.width, picture.height)
                found.append(
                    {"image_id": number, "category_id": numbers[one.label], "bbox": box, "score": one.score}
                )
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(found), "bbox")
        judged.evaluate()
        judged.accumulate()
    place = judged.params.areaRngLbl.index(area)
    precision, recall = judged.eval["precision"][..., place, 2], judged.eval["recall"][..., place, 2]
    classes = {
        label: _figures(precision[:, :, row], recall[:, row])
        for row, label in enumerate(labels)
        if (precision[:, :, row] > -1).any()
    }
    return {**_figures(precision, recall), "classes": classes}


def _figures(precision: Any, recall: Any) -> dict[str, float]:
    def mean(values: Any) -> float:
        return float(values[values > -1].mean())

    return {
        "ap": mean(precision),
        "ap50": mean(precision[0]),
        "ap75": mean(precision[5]),
        "ar": mean(recall),
    }


def _xywh(box: Any, width: int, height: int) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]


def made_up(seed: int, labels: Sequence[str], pictures: int = 12) -> list[Picture]:
    """Pictures with objects of all sizes, some of them crowds, and findings near them and elsewhere."""
    rng = np.random.default_rng(seed)
    return [_picture(rng, f"{number}.jpg", labels) for number in range(pictures)]


def _picture(rng: np.random.Generator, name: str, labels: Sequence[str]) -> Picture:
    width, height = int(rng.integers(200, 700)), int(rng.integers(200, 700))
    objects, detections = [], []
    for _ in range(int(rng.integers(0, 9))):
        label = str(rng.choice(labels))
        side = min(width, height) * 0.04 * 20 ** rng.uniform(0, 1)
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        box = (x, y, x + side, y + side * rng.uniform(0.5, 1))
        area = (box[2] - box[0]) * (box[3] - box[1]) * rng.uniform(0.5, 1)
        objects.append(TrueObject(label, box, area, bool(rng.random() < 0.15)))
        for _ in range(int(rng.integers(0, 4))):
            shift = rng.normal(0, side * 0.12, 4)
            near = np.array(box) + shift
            wrong = str(rng.choice(labels)) if rng.random() < 0.2 else label
            detections.append(_finding(wrong, near, width, height, rng))
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(0, width * 0.7), rng.uniform(0, height * 0.7)
        other = np.array([x, y, x + width * rng.uniform(0.02, 0.3), y + height * rng.uniform(0.02, 0.3)])
        detections.append(_finding(str(rng.choice(labels)), other, width, height, rng))
    detections.sort(key=lambda each: -each.score)
    return TruePicture(name, width, height, tuple(objects)), detections


def _finding(label: str, box: Any, width: int, height: int, rng: np.random.Generator) -> Detection:
    x1, x2 = sorted((float(box[0]) / width, float(box[2]) / width))
    y1, y2 = sorted((float(box[1]) / height, float(box[3]) / height))
    # Two digits: many scores are equal.
    return Detection(label, 0, round(float(rng.uniform(0.01, 1)), 2), (x1, y1, x2, y2))


def close(own: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether the means are the same to six digits."""
    return all(abs(own[name] - theirs[name]) < 1e-6 for name in ("ap", "ap50", "ap75", "ar"))
