"""The families that name the whole picture."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from examples import exposure_graph
from hotswap.errors import ModelFailed, VersionFailed
from hotswap.predictions import Detection, Options, Picture
from manifest.version_manifest import parse_config
from runners.families.index import family_of
from runners.geometry import place
from tests.runners.graphs import CLASSIFIER, SHAPES, load

WHOLE = place("stretch", (8, 8), (8, 8))


def _family(parameters=None, **changes):
    output = {"parameters": parameters or {}}
    return family_of(parse_config(json.dumps(CLASSIFIER | {"output": output} | changes)))


def _find(family, values, options=Options()):  # noqa: B008 - frozen
    outputs = {"out": np.array(values, dtype=np.float32)}
    family.check(outputs)
    return family.find(outputs, WHOLE, options).detections


def test_labels_come_by_falling_score_without_a_box():
    found = _find(_family(), [0.25, 0.625, 0.125])
    assert found == (
        Detection("b", 1, 0.625, None),
        Detection("a", 0, 0.25, None),
        Detection("c", 2, 0.125, None),
    )
    assert type(found[0].score) is float


@pytest.mark.parametrize(
    ("parameters", "options", "labels"),
    [
        ({"top_k": 2}, Options(), ["b", "a"]),
        ({"top_k": 2}, Options(max_detections=1), ["b"]),
        ({}, Options(threshold=0.25), ["b", "a"]),
        ({}, Options(threshold=0.9), []),
    ],
)
def test_how_many_labels(parameters, options, labels):
    assert [one.label for one in _find(_family(parameters), [0.25, 0.625, 0.125], options)] == labels


def test_the_models_threshold_counts_when_the_request_has_none():
    family = _family(thresholds={"score": 0.5})
    assert [one.label for one in _find(family, [0.25, 0.625, 0.125])] == ["b"]


def test_softmax_turns_logits_into_scores():
    found = _find(_family({"softmax": True}), [1.0, 1000.0, 999.0])
    assert [one.score for one in found] == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0])


def test_logits_without_softmax_are_refused_with_the_remedy():
    with pytest.raises(ModelFailed, match="softmax to true"):
        _find(_family(), [1.0, 7.0, -3.0])


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 2)])
def test_as_many_scores_as_labels(shape):
    with pytest.raises(ModelFailed, match=r"\[3\].*found"):
        _family().check({"out": np.zeros(shape, np.float32)})


def test_the_output_is_found_by_name():
    assert _family({"scores": "p"}).reads(["embedding", "p"]) == ("p",)
    assert _family().reads(["only"]) == ("only",)
    with pytest.raises(VersionFailed, match=r"output\.names.*embedding, p"):
        _family().reads(["embedding", "p"])
    with pytest.raises(VersionFailed, match=r"scores: the graph has embedding, p, found 'q'"):
        _family({"scores": "q"}).reads(["embedding", "p"])


@pytest.mark.parametrize(("base", "usual"), [(exposure_graph.config(), "scores"), (SHAPES, "predictions")])
def test_our_own_graphs_have_a_usual_output_which_the_config_may_replace(base, usual):
    left_out = family_of(parse_config(json.dumps(base | {"output": {}})))
    assert left_out.reads(["other", usual]) == (usual,)
    assert left_out.reads(["other"]) == ("other",)
    named = family_of(parse_config(json.dumps(base | {"output": {"names": ["other"]}})))
    assert named.reads(["other", usual]) == ("other",)


@pytest.fixture(scope="module")
def exposure(tmp_path_factory):
    runner = load(tmp_path_factory.mktemp("exposure"), exposure_graph.build(), exposure_graph.config())
    runner.check()
    return runner


@pytest.mark.parametrize(
    ("grey", "label"),
    [
        (0, "dark"),
        (30, "dark"),
        (80, "normal"),
        (128, "normal"),
        (180, "normal"),
        (230, "bright"),
        (255, "bright"),
    ],
)
def test_exposure_calls_frames_dark_normal_or_bright(exposure, grey, label):
    frame = np.full((30, 50, 3), grey, dtype=np.uint8)
    (found,) = exposure.predict([Picture(pixels=frame)], Options()).items[0].detections
    assert (found.label, found.bbox) == (label, None)
    assert 0.5 < found.score <= 1


def test_exposure_keeps_quiet_below_the_threshold(exposure):
    frame = np.full((30, 50, 3), 51, dtype=np.uint8)
    (prediction,) = exposure.predict([Picture(pixels=frame)], Options(threshold=0.95)).items
    assert prediction.detections == ()


def test_the_exposure_graph_measures_luminance(tmp_path):
    import onnxruntime

    session = onnxruntime.InferenceSession(exposure_graph.build(), providers=["CPUExecutionProvider"])
    frames = np.random.default_rng(0).uniform(0, 1, (5, 3, 64, 64)).astype(np.float32)
    frames *= np.linspace(0, 1, 5, dtype=np.float32).reshape(5, 1, 1, 1)
    luminance, scores = session.run(["luminance", "scores"], {"image": frames})
    red, green, blue = frames.mean(axis=(2, 3)).T
    assert luminance[:, 0] == pytest.approx(0.2126 * red + 0.7152 * green + 0.0722 * blue, abs=1e-5)
    assert scores.sum(axis=1) == pytest.approx(1.0)


def test_the_exposure_graph_is_the_same_every_time():
    assert exposure_graph.build() == exposure_graph.build()
