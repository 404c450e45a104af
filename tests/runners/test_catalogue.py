"""Every detector of the catalogue through the real runner: what its entry says is so."""

from __future__ import annotations

import json

import pytest

from hotswap.errors import VersionFailed
from manifest.version_manifest import parse_config
from models_import.catalogue import CatalogueEntry, choose, config_of, entries
from tests import data as test_folder
from tests.runners import golden
from tests.runners.closeness import closeness
from tests.runners.references import Reference

#: Each runs real models over many pictures; on a busy machine that alone takes seconds.
pytestmark = pytest.mark.timeout(60)

every_entry = pytest.mark.parametrize(
    "entry", [one for one in entries() if one.quality], ids=lambda entry: str(entry.tag)
)
#: One model of each detector family whose graphs are at hand.
SAMPLES = {
    "fastestdet": "fastestdet",
    "yolox": "yolox_nano",
    "nanodet": "nanodet_m_320",
    "ultraface": "ultraface_rfb_320",
}
#: A graph of the one, under the name of the other.
MISNAMED = [(own, other) for own in SAMPLES for other in (*SAMPLES, "shapes") if own != other]


class Known:
    """The test data, asked by the catalogue's entries."""

    def __init__(self) -> None:
        self.data = test_folder.need_data()

    def reference(self, entry: CatalogueEntry):
        """What the reference says of the entry's weights; skips without."""
        found = golden.reference_of(self.data, entry.sha256, str(entry.url))
        if found is None:
            pytest.skip(f"the test data do not hold the weights of {entry.tag}")
        return found

    def load(self, entry: CatalogueEntry, config=None):
        """The entry's model in its runner."""
        weights = self.data / "models" / self.reference(entry)["file"]
        return golden.load_model(weights, config or config_of(entry))


@pytest.fixture(scope="module")
def known():
    return Known()


@every_entry
def test_the_entry_says_what_the_reference_says(known, entry):
    reference, config = known.reference(entry), config_of(entry)
    given = reference["input"]
    assert (entry.sha256, entry.size) == (reference["sha256"], reference["bytes"])
    assert str(entry.url).endswith(golden.address_end(reference))
    assert entry.licence == reference["licence"]["type"]
    assert config.task == reference["task"]
    assert config.labels == (known.data / "models" / reference["labels_file"]).read_text().splitlines()
    assert config.thresholds.score == reference["output"]["score_threshold"]
    assert config.thresholds.nms_iou == reference["output"]["nms_iou"]
    assert (config.input.mean, config.input.std) == (given["mean"], given["std"])


@pytest.mark.slow
@every_entry
def test_pictures_as_they_are_sent_give_the_references_detections(known, entry):
    model, runner = known.reference(entry)["name"], known.load(entry)
    runner.check()
    match = golden.compare(known.data, model, runner)
    assert match.stable >= 2
    assert match.good, match


@pytest.mark.slow
@every_entry
def test_scores_and_boxes_are_those_of_the_reference(known, entry):
    close = closeness(known.data, known.reference(entry)["name"], known.load(entry))
    assert close.good, close


@pytest.mark.slow
@every_entry
def test_swapped_colours_are_caught(known, entry):
    """YOLOX fed RGB instead of BGR still finds most: only the scores tell."""
    runner = known.load(entry, golden.recoloured(config_of(entry)))
    close = closeness(known.data, known.reference(entry)["name"], runner, pictures=8)
    assert not close.good, close


@pytest.mark.slow
@pytest.mark.parametrize("mistake", ["scale", "mean", "mode", "kernel"])
@pytest.mark.parametrize("family", SAMPLES)
def test_a_mistake_of_preprocessing_is_caught(known, family, mistake):
    entry = choose(entries(), SAMPLES[family], None)
    config = config_of(entry)
    changes = {
        "scale": {"scale": 1 / 255 if config.input.scale == 1 else 1.0},
        "mean": {"mean": [123.675, 116.28, 103.53] if config.input.mean is None else None, "std": None},
        "mode": {"mode": "letterbox" if config.input.resize.mode == "stretch" else "stretch"},
        "kernel": {"kernel": "nearest"},
    }[mistake]
    runner = known.load(entry, golden.mistaken(config, **changes))
    close = closeness(known.data, known.reference(entry)["name"], runner, pictures=8)
    assert not close.good, close


@pytest.mark.slow
@every_entry
def test_the_quality_is_what_is_measured_here(known, entry):
    runner, config = known.load(entry), config_of(entry)
    pictures = list((golden.faces if config.labels == ["face"] else golden.photographs)(known.data))
    objects = [truth for _, truths in pictures for truth in truths]
    measured = golden.measure_ap50(runner, pictures)
    # Another machine may round one object across a limit.
    assert entry.quality.value == pytest.approx(measured, abs=max(0.02, 1 / len(objects)))
    assert f" {len(pictures)} " in entry.quality.how
    theirs = known.reference(entry).get("measured", {}).get("ap50_with_pillow_bilinear", measured)
    assert measured == pytest.approx(theirs, abs=0.02)


@pytest.mark.parametrize(("own", "other"), MISNAMED)
def test_a_graph_under_the_name_of_another_family_is_refused(known, own, other):
    entry = choose(entries(), SAMPLES[own], None)
    document = config_of(entry).model_dump(mode="json") | {"family": other, "output": {}}
    if other == "fastestdet":
        document["output"] = {"parameters": {"objectness_exponent": 1, "class_exponent": 1}}
    config = parse_config(json.dumps(document))
    with pytest.raises(VersionFailed, match=rf"family '{other}'|should be \[.*found \["):
        known.load(entry, config).check()


#: Entry that was not tried → an export of its kind with random weights, its graphs, and what differs there.
EXPORTS = {
    "grounding_dino_tiny": ("grounding_dino", ["model.onnx"], {}),
    "clip_vit_b32": ("clip", ["vision_model.onnx", "text_model.onnx"], {}),
    "dinov2_small": ("dinov2", ["model.onnx"], {"output": {"names": ["last_hidden_state"]}}),
    "mobile_sam": ("sam_original", ["encoder_with_preprocess.onnx", "decoder.onnx"], {}),
    "rtdetr_r18": ("rt_detr", ["model.onnx"], {}),
    "rtdetr_r50": ("rt_detr", ["model.onnx"], {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTS)
def test_the_config_of_an_entry_that_was_not_tried_fits_an_export_of_its_kind(name):
    """Names, shapes, layout, tokenizer and pooling are right; the weights' quality is not looked at."""
    folder, graphs, changes = EXPORTS[name]
    document = config_of(choose(entries(), name, None)).model_dump(mode="json", exclude_unset=True)
    for graph, file in zip(document.get("graphs", {}).values(), graphs, strict=False):
        graph["file"] = file
    if "output" in changes:
        changes = {"output": {**changes["output"], "parameters": {"pooling": "first"}}}
    reference = Reference.of(folder)
    runner = reference.load(document | changes | {"warm_up": {"runs": 0}}, graphs[0])
    assert runner.inputs
