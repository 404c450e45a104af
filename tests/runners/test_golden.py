"""The published models give the published answers, through the real decode and pre-processing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hotswap.manifest import parse_config
from hotswap.runner import Options
from runners.families import check_config
from tests import data as test_folder
from tests.runners import golden

VERSIONS = ("v1", "v2")
CLASSIFIERS = (
    "mobilenet_v2_imagenet",
    "mobilenet_v1_050_160_imagenet",
    "mobilenet_v1_025_128_imagenet",
    "mobilenet_v2_inat_bird",
)


@pytest.fixture(scope="module")
def data():
    return test_folder.need_data()


@pytest.fixture(scope="module")
def detectors(data):
    return {version: golden.fastestdet(data, version) for version in VERSIONS}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_catalogues_configs_are_complete(version):
    config = golden.catalogue_config(version)
    check_config(config)
    assert len(config.labels) == 80
    assert config.licence == "BSD-3-Clause"
    assert config.output.parameters.keys() == {"objectness_exponent", "class_exponent"}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_catalogue_says_what_the_reference_says(data, version):
    config = golden.catalogue_config(version)
    entry = golden.reference_entry(data, f"fastestdet_{version}")
    assert config.labels == (data / "models" / entry["labels_file"]).read_text().splitlines()
    assert config.thresholds.score == entry["output"]["score_threshold"]
    assert config.thresholds.nms_iou == entry["output"]["nms_iou"]


@pytest.mark.parametrize("version", VERSIONS)
def test_detections_match_the_reference(data, detectors, version):
    detectors[version].check()
    match = golden.compare(data, f"fastestdet_{version}", detectors[version])
    assert match.stable > 70
    assert match.good, match


@pytest.mark.parametrize("version", VERSIONS)
def test_average_precision_is_that_of_the_reference(data, detectors, version):
    measured = golden.reference_entry(data, f"fastestdet_{version}")["measured"]
    ours = golden.measure_ap50(data, detectors[version])
    assert ours == pytest.approx(measured["ap50_mean_over_classes"], abs=0.02)
    assert ours == pytest.approx(measured["ap50_with_pillow_bilinear"], abs=0.02)


def test_swapped_colours_are_caught(data):
    config = golden.recoloured(golden.catalogue_config("v2"))
    runner = golden.load_model(data / "models" / "fastestdet" / "fastestdet_v2.onnx", config)
    assert not golden.compare(data, "fastestdet_v2", runner).good


def test_the_other_versions_formula_is_caught(data):
    runner = golden.fastestdet(data, "v2", objectness_exponent=1.0, class_exponent=1.0)
    assert not golden.compare(data, "fastestdet_v2", runner).good


def test_a_batch_gives_what_single_pictures_give(data):
    config = golden.catalogue_config("v2")
    runner = golden.load_model(data / "models" / "fastestdet" / "fastestdet_v2_dyn.onnx", config)
    runner.check()
    assert golden.compare(data, "fastestdet_v2", runner).good
    files = sorted((data / "images" / "coco").glob("*.jpg"))[:6]
    single = [golden.answer(runner, file) for file in files]
    together = golden.answers(runner, files)
    for one, other in zip(single, together, strict=True):
        assert [found.label for found in one.detections] == [found.label for found in other.detections]
        assert one.scores == pytest.approx(other.scores, abs=1e-4)


def _probe(shape, dtype):
    values = (np.arange(np.prod(shape)) * 37 + 11) % 256
    array = values.reshape(shape).astype(np.uint8)
    return array if dtype == "uint8" else array.astype(np.float32) / 255


@pytest.mark.parametrize("model", ["fastestdet_v1", "fastestdet_v2", "fastestdet_v2_dyn", *CLASSIFIERS])
def test_the_graphs_alone_answer_as_the_reference(data, model, capfd):
    items = json.loads((data / "golden" / "raw_probe.json").read_bytes())["items"]
    probe = next(one for one in items if one["model"] == model)
    version = "v1" if model.endswith("det_v1") else "v2"
    config = golden.catalogue_config(version) if "det" in model else golden.classifier_config(data, model)
    runner = golden.load_model(data / "models" / golden.reference_entry(data, model)["file"], config)
    names = [output["name"] for output in probe["outputs"]]
    outputs = runner._session.run(_probe(probe["input"]["shape"], probe["input"]["dtype"]), names)
    for wanted in probe["outputs"]:
        found = outputs[wanted["name"]]
        assert list(found.shape) == wanted["shape"]
        assert found.sum(dtype=np.float64) == pytest.approx(wanted["sum"], rel=1e-3, abs=1e-3)
        assert int(found.argmax()) == wanted["argmax"]
        assert found.max() == pytest.approx(wanted["max"], rel=1e-3, abs=1e-4)
        assert found.ravel()[:8].tolist() == pytest.approx(wanted["first_8"], rel=1e-3, abs=1e-4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_first_labels_match_the_reference(data, model):
    items = json.loads((data / "golden" / "classification.json").read_bytes())["items"]
    stable = [one for one in items if one["model"] == model and one["top1_stable"]]
    if not stable:
        pytest.skip(f"the reference holds no answers of {model}")
    entry = golden.reference_entry(data, model)
    runner = golden.load_model(data / "models" / entry["file"], golden.classifier_config(data, model))
    runner.check()
    for item in stable:
        wanted = item["top"][0]
        best = golden.answer(runner, data / item["image"]).detections[0]
        assert (best.label, best.label_id) == (wanted["label"], wanted["class_id"])
        # The reference decoded at full size: at a smaller DCT scale the score may move, not the label.
        (whole,) = runner.predict([golden.full_size(data / item["image"])], Options()).items
        assert whole.scores[0] == pytest.approx(wanted["score"], abs=0.005)


def test_a_config_survives_its_own_text(data):
    config = golden.classifier_config(data, CLASSIFIERS[0])
    assert parse_config(config.model_dump_json()) == config
