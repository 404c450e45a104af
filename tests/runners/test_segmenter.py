"""Semantic segmentation: classes of pixels as masks, held against the original library's class maps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hotswap.errors import ModelFailed
from hotswap.predictions import Options, Prediction
from manifest.version_manifest import parse_config
from runners.families.index import family_of
from runners.families.segmenter import Segmenter
from runners.geometry import place
from tests.data import need_data
from tests.runners.golden import answer as golden_answer
from tests.runners.golden import load_model
from tests.runners.references import IMAGENET, Reference, answer

CONFIG: dict[str, Any] = {
    "task": "semantic-segmentation",
    "family": "segmenter",
    "input": {"width": 8, "height": 8},
    "labels": ["sky", "tree", "road"],
}
REFERENCE = CONFIG | {
    "input": {"width": 512, "height": 512, **IMAGENET},
    "labels": [str(label) for label in range(150)],
}


def _family(**parameters: Any) -> Segmenter:
    family = family_of(parse_config(json.dumps(CONFIG | {"output": {"parameters": parameters}})))
    assert isinstance(family, Segmenter)
    return family


def _halves() -> np.ndarray[Any, Any]:
    """The left half is sky, the lower right quarter road."""
    maps = np.full((3, 8, 8), -5.0, np.float32)
    maps[0, :, :4] = 5
    maps[1, :4, 4:] = 5
    maps[2, 4:, 4:] = 5
    return maps


def test_maps_may_have_their_channels_last() -> None:
    geometry, family = place("stretch", (80, 40), (8, 8)), _family()
    family.check({"logits": _halves().transpose(1, 2, 0)})
    one = family.find({"logits": _halves()}, geometry, Options()).detections
    other = family.find({"logits": _halves().transpose(1, 2, 0)}, geometry, Options()).detections
    assert [(each.label, each.score, each.bbox) for each in one] == [
        (each.label, each.score, each.bbox) for each in other
    ]


def test_each_class_that_occurs_is_a_detection_with_its_pixels() -> None:
    geometry = place("stretch", (80, 40), (8, 8))
    found = _family().find({"logits": _halves()}, geometry, Options()).detections
    by_label = {each.label: each for each in found}
    assert set(by_label) == {"sky", "tree", "road"}
    road = by_label["road"]
    assert road.mask is not None
    assert road.bbox == pytest.approx((0.5, 0.5, 1, 1))
    inside = road.mask.pixels()
    # Where three classes meet, interpolation rounds the corner.
    assert (inside.shape, inside[20:, 41:].all(), inside[:20].any()) == ((40, 80), True, False)
    assert road.score > 0.99
    together = sum(each.mask.pixels().astype(int) for each in found if each.mask)
    assert np.array_equal(together, np.ones((40, 80), int))


def test_padding_is_no_part_of_the_picture() -> None:
    geometry = place("letterbox", (80, 40), (8, 8))  # the lower half of the input is padding
    maps = np.full((3, 8, 8), -5.0, np.float32)
    maps[0, :4] = 5
    maps[2, 4:] = 5
    (only,) = _family().find({"logits": maps}, geometry, Options(threshold=0.5)).detections
    assert only.label == "sky"


def test_what_is_left_out() -> None:
    geometry, outputs = place("stretch", (8, 8), (8, 8)), {"logits": _halves()}

    def labels(family: Segmenter, options: Options) -> set[str]:
        return {each.label for each in family.find(outputs, geometry, options).detections}

    assert labels(_family(background=0), Options()) == {"tree", "road"}
    assert len(labels(_family(), Options(max_detections=1))) == 1
    outputs["logits"] = outputs["logits"] / 100
    assert labels(_family(), Options(threshold=0.9)) == set()


def test_maps_of_another_number_of_labels_are_refused() -> None:
    for shape in ((2, 8, 8), (3, 8), (3, 0, 8)):
        with pytest.raises(ModelFailed):
            _family().check({"logits": np.zeros(shape, np.float32)})


def _classes(prediction: Prediction) -> np.ndarray[Any, Any]:
    classes = np.full((prediction.height, prediction.width), 255)
    for each in prediction.detections:
        assert each.mask is not None
        classes[each.mask.pixels()] = each.label_id
    return classes


def _agreement(reference: Reference, changes: dict[str, Any]) -> Iterator[float]:
    """The share of equal pixels of each picture, one after the other."""
    expected = np.load(reference.folder / "expected.npz")
    maps = [expected[name] for name in expected if name.startswith("class_map")]
    runner = reference.load({**REFERENCE, "input": {**REFERENCE["input"], **changes}})
    options = Options(max_detections=1000)
    for asked, own in zip(reference.pictures(), maps, strict=True):
        yield float((_classes(answer(runner, asked, options)) == own).mean())


@pytest.mark.slow
def test_class_maps_are_those_of_the_original() -> None:
    assert min(_agreement(Reference.of("segformer"), {})) >= 0.998


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistake",
    [
        {"colour_order": "BGR"},
        {"scale": 1.0},
        {"mean": None, "std": None},
        {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        {"resize": {"kernel": "bicubic"}},
        {"resize": {"kernel": "nearest"}},
        {"resize": {"mode": "letterbox"}},
    ],
    ids=lambda mistake: " ".join(map(str, mistake)),
)
def test_a_mistake_of_preprocessing_moves_the_classes(mistake: dict[str, Any]) -> None:
    assert any(share < 0.998 for share in _agreement(Reference.of("segformer"), mistake))


@pytest.mark.slow
def test_deeplab_with_its_original_weights_gives_the_known_shares_of_classes() -> None:
    """Classes last; the judge stretched by another kernel, which moves single pixels at the edges."""
    data = need_data()
    folder = data / "models" / "deeplab_v3_voc"
    config = CONFIG | {
        "input": {"width": 257, "height": 257, "layout": "NHWC", "scale": 1 / 127.5, "mean": [1, 1, 1]},
        "labels": (folder / "labels.txt").read_text().splitlines(),
    }
    runner = load_model(folder / "deeplab_v3_voc.onnx", parse_config(json.dumps(config)))
    items = json.loads((data / "golden" / "segmentation.json").read_bytes())["items"]
    assert items
    for item in items:
        prediction = golden_answer(runner, data / item["image"])
        pixels = prediction.width * prediction.height
        shares = {each.label: each.mask.area / pixels for each in prediction.detections if each.mask}
        slack = 1 - item["pixel_agreement_with_other_resize"] + 0.01
        for label, share in item["class_fraction"].items():
            assert shares.get(label, 0) == pytest.approx(share, abs=slack), (item["image"], label)
