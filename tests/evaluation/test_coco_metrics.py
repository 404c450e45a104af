"""Average precision is that of pycocotools, on pictures that are made up and on real ones."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from evaluation.coco_metrics import AREAS, PictureMatcher, figures, mean_figures
from evaluation.coco_truth import TrueObject, TruePicture, read_coco
from hotswap.predictions import Detection, Options, Picture
from models_import.catalogue import choose, config_of, entries
from tests.data import need_data
from tests.evaluation.coco import close, made_up, reference
from tests.runners.golden import load_model, reference_of

LABELS = ("cat", "dog", "bird")


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("seed", range(6))
def test_made_up_pictures_have_the_figures_of_pycocotools(seed: int, area: str) -> None:
    pictures = made_up(seed, LABELS)
    matches = [PictureMatcher(found, truth).matches(area) for truth, found in pictures]
    own, theirs = figures(matches, LABELS, 0.5, area), reference(pictures, LABELS, area)
    assert set(own) == set(theirs["classes"])
    for label, each in own.items():
        assert close(asdict(each), theirs["classes"][label]), (label, each, theirs["classes"][label])
    assert close(mean_figures(own), theirs)


def test_precision_and_recall_are_those_of_the_reported_findings() -> None:
    box, away = (0.0, 0.0, 0.5, 0.5), (0.6, 0.6, 0.9, 0.9)
    truth = TruePicture(
        "a", 100, 100, (TrueObject("cat", (0, 0, 50, 50), 2500), TrueObject("cat", (50, 0, 90, 40), 1))
    )
    found = [Detection("cat", 0, 0.9, box), Detection("cat", 0, 0.7, away), Detection("cat", 0, 0.2, away)]
    each = figures([PictureMatcher(found, truth).matches()], ["cat"], 0.5)["cat"]
    assert (each.precision, each.recall, each.objects, each.found) == (0.5, 0.5, 2, 2)
    weak = figures([PictureMatcher(found, truth).matches()], ["cat"], 0.1)["cat"]
    assert weak.precision == pytest.approx(1 / 3)
    assert figures([PictureMatcher(found, truth).matches()], ["cat"], 0.95)["cat"].precision is None


def test_a_label_without_objects_has_no_figures_and_one_without_findings_has_none_right() -> None:
    truth = TruePicture("a", 100, 100, (TrueObject("cat", (0, 0, 50, 50), 2500),))
    matches = [PictureMatcher([Detection("dog", 0, 0.9, (0, 0, 1, 1))], truth).matches()]
    found = figures(matches, ["cat", "dog"], 0.5)
    assert set(found) == {"cat"}
    assert (found["cat"].ap, found["cat"].recall) == (0.0, 0.0)
    assert mean_figures({}) == {}


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "version"), [("fastestdet", "v1"), ("fastestdet", "v2"), ("yolox_nano", None)]
)
def test_real_detectors_have_the_figures_of_pycocotools(name: str, version: str | None) -> None:
    data = need_data()
    entry = choose(entries(), name, version)
    weights = reference_of(data, entry.sha256, str(entry.url))
    assert weights is not None
    config = config_of(entry)
    runner = load_model(data / "models" / weights["file"], config)
    truth = read_coco(data / "images" / "instances.json")
    pictures = []
    for each in truth.pictures.values():
        encoded = Picture(encoded=(data / "images" / "coco" / each.name).read_bytes())
        answered = runner.predict([encoded], Options(threshold=0.01)).items[0]
        assert (answered.width, answered.height) == (each.width, each.height)
        pictures.append((each, list(answered.detections)))
    labels = sorted(truth.labels & set(config.labels))
    assert len(labels) > 60
    own = figures([PictureMatcher(found, each).matches() for each, found in pictures], labels, 0.5)
    theirs = reference(pictures, labels)
    means = mean_figures(own)
    for measure in ("ap", "ap50", "ap75", "ar"):
        assert means[measure] == pytest.approx(theirs[measure], abs=1e-3)
    assert theirs["ap50"] > 0.15
