"""Family `ultraface`, on tensors made by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hotswap.errors import ModelFailed, VersionFailed
from hotswap.predictions import Options
from manifest.version_manifest import BadManifest, parse_config
from runners.families.index import family_of
from runners.geometry import place

DOCUMENT = {
    "task": "object-detection",
    "family": "ultraface",
    "input": {"width": 32, "height": 24},
    "labels": ["face"],
}
BOX = (0.1, 0.2, 0.3, 0.6)
WHOLE = place("stretch", (80, 40), (32, 24))


def _family(**parts):
    return family_of(parse_config(json.dumps(DOCUMENT | parts)))


def _outputs(*rows):
    """One row each: the score of the first label, and the box."""
    scores = np.array([(1 - score, score) for score, _ in rows], np.float32)
    return {"scores": scores, "boxes": np.array([box for _, box in rows], np.float32)}


def _find(family, outputs, options=Options(), geometry=WHOLE):  # noqa: B008 - frozen
    family.check(outputs)
    return family.find(outputs, geometry, options).detections


def test_a_row_is_a_face():
    (found,) = _find(_family(), _outputs((0.1, (0, 0, 1, 1)), (0.8, BOX), (0.4, (0, 0, 1, 1))))
    assert (found.label, found.label_id) == ("face", 0)
    assert found.score == pytest.approx(0.8)
    assert found.bbox == pytest.approx(BOX)


def test_background_is_no_label():
    assert _find(_family(), _outputs((0.0, BOX))) == ()


def test_several_labels():
    outputs = {"scores": np.array([[0.1, 0.2, 0.7]], np.float32), "boxes": np.array([BOX], np.float32)}
    (found,) = _find(_family(labels=["face", "mask"]), outputs)
    assert (found.label, found.score) == ("mask", pytest.approx(0.7))


def test_the_letterbox_is_taken_off():
    geometry = place("letterbox", (24, 24), (32, 24))
    (found,) = _find(_family(), _outputs((0.9, (0.25, 0.25, 0.5, 0.5))), geometry=geometry)
    assert found.bbox == pytest.approx((1 / 3, 0.25, 2 / 3, 0.5))


@pytest.mark.parametrize(
    ("options", "count"),
    [(Options(), 1), (Options(threshold=0.2), 2), (Options(threshold=0.2, max_detections=1), 1)],
)
def test_the_request_may_choose_threshold_and_number(options, count):
    outputs = _outputs((0.3, (0.5, 0.5, 0.9, 0.9)), (0.8, BOX))
    assert len(_find(_family(), outputs, options)) == count


def test_of_faces_that_overlap_the_best_stays():
    outputs = _outputs((0.7, (0.1, 0.2, 0.3, 0.5)), (0.8, BOX))
    assert [found.score for found in _find(_family(), outputs)] == pytest.approx([0.8])


@pytest.mark.parametrize("names", [["s", "b"], ["boxes", "scores"]])
def test_an_export_with_other_names_lists_scores_first(names):
    family = _family(output={"names": names})
    assert family.reads(names[::-1]) == tuple(names)
    outputs = dict(zip(names, _outputs((0.8, BOX)).values(), strict=True))
    assert len(_find(family, outputs)) == 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadManifest, match=r"reads 2 outputs \(scores, boxes\), found scores"):
        _family(output={"names": ["scores"]})
    with pytest.raises(VersionFailed, match="'ultraface' reads scores, boxes: the graph has output;"):
        _family().reads(["output"])


@pytest.mark.parametrize(
    ("scores", "boxes", "what"),
    [
        ((5, 3), (5, 4), r"\[K, 2\] .*for scores, found \[5, 3\]"),
        ((5,), (5, 4), r"for scores, found \[5\]"),
        ((5, 2), (4, 4), r"\[5, 4\] for boxes, found \[4, 4\]"),
        ((5, 2), (5,), r"for boxes, found \[5\]"),
    ],
)
def test_another_shape_is_named(scores, boxes, what):
    with pytest.raises(ModelFailed, match=what):
        _family().check({"scores": np.zeros(scores, np.float32), "boxes": np.zeros(boxes, np.float32)})


@pytest.mark.parametrize("value", [3.0, -2.0])
def test_scores_that_are_not_activated_are_refused(value):
    outputs = _outputs((0.3, BOX), (0.8, BOX))
    outputs["scores"][...] = value
    with pytest.raises(ModelFailed, match=r"class scores must lie in 0\.\.1"):
        _find(_family(), outputs)
