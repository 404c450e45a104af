"""OWLv2: its resize, its texts, and answers held against the original library's."""

from __future__ import annotations

import json
import shutil
from itertools import islice
from typing import Any

import numpy as np
import pytest

from hotswap.errors import BadRequest, ModelFailed, VersionFailed
from hotswap.predictions import Options
from manifest.version_manifest import BadManifest, parse_config
from runners.decode import decode
from runners.families.index import family_of
from runners.families.owlv2 import OwlV2
from runners.geometry import place
from runners.onnx_runner import OnnxRunner
from runners.preprocess import Preprocessor
from runners.resize import smooth_square
from runners.text_prompt import LabelTokenizer
from tests.runners.references import DetectionMatch, Reference, ReferencePicture, answer, match

CLIP: dict[str, Any] = {
    "scale": 1 / 255,
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}
SQUARE = {"resize": {"mode": "square", "kernel": "gaussian_linear"}, "pad": 127.5}
CONFIG: dict[str, Any] = {
    "task": "open-vocabulary-detection",
    "family": "owlv2",
    "tokenizer": "tokenizer.json",
    "input": {"name": "pixel_values", "width": 960, "height": 960, **SQUARE, **CLIP},
}

pytestmark = pytest.mark.timeout(60)
WHOLE = place("square", (200, 100), (960, 960))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The folder with its tokenizer, which lies in CLIP's."""
    original, clip = Reference.of("owlv2"), Reference.of("clip")
    folder = tmp_path_factory.mktemp("owlv2")
    shutil.copyfile(original.folder / "model.onnx", folder / "model.onnx")
    shutil.copyfile(clip.folder / "tokenizer.json", folder / "tokenizer.json")
    return Reference(folder, original.expected)


def _asked(expected: Any) -> Options:
    return Options(
        threshold=expected["threshold"],
        text_prompt=" . ".join(expected["labels"]),
        max_detections=1000,
    )


def _match(runner: OnnxRunner, asked: ReferencePicture) -> DetectionMatch:
    return match(answer(runner, asked, _asked(asked.expected)).detections, asked)


def _family(**changes: Any) -> OwlV2:
    family = family_of(parse_config(json.dumps(CONFIG | changes)))
    assert isinstance(family, OwlV2)
    return family


def test_a_picture_is_padded_before_it_is_resized() -> None:
    half = smooth_square(np.full((4, 8, 3), 200, np.uint8), 16, 16, 100.0)
    assert (half.shape, half.dtype) == ((16, 16, 3), np.float32)
    # made larger, the last row of the picture and the first of the padding are mixed: no whole edge remains
    assert half[:, 0, 0].round(2).tolist() == [200.0] * 7 + [175.0, 125.0] + [100.0] * 7
    small = smooth_square(np.full((40, 8, 3), 200, np.uint8), 4, 4, 0.0)
    assert small[:, 0, 0] == pytest.approx([small[0, 0, 0]] * 4)  # the same in each row
    assert (small[0, :, 0] >= 0).all()
    assert small[0, 3, 0] < 1e-3


def test_a_picture_of_one_pixel_is_resized() -> None:
    assert smooth_square(np.full((1, 1, 3), 7, np.uint8), 3, 2, 0.0) == pytest.approx(7)


def test_boxes_are_relative_to_the_padded_square() -> None:
    logits = np.array([[2.0, 1.0], [-1.0, 0.0], [3.0, 3.5], [-9.0, -9.0]], np.float32)
    boxes = np.array(
        [[0.25, 0.25, 0.5, 0.5], [0.5, 0.25, 1.0, 0.5], [0.5, 0.75, 0.2, 0.2], [0.5, 0.5, 1, 1]], np.float32
    )
    options = Options(text_prompt="a bird . a cat .")
    found = _family().find({"logits": logits, "pred_boxes": boxes}, WHOLE, options).detections
    # the third lies in the padding below, the fourth is no more than 0.1
    assert [(each.label, each.label_id) for each in found] == [("a bird", 0), ("a cat", 1)]
    assert [each.score for each in found] == pytest.approx([1 / (1 + np.exp(-2)), 0.5])
    assert found[0].bbox == pytest.approx((0, 0, 0.5, 1.0))
    assert found[1].bbox == pytest.approx((0, 0, 1.0, 1.0))


def test_maps_of_a_padded_square_are_cut_to_the_picture() -> None:
    maps = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    assert WHOLE.inside(maps).shape == (1, 480, 960)


def test_outputs_of_another_graph_are_refused() -> None:
    family = _family()
    for logits, boxes in ((np.zeros((5, 2)), np.zeros((4, 4))), (np.zeros(5), np.zeros((5, 4)))):
        with pytest.raises(ModelFailed):
            family.check({"logits": logits, "pred_boxes": boxes})
    outputs = {"logits": np.zeros((5, 2)), "pred_boxes": np.zeros((5, 4))}
    with pytest.raises(ModelFailed, match="one column per text"):
        family.find(outputs, WHOLE, Options(text_prompt="one ."))


def test_a_prompt_is_needed_unless_the_config_has_labels() -> None:
    with pytest.raises(BadRequest, match=r"^text_prompt: missing"):
        _family().accept(Options())
    _family(labels=["bird"]).accept(Options())
    with pytest.raises(BadRequest, match="text_threshold: family 'owlv2' takes no such option"):
        _family().accept(Options(text_prompt="bird .", text_threshold=0.5))


@pytest.mark.parametrize(
    "wrong",
    [
        {"resize": {"mode": "square", "kernel": "bilinear"}},
        {"resize": {"mode": "stretch", "kernel": "gaussian_linear"}},
        {"pad": "zero"},
        {"dtype": "uint8"},
    ],
    ids=str,
)
def test_what_cannot_go_with_a_square_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadManifest, match="square"):
        parse_config(json.dumps(CONFIG | {"input": {**CONFIG["input"], **wrong}}))


@pytest.mark.slow
def test_pixels_are_those_of_the_original(reference: Reference) -> None:
    preprocessor = Preprocessor(parse_config(json.dumps(CONFIG)).input)
    for asked in reference.pictures():
        tensor, _ = preprocessor.make([decode(asked.picture, (960, 960), 10_000_000)])
        for place_of, value in asked.expected["pixel_values"]["samples"]:
            assert tensor[tuple(place_of)] == pytest.approx(value, abs=1e-4)


def test_tokens_are_those_of_the_original(reference: Reference) -> None:
    tokenizer = LabelTokenizer(reference.folder / "tokenizer.json", 16, filled=True)
    for asked in reference.pictures():
        assert tokenizer.inputs(asked.expected["labels"])["input_ids"].tolist() == asked.expected["input_ids"]


@pytest.mark.slow
def test_answers_are_those_of_the_original(reference: Reference) -> None:
    runner = reference.load(CONFIG)
    for asked in reference.pictures():
        found = _match(runner, asked)
        assert found.good, (asked.expected["file"], found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistake",
    [
        {"colour_order": "BGR"},
        {"scale": 1.0},
        {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        {"mean": None, "std": None},
        {"pad": 0},
        {"resize": {"mode": "letterbox"}, "pad": 128},
        {"resize": {"mode": "letterbox", "kernel": "bicubic"}, "pad": 128},
        {"resize": {"mode": "stretch"}},
    ],
    ids=lambda mistake: " ".join(map(str, mistake.values()))[:60],
)
def test_a_mistake_of_preprocessing_moves_the_answers(reference: Reference, mistake: dict[str, Any]) -> None:
    runner = reference.load({**CONFIG, "input": {**CONFIG["input"], **mistake}})
    assert not all(_match(runner, asked).good for asked in islice(reference.pictures(), 2))


def test_a_wrong_layout_never_serves(reference: Reference) -> None:
    with pytest.raises(VersionFailed, match=r"input\.layout 'NCHW'"):
        reference.load(CONFIG | {"input": {**CONFIG["input"], "layout": "NHWC"}})


@pytest.mark.slow
def test_a_mistake_of_tokens_moves_the_answers(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = reference.load(CONFIG)
    feed = runner._family.feed

    def shifted(placed: Any, options: Options) -> Any:
        fed = feed(placed, options)
        return {**fed, "input_ids": np.minimum(fed["input_ids"] + 1, 49407)}

    monkeypatch.setattr(runner._family, "feed", shifted)
    assert not _match(runner, next(reference.pictures())).good
