"""Each provider of a list of models: its families answer as the type says, and fit what is declared."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from hotswap.predictions import Options, Picture, Prediction
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import parse_config
from registry.model_list import parse_model_list
from registry.providers import ModelType, Providers
from runners.families.index import FAMILIES
from runners.loader import OnnxLoader
from tests.runners import (
    test_clip,
    test_grounding_dino,
    test_owlv2,
    test_plain_judge,
    test_rtdetr,
    test_sam,
    test_segmenter,
    test_whole_references,
)
from tests.runners.graphs import CLASSIFIER, constant_graph
from tests.runners.references import Reference, ReferencePicture
from tests.runners.runs import PICTURE, SCORES

PROVIDERS = Providers({name: family.task for name, family in FAMILIES.items()})
ALL = Options(threshold=0.0)
BIRDS = Options(threshold=0.0, text_prompt="a bird . a red fox .")
POINT = Options(points=((0.5, 0.5, 1),))


@dataclass(frozen=True)
class Model:
    """A graph with its config: of a reference folder, with files of others, or made here."""

    type: ModelType
    config: Mapping[str, Any]
    folder: str | None = None
    weights: str = "model.onnx"
    files: tuple[str, ...] = ()
    graph: onnx.ModelProto | None = None
    options: Options = ALL

    def put(self, folder: Path) -> None:
        """Write its files."""
        if self.graph is not None:
            (folder / self.weights).write_bytes(self.graph.SerializeToString())
        if self.folder is not None:
            root = Reference.of(self.folder).folder
            for file in (root / self.weights, *(root.parent / name for name in self.files)):
                shutil.copy(file, folder)

    def picture(self) -> Picture:
        """What it is asked about."""
        if self.folder is None:
            is_small = self.config["input"]["width"] < 100
            return PICTURE if is_small else Picture(encoded=test_plain_judge.PICTURES[0])
        return self.reference().picture

    def reference(self) -> ReferencePicture:
        """The first picture of its folder."""
        assert self.folder is not None
        return next(Reference.of(self.folder).pictures())


def _made(kind: ModelType, name: str) -> Model:
    return Model(kind, test_plain_judge.CONFIGS[name], graph=test_plain_judge.GRAPHS[name])


_EMBEDDER = test_whole_references._embedder
DINOV2 = Model("embedding", _EMBEDDER(test_whole_references.DINOV2, test_whole_references.FIRST), "dinov2")
CLIP_TOWER = Model(
    "embedding",
    _EMBEDDER(test_whole_references.CLIP, {"names": ["image_embeds"]}),
    "clip",
    "vision_model.onnx",
)
CLIP = Model(
    "classification",
    test_clip.TWO_GRAPHS,
    "clip",
    "vision_model.onnx",
    ("clip/text_model.onnx", "clip/tokenizer.json"),
    options=BIRDS,
)
SAM = Model(
    "segmentation",
    test_sam.CONFIG,
    "sam",
    "vision_encoder.onnx",
    ("sam/prompt_encoder_mask_decoder.onnx",),
    options=POINT,
)
VIT = Model(
    "classification",
    test_whole_references.LABELS_OF_VIT,
    "vit_classifier",
    files=("vit_classifier/labels.txt",),
)
#: Provider and model.
MODELS: list[tuple[str, Model]] = [
    ("ClipProvider", CLIP),
    ("ClipProvider", CLIP_TOWER),
    ("DINOv2Provider", DINOV2),
    ("EmbedderProvider", DINOV2),
    ("SAMProvider", SAM),
    ("ViTProvider", VIT),
    ("SegFormerProvider", Model("segmentation", test_segmenter.REFERENCE, "segformer")),
    (
        "RTDETRProvider",
        Model(
            "detection",
            test_rtdetr.CONFIG | {"labels": "labels.txt"},
            "rt_detr",
            files=("rt_detr/labels.txt",),
        ),
    ),
    (
        "OWLv2Provider",
        Model("detection", test_owlv2.CONFIG, "owlv2", files=("clip/tokenizer.json",), options=BIRDS),
    ),
    (
        "GroundingDINOProvider",
        Model(
            "detection",
            test_grounding_dino.CONFIG,
            "grounding_dino",
            files=("grounding_dino/tokenizer.json",),
            options=BIRDS,
        ),
    ),
    ("YOLOv5Provider", _made("detection", "yolov5")),
    ("YOLOv8Provider", _made("detection", "yolov8")),
    ("YOLOv8Provider", _made("detection", "yolov8-seg")),
    ("YOLOv8SegProvider", _made("segmentation", "yolov8-seg")),
    ("DETRProvider", _made("detection", "detr")),
    ("ClassifierProvider", Model("classification", CLASSIFIER, graph=constant_graph(SCORES))),
]


def _answer(folder: Path, provider: str, model: Model) -> Prediction:
    """What a model says that is declared with a provider and its type."""
    model.put(folder)
    text = f"models: [{{name: m, type: {model.type}, provider: {provider}, warmup: {{samples: 1}}}}]"
    profiles = parse_model_list(text, PROVIDERS)
    found = Artifact(
        tag=ModelTag("m", "v1"),
        path=folder,
        weights=folder / model.weights,
        digest="sha256:" + "0" * 64,
        config=parse_config(json.dumps(model.config)),
        created=datetime.now(UTC),
        size_bytes=1,
    )
    runner = OnnxLoader(max_pixels=100_000_000, thread_cap=2, profiles=lambda: profiles).load(found)
    (answer,) = runner.predict([model.picture()], model.options).items
    return answer


#: What an answer of each type has.
SHOWS: Mapping[ModelType, Callable[[Prediction], bool]] = {
    "embedding": lambda answer: answer.embedding is not None and answer.embedding.ndim == 1,
    "classification": lambda answer: bool(answer.detections) and answer.detections[0].bbox is None,
    "detection": lambda answer: bool(answer.detections) and answer.detections[0].bbox is not None,
    "segmentation": lambda answer: bool(answer.detections) and answer.detections[0].mask is not None,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "model"),
    MODELS,
    ids=[f"{name} {model.type} {model.config['family']}" for name, model in MODELS],
)
def test_a_providers_model_is_what_was_declared_and_answers_as_its_type_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, provider: str, model: Model
) -> None:
    assert model.config["family"] in PROVIDERS.named(provider).families
    with caplog.at_level(logging.WARNING):
        answer = _answer(tmp_path, provider, model)
    assert SHOWS[model.type](answer)
    assert caplog.text == ""


@pytest.mark.parametrize(("provider", "model"), [("ClipProvider", CLIP_TOWER), ("DINOv2Provider", DINOV2)])
def test_vectors_are_those_of_the_original(tmp_path: Path, provider: str, model: Model) -> None:
    vector = _answer(tmp_path, provider, model).embedding
    assert vector is not None
    arrays = np.load(Reference.of(str(model.folder)).folder / "expected.npz")
    expected = np.array(model.reference().expected.get("embedding") or arrays["image_embeds_0"])
    cosine = float(vector @ expected / (np.linalg.norm(vector) * np.linalg.norm(expected)))
    assert cosine >= 0.99998
