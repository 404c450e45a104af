"""Vectors and labels of whole pictures, and wrong layouts, held against the original libraries' answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hotswap.errors import VersionFailed
from hotswap.predictions import Options
from tests.runners import test_clip, test_grounding_dino, test_rtdetr, test_sam
from tests.runners.references import IMAGENET, Reference, answer

HALVES = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
CLIP = test_clip.CONFIG["input"]
DINOV2: dict[str, Any] = {
    "width": 224,
    "height": 224,
    "resize": {"mode": "shortest_edge", "edge": 256, "kernel": "bicubic"},
    **IMAGENET,
}
VIT: dict[str, Any] = {"width": 224, "height": 224, "scale": 1 / 255, **HALVES}


def _embedder(given: dict[str, Any], output: dict[str, Any]) -> dict[str, Any]:
    return {"task": "image-embedding", "family": "embedder", "input": given, "output": output}


FIRST = {"names": ["last_hidden_state"], "parameters": {"pooling": "first"}}


def _cosines(folder: str, weights: str, config: dict[str, Any]) -> Iterator[float]:
    """The cosine of our vector and the library's, for one picture after the other."""
    reference = Reference.of(folder)
    arrays = np.load(reference.folder / "expected.npz")
    runner = reference.load(config, weights)
    for number, asked in enumerate(reference.pictures()):
        expected = np.array(asked.expected.get("embedding") or arrays[f"image_embeds_{number}"])
        expected = expected / np.linalg.norm(expected)
        vector = answer(runner, asked, Options()).embedding
        assert vector is not None
        yield float(vector @ expected)


@pytest.mark.parametrize("output", [FIRST, {"names": ["pooler_output"]}], ids=["first", "pooler"])
def test_vectors_are_those_of_dinov2(output: dict[str, Any]) -> None:
    assert min(_cosines("dinov2", "model.onnx", _embedder(DINOV2, output))) >= 0.99998


@pytest.mark.parametrize(
    "mistake",
    [
        {"colour_order": "BGR"},
        {"scale": 1.0},
        {"mean": None, "std": None},
        {"mean": CLIP["mean"], "std": CLIP["std"]},
        HALVES,
        {"resize": {"mode": "shortest_edge", "edge": 256, "kernel": "bilinear"}},
        {"resize": {"mode": "shortest_edge", "edge": 256, "kernel": "nearest"}},
        {"resize": {"mode": "shortest_edge", "edge": 224, "kernel": "bicubic"}},
        {"resize": {"mode": "stretch", "kernel": "bicubic"}},
    ],
    ids=lambda mistake: " ".join(map(str, mistake.values()))[:50],
)
def test_a_mistake_of_preprocessing_moves_the_vectors(mistake: dict[str, Any]) -> None:
    cosines = _cosines("dinov2", "model.onnx", _embedder({**DINOV2, **mistake}, FIRST))
    assert any(cosine < 0.99998 for cosine in cosines)


def test_vectors_are_those_of_clips_image_tower() -> None:
    config = _embedder(CLIP, {"names": ["image_embeds"]})
    assert min(_cosines("clip", "vision_model.onnx", config)) >= 0.99998


LABELS_OF_VIT: dict[str, Any] = {
    "task": "image-classification",
    "family": "classifier",
    "labels": "labels.txt",
    "input": VIT,
    "output": {"parameters": {"softmax": True, "top_k": 1000}},
}


def _vit(**mistake: Any) -> Iterator[float]:
    """How far the probability of one of the library's first five labels is off in each picture, at worst."""
    reference = Reference.of("vit_classifier")
    runner = reference.load(LABELS_OF_VIT | {"input": {**VIT, **mistake}})
    for asked in reference.pictures():
        options = Options(threshold=0.0, max_detections=1000)
        found = {each.label_id: each for each in answer(runner, asked, options).detections}
        off = 0.0
        for one in asked.expected["top5"]:
            assert found[one["class_id"]].label == one["label"]
            off = max(off, abs(found[one["class_id"]].score - one["probability"]))
        yield off


def test_labels_are_those_of_vit() -> None:
    assert max(_vit()) <= 0.001


@pytest.mark.parametrize(
    "mistake",
    [
        {"colour_order": "BGR"},
        {"scale": 1.0},
        {"mean": None, "std": None},
        {**IMAGENET},
        {"resize": {"kernel": "bicubic"}},
        {"resize": {"kernel": "nearest"}},
        {"resize": {"mode": "shortest_edge", "edge": 256}},
    ],
    ids=lambda mistake: " ".join(map(str, mistake.values()))[:50],
)
def test_a_mistake_of_preprocessing_moves_the_probabilities(mistake: dict[str, Any]) -> None:
    assert any(off > 0.001 for off in _vit(**mistake))


SEGFORMER: dict[str, Any] = {
    "task": "semantic-segmentation",
    "family": "segmenter",
    "input": {"width": 512, "height": 512, **IMAGENET},
    "labels": [f"class {number}" for number in range(150)],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "weights", "config"),
    [
        ("vit_classifier", "model.onnx", LABELS_OF_VIT),
        ("dinov2", "model.onnx", _embedder(DINOV2, FIRST)),
        ("segformer", "model.onnx", SEGFORMER),
        ("rt_detr", "model_original_form.onnx", test_rtdetr.CONFIG | {"labels": "labels.txt"}),
        ("clip", "vision_model.onnx", test_clip.TWO_GRAPHS),
        ("sam", "vision_encoder.onnx", test_sam.CONFIG),
        ("grounding_dino", "model.onnx", test_grounding_dino.CONFIG),
    ],
    ids=lambda value: value if isinstance(value, str) and "." not in value else "",
)
def test_a_wrong_layout_never_serves(folder: str, weights: str, config: dict[str, Any]) -> None:
    turned = {**config["input"], "layout": "NHWC"}
    with pytest.raises(VersionFailed, match=r"input\.layout 'NCHW'|the graph failed"):
        Reference.of(folder).load(config | {"input": turned}, weights).check()


def test_a_mistake_of_tokens_moves_clips_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Reference.of("clip")
    labels = reference.expected["about"]["labels"]
    asked = Options(text_prompt=" . ".join(labels), top_k=10)
    runner = reference.load(test_clip.TWO_GRAPHS, "vision_model.onnx")
    tokens = runner._family.tokenizer.inputs

    def shifted(texts: Any) -> Any:
        inputs = tokens(texts)
        return {**inputs, "input_ids": np.minimum(inputs["input_ids"] + 1, 49407)}

    monkeypatch.setattr(runner._family.tokenizer, "inputs", shifted)
    off = 0.0
    for picture in reference.pictures():
        found = {each.label: each.score for each in answer(runner, picture, asked).detections}
        expected = dict(zip(labels, picture.expected["zero_shot_probabilities"], strict=True))
        off = max(off, *(abs(found[label] - expected[label]) for label in labels))
    assert off > 0.01
