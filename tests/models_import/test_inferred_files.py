"""Every file of the test data: its inferred config is right, or says what it assumed, or there is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from manifest.version_manifest import ModelConfig, parse_config
from models_import.errors import ImportRefused
from models_import.inferred_config import Given, InferredConfig, infer_config
from tests import data as test_folder
from tests.runners import golden, test_clip, test_grounding_dino, test_owlv2, test_rtdetr, test_sam
from tests.runners.test_golden import CLASSIFIERS, DETECTORS
from tests.runners.test_whole_references import DINOV2, LABELS_OF_VIT, SEGFORMER

pytestmark = pytest.mark.timeout(60)

RT_DETR = test_rtdetr.CONFIG | {"labels": [f"label {number}" for number in range(80)]}
SIZED = Given(size=(640, 640))
#: File → the config that is right, or None where nothing can be told; and what the caller must say.
REFERENCES: Mapping[str, tuple[dict[str, Any] | None, Given]] = {
    "clip/model.onnx": (test_clip.CONFIG, Given()),
    "clip/vision_model.onnx": (
        {
            "task": "image-embedding",
            "family": "embedder",
            "input": test_clip.CONFIG["input"],
            "output": {"names": ["image_embeds"]},
        },
        Given(),
    ),
    "clip/text_model.onnx": (None, Given()),
    "dinov2/model.onnx": (
        {
            "task": "image-embedding",
            "family": "embedder",
            "input": DINOV2,
            "output": {"names": ["pooler_output"]},
        },
        Given(size=(224, 224)),
    ),
    "grounding_dino/model.onnx": (test_grounding_dino.CONFIG, Given()),
    "owlv2/model.onnx": (test_owlv2.CONFIG, Given()),
    "rt_detr/model.onnx": (RT_DETR, SIZED),
    "rt_detr/model_original_form.onnx": (RT_DETR, Given()),
    "sam/vision_encoder.onnx": (test_sam.CONFIG, Given()),
    "sam/prompt_encoder_mask_decoder.onnx": (None, Given()),
    "sam_original/encoder.onnx": (test_sam.ORIGINAL, Given()),
    "sam_original/encoder_with_preprocess.onnx": (test_sam.INSIDE, Given()),
    "sam_original/decoder.onnx": (None, Given()),
    "segformer/model.onnx": (SEGFORMER, Given()),
    "vit_classifier/model.onnx": (LABELS_OF_VIT, Given()),
}
#: Second graph of a model → the one beside it that takes the picture.
FIRST_GRAPHS = {
    "clip/text_model.onnx": r"vision_model\.onnx",
    "sam/prompt_encoder_mask_decoder.onnx": r"vision_encoder\.onnx",
    "sam_original/decoder.onnx": r"encoder\.onnx",
}
#: Models of real weights of which nothing can be told: what a vector means.
UNTOLD = {"person_reid_0288"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, since `config infer` may write beside a graph."""
    original, copy = test_folder.need_data(), tmp_path_factory.mktemp("data")
    for name in ("models", "reference"):
        if (original / name).is_dir():
            shutil.copytree(original / name, copy / name, copy_function=shutil.copyfile)
    if (copy / "reference" / "clip").is_dir():
        shutil.copyfile(
            copy / "reference" / "clip" / "tokenizer.json", copy / "reference" / "owlv2" / "tokenizer.json"
        )
    return copy


def _wrong(inferred: InferredConfig, known: ModelConfig) -> set[str]:
    """The fields of the input that differ from what is right."""
    ours, theirs = (config.input.model_dump() for config in (inferred.config, known))
    unused = {"pad"} if known.input.resize.mode in ("stretch", "shortest_edge", "centre_crop") else set()
    # An input left out is the only one.
    unused |= {"name"} if theirs["name"] is None else set()
    different = {name for name in ours if ours[name] != theirs[name] and name not in unused}
    return {f"input.{name}" for name in different if not _near(ours[name], theirs[name])}


def _near(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return ours == pytest.approx(theirs)
    if isinstance(ours, list) and isinstance(theirs, list):
        return bool(ours == pytest.approx(theirs))
    return False


def _same_values(inferred: InferredConfig, known: ModelConfig) -> bool:
    """Whether (pixel * scale - mean) / std is the same function, however it is written."""

    def ends(config: ModelConfig) -> list[float]:
        given = config.input
        mean, std = given.mean or [0.0] * 3, given.std or [1.0] * 3
        return [(pixel * given.scale - m) / s for pixel in (0, 255) for m, s in zip(mean, std, strict=True)]

    return ends(inferred.config) == pytest.approx(ends(known), abs=1e-4)


def test_every_file_is_listed(data: Path) -> None:
    references = {path.relative_to(data / "reference").as_posix() for path in data.glob("reference/*/*.onnx")}
    models = {path.stem for path in data.glob("models/*/*.onnx")}
    assert references <= REFERENCES.keys()
    assert models <= {*DETECTORS, *CLASSIFIERS, *UNTOLD, "mobilenet_v1_embed", "deeplab_v3_voc"}


@pytest.mark.parametrize("file", REFERENCES)
def test_a_reference_is_right_or_says_what_it_assumed(data: Path, file: str) -> None:
    path, (document, given) = data / "reference" / file, REFERENCES[file]
    if not path.is_file():
        pytest.skip(f"the test data have no reference/{file}")
    if document is None:
        with pytest.raises(ImportRefused, match=rf"infer .*{FIRST_GRAPHS[file]}.* instead"):
            infer_config(path, given)
        return
    known, inferred = parse_config(json.dumps(document)), infer_config(path, given)
    assert (inferred.config.family, inferred.config.task) == (known.family, known.task)
    wrong = _wrong(inferred, known)
    if _same_values(inferred, known):
        wrong -= {"input.scale", "input.mean", "input.std"}
    assert wrong == set()
    assert inferred.config.graphs == known.graphs or known.family == "clip"
    if known.output.names:
        assert inferred.config.output.names == known.output.names


@pytest.mark.parametrize("model", [*DETECTORS, *CLASSIFIERS])
def test_a_model_is_right_or_says_what_it_assumed(data: Path, model: str) -> None:
    path = data / "models" / golden.reference_entry(test_folder.need_data(), model)["file"]
    inferred = infer_config(path)
    known = (
        golden.catalogue_config(*DETECTORS[model])
        if model in DETECTORS
        else golden.classifier_config(data, model)
    )
    assert (inferred.config.family, inferred.config.labels) == (known.family, known.labels)
    assert _wrong(inferred, known) == set()


@pytest.mark.parametrize("model", sorted(UNTOLD))
def test_what_nothing_tells_is_asked_about(data: Path, model: str) -> None:
    with pytest.raises(ImportRefused):
        infer_config(data / "models" / golden.reference_entry(test_folder.need_data(), model)["file"])
