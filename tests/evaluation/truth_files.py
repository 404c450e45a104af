"""The truth of the drawn pictures of examples/shapes as a COCO instances file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def coco_of_shapes(truth: Path) -> dict[str, Any]:
    """The document of a `truth.json` of examples/shapes."""
    entries = json.loads(truth.read_text())
    labels = sorted({each["label"] for entry in entries for each in entry["objects"]})
    annotations = []
    for number, entry in enumerate(entries, 1):
        width, height = entry["width"], entry["height"]
        for each in entry["objects"]:
            x1, y1, x2, y2 = each["box"]
            box = [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]
            annotations.append(
                {
                    "image_id": number,
                    "category_id": labels.index(each["label"]) + 1,
                    "bbox": box,
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {"id": number, "file_name": each["file"], "width": each["width"], "height": each["height"]}
            for number, each in enumerate(entries, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": label} for number, label in enumerate(labels, 1)],
    }
