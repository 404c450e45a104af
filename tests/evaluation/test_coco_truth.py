"""A COCO instances file is read, or refused with the field that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation import coco_truth
from evaluation.coco_truth import read_coco
from hotswap.errors import BadRequest


def _document() -> dict[str, Any]:
    return {
        "images": [
            {"id": 7, "file_name": "day/one.jpg", "width": 40, "height": 20},
            {"id": 8, "file_name": "night/one.jpg", "width": 40, "height": 20},
            {"id": 9, "file_name": "two.jpg", "width": 40, "height": 20},
        ],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 5], "area": 30.5, "iscrowd": 0},
            {"image_id": 7, "category_id": 3, "bbox": [0, 0, 4, 4], "iscrowd": 1},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
    }


def _read(folder: Path, document: Any) -> coco_truth.CocoTruth:
    (folder / "truth.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return read_coco(folder / "truth.json")


def test_boxes_are_corners_and_pictures_are_found_by_path_or_by_a_unique_name(tmp_path: Path) -> None:
    truth = _read(tmp_path, _document())
    first = truth.of_picture("day/one.jpg")
    assert first is not None
    assert [(each.label, each.bbox, each.area, each.crowd) for each in first.objects] == [
        ("cat", (1, 2, 11, 7), 30.5, False),
        ("cat", (0, 0, 4, 4), 16, True),
    ]
    assert truth.labels == {"cat", "dog"}
    second = truth.of_picture("anywhere/two.jpg")
    assert second is not None
    assert (second.name, second.objects) == ("two.jpg", ())
    assert truth.of_picture("one.jpg") is None, "two pictures have that name"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda each: each["annotations"][0].update(bbox=[1, 2, 3]), "annotations.0.bbox"),
        (lambda each: each["annotations"][0].update(bbox=[1, 2, 3, "wide"]), "annotations.0.bbox"),
        (lambda each: each["images"][1].update(width=0), "images.1.width"),
        (lambda each: each["annotations"][1].update(category_id=9), "no category with id 9"),
        (lambda each: each["annotations"][1].update(image_id=1), "no image with id 1"),
        (lambda each: each.pop("categories"), "categories"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: Any, said: str) -> None:
    document = _document()
    change(document)
    with pytest.raises(BadRequest, match=said):
        _read(tmp_path, document)


def test_other_files_and_too_large_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("[1]", "no json", '{"images": NaN}'):
        with pytest.raises(BadRequest, match=r"truth\.json"):
            _read(tmp_path, text)
    monkeypatch.setattr(coco_truth, "MOST_BYTES", 10)
    with pytest.raises(BadRequest, match="at most 10"):
        _read(tmp_path, _document())
