"""Configs inferred from published models, held against the configs and answers that are known of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotswap.predictions import Detection, Options, Picture
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import ModelConfig, ResizeConfig
from models_import.candidates import Wanted, candidates
from models_import.errors import ImportRefused
from models_import.importer import Importer
from models_import.inferred_config import Given, InferredConfig, infer_config
from models_import.store import ModelStore
from runners.loader import OnnxLoader
from tests import data as test_folder
from tests.runners import golden
from tests.runners.test_golden import CLASSIFIERS, DETECTORS

#: Each runs real models over many pictures; on a busy machine that alone takes seconds.
pytestmark = pytest.mark.timeout(60)

#: The fields of `input` that a graph never tells.
UNTOLD = ("colour_order", "resize", "scale", "mean", "std")
#: The assumption is v2, which v1 cannot contradict: its graph is the same.
WRONG = {"fastestdet_v1": {"output.parameters.objectness_exponent", "output.parameters.class_exponent"}}


@pytest.fixture(scope="module")
def data() -> Path:
    return test_folder.need_data()


def file_of(data: Path, model: str) -> Path:
    return data / "models" / golden.reference_entry(data, model)["file"]


def known_config(data: Path, model: str) -> ModelConfig:
    if model in DETECTORS:
        return golden.catalogue_config(*DETECTORS[model])
    return golden.classifier_config(data, model)


def load(inferred: InferredConfig) -> Any:
    return golden.load_model(inferred.path, inferred.config)


@pytest.mark.parametrize("model", [*DETECTORS, *CLASSIFIERS])
def test_the_config_is_that_which_is_known(data: Path, model: str) -> None:
    inferred, known = infer_config(file_of(data, model)), known_config(data, model)
    config = inferred.config
    assert (config.task, config.family) == (known.task, known.family)
    assert config.labels == known.labels
    assert config.input == known.input
    assert config.thresholds == known.thresholds or model in WRONG or model in CLASSIFIERS
    if model in DETECTORS and model not in WRONG:
        assert config.output == known.output or config.output.parameters == known.output.parameters


@pytest.mark.parametrize("model", [*DETECTORS, *CLASSIFIERS])
def test_what_no_graph_tells_is_marked(data: Path, model: str) -> None:
    inferred = infer_config(file_of(data, model))
    of_bytes = inferred.config.input.dtype == "uint8"
    marked = ("colour_order", "resize") if of_bytes else UNTOLD
    assert {f"input.{field}" for field in marked} <= inferred.assumptions.keys()
    assert WRONG.get(model, set()) <= inferred.assumptions.keys()
    assert not {"family", "labels", "input.width", "input.layout"} & inferred.assumptions.keys()


@pytest.mark.slow
@pytest.mark.parametrize("model", [model for model in DETECTORS if model not in WRONG])
def test_detections_are_those_of_the_reference(data: Path, model: str) -> None:
    runner = load(infer_config(file_of(data, model)))
    match = golden.compare(data, model.removesuffix("_dyn"), runner, pictures=12)
    assert match.stable >= 2
    assert match.good, match


@pytest.mark.slow
@pytest.mark.parametrize("model", CLASSIFIERS)
def test_first_labels_are_those_of_the_reference(data: Path, model: str) -> None:
    items = json.loads((data / "golden" / "classification.json").read_bytes())["items"]
    stable = [one for one in items if one["model"] == model and one["top1_stable"]]
    if not stable:
        pytest.skip(f"the reference holds no answers of {model}")
    runner = load(infer_config(file_of(data, model)))
    for item in stable:
        best = golden.answer(runner, data / item["image"], threshold=0.0).detections[0]
        assert (best.label, best.label_id) == (item["top"][0]["label"], item["top"][0]["class_id"])


def test_vectors_are_those_of_the_reference(data: Path) -> None:
    inferred = infer_config(file_of(data, "mobilenet_v1_embed"))
    assert (inferred.config.family, inferred.config.output.parameters) == ("embedder", {"dimension": 1024})
    runner = load(inferred)
    items = json.loads((data / "golden" / "embedding.json").read_bytes())["items"]
    items = [one for one in items if one["model"] == "mobilenet_v1_embed"]
    assert items
    for item in items[:5]:
        (answer,) = runner.predict([golden.full_size(data / item["image"])], Options()).items
        assert answer.embedding is not None
        first = np.array(item["first_8_normalised"], np.float32)
        assert answer.embedding[:8] == pytest.approx(first, abs=0.003)


def test_a_bare_vector_is_asked_about(data: Path) -> None:
    path = file_of(data, "person_reid_0288")
    with pytest.raises(ImportRefused, match="--family embedder"):
        infer_config(path)
    inferred = infer_config(path, Given(family="embedder"))
    given = inferred.config.input
    assert (given.layout, given.width, given.height) == ("NHWC", 128, 256)
    assert {"input.colour_order", "input.scale"} <= inferred.assumptions.keys()


@pytest.mark.slow
def test_classes_of_pixels_are_those_of_the_reference(data: Path) -> None:
    config = infer_config(file_of(data, "deeplab_v3_voc")).config
    # What no graph tells is as its manifest says: -1..1.
    given = config.input
    assert (config.family, given.layout, len(config.labels)) == ("segmenter", "NHWC", 21)
    assert [(pixel * given.scale - 1) for pixel in (0, 255)] == pytest.approx([-1, 1])
    assert (given.mean, given.std, given.resize) == ([1.0] * 3, None, ResizeConfig())
    runner = golden.load_model(file_of(data, "deeplab_v3_voc"), config)
    items = json.loads((data / "golden" / "segmentation.json").read_bytes())["items"]
    for item in items[:6]:
        (answer,) = runner.predict([golden.full_size(data / item["image"])], Options()).items
        found = {each.label: _share(each) for each in answer.detections}
        # The reference says how far another resize than its own moves the classes; ours is another.
        slack = 0.02 + 1 - item["pixel_agreement_with_other_resize"]
        for label, share in item["class_fraction"].items():
            assert found.get(label, 0.0) == pytest.approx(share, abs=slack), item["image"]


def _share(found: Detection) -> float:
    """The share of the picture that a mask covers."""
    assert found.mask is not None
    return float(found.mask.pixels().mean())


@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.parametrize("model", ["yolox_nano", "mobilenet_v2_imagenet", "mobilenet_v1_embed"])
def test_it_comes_in_and_answers(data: Path, tmp_path: Path, model: str) -> None:
    folder = tmp_path / model / "v1"
    folder.mkdir(parents=True)
    shutil.copyfile(file_of(data, model), folder / "weights.onnx")
    inferred = infer_config(file_of(data, model))
    (folder / "config.json").write_text(inferred.text())
    (candidate,) = candidates(folder, Wanted())
    imported = Importer(tmp_path / "home").run(candidate)
    assert imported.unreviewed == tuple(inferred.assumptions)
    version = ModelStore(tmp_path / "home" / "models").settle(ModelTag(model, "v1"))
    assert isinstance(version, Artifact)
    runner = OnnxLoader(max_pixels=50_000_000, thread_cap=1).load(version)
    picture = Picture(encoded=(data / "images" / "coral" / "parrot.jpg").read_bytes())
    (answer,) = runner.predict([picture], Options(threshold=0.1)).items
    if answer.embedding is None:
        assert answer.detections[0].label in {"bird", "macaw"}
    else:
        assert answer.embedding.shape == (1024,)
