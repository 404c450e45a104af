"""The published models give the published answers, through the real decode and pre-processing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hotswap.predictions import Options
from manifest.version_manifest import parse_config
from runners.placed_graph import open_session
from tests import data as test_folder
from tests.runners import golden

#: Each runs real models over many pictures; on a busy machine that alone takes seconds.
pytestmark = pytest.mark.timeout(60)

#: Each of the reference's detectors, and what describes it in the catalogue.
DETECTORS = {
    "fastestdet_v1": ("fastestdet", "v1"),
    "fastestdet_v2": ("fastestdet", "v2"),
    "fastestdet_v2_dyn": ("fastestdet", "v2"),
    "yolox_nano": ("yolox_nano", "v1"),
    "yolox_nano_dyn": ("yolox_nano", "v1"),
    "nanodet_m_320": ("nanodet_m_320", "v1"),
    "nanodet_m_416": ("nanodet_m_416", "v1"),
    "ultraface_rfb_320": ("ultraface_rfb_320", "v1"),
    "ultraface_slim_320": ("ultraface_slim_320", "v1"),
}
CLASSIFIERS = (
    "mobilenet_v2_imagenet",
    "mobilenet_v1_050_160_imagenet",
    "mobilenet_v1_025_128_imagenet",
    "mobilenet_v2_inat_bird",
)


@pytest.fixture(scope="module")
def data():
    return test_folder.need_data()


@pytest.mark.slow
def test_the_other_versions_formula_is_caught(data):
    runner = golden.fastestdet(data, "v2", objectness_exponent=1.0, class_exponent=1.0)
    assert not golden.compare(data, "fastestdet_v2", runner).good


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "version", "model"),
    [("fastestdet", "v2", "fastestdet_v2"), ("yolox_nano", "v1", "yolox_nano")],
)
def test_a_batch_gives_what_single_pictures_give(data, name, version, model):
    weights = data / "models" / golden.reference_entry(data, f"{model}_dyn")["file"]
    runner = golden.load_model(weights, golden.catalogue_config(name, version))
    runner.check()
    assert golden.compare(data, model, runner, pictures=12).good
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


@pytest.mark.parametrize("model", [*DETECTORS, *CLASSIFIERS])
def test_the_graphs_alone_answer_as_the_reference(data, model, capfd):
    items = json.loads((data / "golden" / "raw_probe.json").read_bytes())["items"]
    probe = next(one for one in items if one["model"] == model)
    if model in DETECTORS:
        config = golden.catalogue_config(*DETECTORS[model])
    else:
        config = golden.classifier_config(data, model)
    weights = data / "models" / golden.reference_entry(data, model)["file"]
    runner = golden.load_model(weights, config, open_session)  # opened here: it must be silent, too
    names = [output["name"] for output in probe["outputs"]]
    picture = _probe(probe["input"]["shape"], probe["input"]["dtype"])
    graph = runner._graphs.picture
    outputs = graph.run({graph.picture: picture}, names, len(picture))
    for wanted in probe["outputs"]:
        found = outputs[wanted["name"]]
        assert list(found.shape) == wanted["shape"]
        assert found.sum(dtype=np.float64) == pytest.approx(wanted["sum"], rel=1e-3, abs=1e-3)
        assert int(found.argmax()) == wanted["argmax"]
        assert found.max() == pytest.approx(wanted["max"], rel=1e-3, abs=1e-4)
        assert found.ravel()[:8].tolist() == pytest.approx(wanted["first_8"], rel=1e-3, abs=1e-4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
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
