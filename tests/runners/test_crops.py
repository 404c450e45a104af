"""The crop step: which pixels a classifier is asked about, and what becomes of its labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from examples import species
from hotswap.errors import BadRequest
from hotswap.predictions import Box, Detection, Options, Picture, Prediction, Predictions, Timings
from hotswap.repository import Artifact
from manifest.crop_config import CropConfig
from manifest.version_manifest import parse_config
from runners.crops import Cropper, area
from runners.onnx_runner import OnnxRunner
from tests.data import need_data
from tests.runners.golden import fastestdet, load_model
from tests.runners.graphs import CLASSIFIER, artifact, constant_graph
from tests.runners.pictures import encode
from tests.runners.runs import SCORES

#: The left half is red, the right half blue.
HALVES = Image.new("RGB", (100, 60), (255, 0, 0))
HALVES.paste((0, 0, 255), (50, 0, 100, 60))
PICTURE = Picture(encoded=encode(HALVES, "PNG"))
LEFT: Box = (0.1, 0.25, 0.4, 0.75)
RIGHT: Box = (0.6, 0.25, 0.9, 0.75)
NO_PIXELS = 1_000_000
_SIDES = st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted)


class Detector:
    """Finds what it is told, and keeps the options."""

    def __init__(self, *found: Detection) -> None:
        self.found = found
        self.options: Options | None = None

    def predict(self, pictures: Sequence[Picture], options: Options) -> Predictions:
        self.options = options
        one = Prediction(self.found, "d1", 100, 60)
        return Predictions((one,) * len(pictures), Timings(inference=2.0))


class Colours:
    """Says what colour a crop has, red first of two labels, and keeps the crops."""

    def __init__(self) -> None:
        self.crops: list[np.ndarray[Any, Any]] = []

    def predict(self, pictures: Sequence[Picture], options: Options) -> Predictions:
        items = []
        for picture in pictures:
            assert picture.pixels is not None
            self.crops.append(picture.pixels)
            red = float(picture.pixels[..., 0].mean() / 255)
            labels = [Detection("red", 0, red, None), Detection("blue", 1, 1 - red, None)]
            labels.sort(key=lambda each: -each.score)
            items.append(Prediction(tuple(labels), "v1", 1, 1))
        return Predictions(tuple(items), Timings(inference=1.0))


def _bird(box: Box | None, label: str = "bird") -> Detection:
    return Detection(label, 14, 0.8, box)


def _artifact(folder: Path, **crop: Any) -> Artifact:
    return artifact(folder, constant_graph(SCORES), CLASSIFIER | {"crop_with": {"model": "d"} | crop})


def _classified(
    folder: Path, detector: Any, classifier: Any, options: Options | None = None, **crop: Any
) -> Prediction:
    found = _artifact(folder, **crop)
    assert found.config.crop_with is not None
    step = Cropper(NO_PIXELS)
    (prediction,) = step(
        detector,
        classifier,
        found,
        found.config.crop_with,
        pictures=[PICTURE],
        options=options or Options(),
    ).items
    return prediction


class TestAnswers:
    def test_the_boxes_are_the_detectors_and_the_labels_the_classifiers(self, tmp_path: Path) -> None:
        prediction = _classified(tmp_path, Detector(_bird(LEFT), _bird(RIGHT)), Colours())
        assert {(each.label, each.label_id, each.bbox) for each in prediction.detections} == {
            ("red", 0, LEFT),
            ("blue", 1, RIGHT),
        }
        assert (prediction.model_version, prediction.width, prediction.height) == ("v1", 100, 60)
        assert prediction.task == "object-detection"

    def test_only_named_labels_are_cropped_and_whole_pictures_never(self, tmp_path: Path) -> None:
        detector = Detector(_bird(LEFT, "cat"), _bird(RIGHT), _bird(None))
        prediction = _classified(tmp_path, detector, Colours(), labels=["bird"])
        assert [each.bbox for each in prediction.detections] == [RIGHT]

    def test_top_k_gives_several_labels_a_box_and_max_detections_bounds_all(self, tmp_path: Path) -> None:
        detector = Detector(_bird(LEFT), _bird(RIGHT))
        found = _classified(tmp_path, detector, Colours(), Options(top_k=2)).detections
        assert [(each.label, each.bbox) for each in found[:2]] == [("red", LEFT), ("blue", RIGHT)]
        assert len(found) == 4
        few = _classified(tmp_path, detector, Colours(), Options(top_k=2, max_detections=1)).detections
        assert [(each.label, each.bbox) for each in few] == [("red", LEFT)]

    def test_the_requests_options_are_the_classifiers(self, tmp_path: Path) -> None:
        detector = Detector(_bird(LEFT))
        _classified(tmp_path, detector, Colours(), Options(threshold=0.9), threshold=0.3)
        assert detector.options == Options(threshold=0.3, max_detections=1000)

    def test_options_are_refused_though_nothing_is_found(self, tmp_path: Path) -> None:
        classifier = load_model(_artifact(tmp_path).weights, parse_config(json.dumps(CLASSIFIER)))
        with pytest.raises(BadRequest, match="points"):
            _classified(tmp_path, Detector(), classifier, Options(points=((0.5, 0.5, 1),)))
        assert _classified(tmp_path, Detector(), classifier).detections == ()

    def test_timings_are_those_of_both(self, tmp_path: Path) -> None:
        found = _artifact(tmp_path)
        step, detector = Cropper(NO_PIXELS), Detector(_bird(LEFT))
        crop = CropConfig(model="d")
        pictures = [PICTURE, PICTURE]
        made = step(detector, Colours(), found, crop, pictures=pictures, options=Options())  # type: ignore[arg-type]
        assert made.timings.inference == 2.0 + 2 * 1.0


class TestCrops:
    def test_a_box_is_widened_by_its_own_sides(self, tmp_path: Path) -> None:
        colours = Colours()
        _classified(tmp_path, Detector(_bird(LEFT)), colours, margin=0.5)
        # 30 x 30 pixels, 15 more on each side; the left side is 10 from the picture's edge
        assert colours.crops[0].shape == (60, 55, 3)
        assert (colours.crops[0][:, :50] == (255, 0, 0)).all()
        assert (colours.crops[0][:, 50:] == (0, 0, 255)).all()

    @given(_SIDES, _SIDES, st.floats(0, 2), st.integers(1, 50), st.integers(1, 50))
    def test_it_is_never_empty_and_never_outside(
        self, across: list[float], down: list[float], margin: float, width: int, height: int
    ) -> None:
        box = (across[0], down[0], across[1], down[1])
        left, top, right, bottom = area(box, margin, Image.new("RGB", (width, height)))
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def _species() -> OnnxRunner:
    folder = need_data() / "models" / "mobilenet_v2_inat_bird"
    labels = (folder / "labels.txt").read_text().splitlines()
    config = parse_config(json.dumps(species.config(labels)))
    return load_model(folder / "mobilenet_v2_inat_bird.onnx", config)


class TestSpecies:
    @pytest.mark.parametrize(
        ("file", "name"),
        [("coral/bird.bmp", "Poecile atricapillus"), ("coral/parrot.jpg", "Ara macao")],
    )
    def test_a_bird_in_a_photograph_is_named_where_the_detector_finds_it(self, file: str, name: str) -> None:
        data, classifier = need_data(), _species()
        detector = fastestdet(data, "v2")
        picture = Picture(encoded=(data / "images" / file).read_bytes())
        (alone,) = detector.predict([picture], Options()).items
        birds = [each.bbox for each in alone.detections if each.label == "bird"]
        crop = classifier._artifact.config.crop_with
        assert crop is not None
        (prediction,) = Cropper(50_000_000)(
            detector,
            classifier,
            classifier._artifact,
            crop,
            pictures=[picture],
            options=Options(),
        ).items
        print(file, [(each.label, round(each.score, 2), each.bbox) for each in prediction.detections], birds)
        assert prediction.detections[0].bbox in birds
        assert prediction.detections[0].label.startswith(name)
