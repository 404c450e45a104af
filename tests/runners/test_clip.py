"""CLIP: texts against pictures, with one graph or two, held against the original library's answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotswap.errors import BadRequest, ModelFailed, VersionFailed
from hotswap.predictions import Options
from manifest.version_manifest import BadManifest, parse_config
from runners.families.clip import Clip
from runners.families.index import family_of
from runners.geometry import place
from runners.text_prompt import LabelTokenizer
from tests.runners.references import Reference, answer

NORMALISED: dict[str, Any] = {
    "scale": 1 / 255,
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}
CONFIG: dict[str, Any] = {
    "task": "zero-shot-classification",
    "family": "clip",
    "tokenizer": "tokenizer.json",
    "input": {
        "width": 224,
        "height": 224,
        "name": "pixel_values",
        "resize": {"mode": "shortest_edge", "edge": 224, "kernel": "bicubic"},
        **NORMALISED,
    },
}
TWO_GRAPHS = CONFIG | {
    "graphs": {"image": {"file": "vision_model.onnx"}, "text": {"file": "text_model.onnx"}}
}
WHOLE = place("stretch", (8, 8), (224, 224))


def _family(**changes: Any) -> Clip:
    family = family_of(parse_config(json.dumps(CONFIG | changes)))
    assert isinstance(family, Clip)
    return family


def test_scores_are_the_softmax_over_the_texts() -> None:
    outputs = {"logits_per_image": np.array([1.0, 3.0, 2.0], np.float32)}
    asked = Options(text_prompt="a bird . a cat . a fox .")
    found = _family().find(outputs, WHOLE, asked).detections
    assert [(each.label, each.label_id, each.bbox) for each in found] == [
        ("a cat", 1, None),
        ("a fox", 2, None),
        ("a bird", 0, None),
    ]
    assert sum(each.score for each in found) == pytest.approx(1)
    assert found[0].score == pytest.approx(np.e**3 / (np.e + np.e**2 + np.e**3))


def test_labels_stand_for_a_prompt() -> None:
    outputs = {"logits_per_image": np.array([1.0, 3.0], np.float32)}
    found = _family(labels=["bird", "cat"]).find(outputs, WHOLE, Options(top_k=1)).detections
    assert [each.label for each in found] == ["cat"]
    with pytest.raises(BadRequest, match=r"^text_prompt: missing"):
        _family().accept(Options())
    for prompt in (" . ", "a. " * 1 + ". ".join(map(str, range(1001)))):
        with pytest.raises(BadRequest, match=r"^text_prompt: "):
            _family().accept(Options(text_prompt=prompt))


def test_the_graphs_are_one_or_two() -> None:
    assert _family().other_graphs == ()
    assert family_of(parse_config(json.dumps(TWO_GRAPHS))).other_graphs == ("text",)
    with pytest.raises(VersionFailed, match="reads logits_per_image"):
        _family().reads(["image_embeds"])
    with pytest.raises(BadManifest, match="tokenizer"):
        _family(tokenizer=None)
    with pytest.raises(ModelFailed):
        _family().check({"logits_per_image": np.zeros((2, 2))})


def test_tokens_are_those_of_the_original() -> None:
    reference = Reference.of("clip")
    tokenizer = LabelTokenizer(reference.folder / "tokenizer.json", 77)
    for text in reference.expected["texts"]:
        words = text["text"]
        words = words if isinstance(words, str) else words["repeat"] * words["times"]
        inputs = tokenizer.inputs([words])
        assert inputs["input_ids"][0].tolist() == text["input_ids"]
        assert inputs["attention_mask"].all()


@pytest.mark.slow
@pytest.mark.parametrize("two_graphs", [True, False])
def test_answers_are_those_of_the_original(two_graphs: bool, tmp_path: Path) -> None:
    reference = Reference.of("clip")
    weights = "vision_model.onnx" if two_graphs else "model.onnx"
    runner = reference.load(TWO_GRAPHS if two_graphs else CONFIG, weights)
    labels = reference.expected["about"]["labels"]
    asked = Options(text_prompt=" . ".join(labels), top_k=10)
    for picture in reference.pictures():
        found = {each.label: each.score for each in answer(runner, picture, asked).detections}
        expected = dict(zip(labels, picture.expected["zero_shot_probabilities"], strict=True))
        assert max(abs(found[label] - expected[label]) for label in labels) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistake",
    [
        {"colour_order": "BGR"},
        {"scale": 1.0},
        {"mean": None, "std": None},
        {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        {"resize": {"mode": "stretch", "kernel": "bicubic"}},
        {"resize": {"mode": "shortest_edge", "edge": 224, "kernel": "bilinear"}},
        {"resize": {"mode": "shortest_edge", "edge": 225, "kernel": "bicubic"}},
    ],
    ids=lambda mistake: " ".join(map(str, mistake.values()))[:40],
)
def test_a_mistake_of_preprocessing_moves_the_scores(mistake: dict[str, Any]) -> None:
    reference = Reference.of("clip")
    runner = reference.load(TWO_GRAPHS | {"input": {**CONFIG["input"], **mistake}}, "vision_model.onnx")
    labels = reference.expected["about"]["labels"]
    asked = Options(text_prompt=" . ".join(labels), top_k=10)
    moved = 0.0
    for picture in reference.pictures():
        found = {each.label: each.score for each in answer(runner, picture, asked).detections}
        expected = dict(zip(labels, picture.expected["zero_shot_probabilities"], strict=True))
        moved = max(moved, *(abs(found[label] - expected[label]) for label in labels))
    assert moved > 0.01
