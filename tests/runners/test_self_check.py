"""A version is warmed and checked before it may answer; outputs that are none never become an answer."""

from __future__ import annotations

import numpy as np
import pytest

from hotswap.errors import ModelFailed, VersionFailed
from hotswap.predictions import Options
from tests.runners.graphs import CLASSIFIER, FASTESTDET, SHAPES, constant_graph, load
from tests.runners.pictures import encode, smooth
from tests.runners.runs import PICTURE, SCORES, count_runs


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("document", "shape"), [(CLASSIFIER, (3,)), (SHAPES, (6, 2, 2)), (FASTESTDET, (7, 2, 2))]
)
def test_outputs_that_are_no_numbers_never_become_an_answer(tmp_path, document, shape, value):
    array = np.full(shape, 0.125, np.float32)
    array.flat[-1] = value
    runner = load(tmp_path, constant_graph({"predictions": array}), document)
    with pytest.raises(ModelFailed, match="predictions holds NaN"):
        runner.predict([PICTURE], Options())
    with pytest.raises(VersionFailed, match=r"self-check on noise: .*predictions holds NaN"):
        runner.check()
    with pytest.raises(VersionFailed, match=r"warm-up on noise: .*predictions holds NaN"):
        runner.warm()


@pytest.mark.parametrize(
    ("document", "shape", "words"),
    [
        (CLASSIFIER, (4,), r"\[3\] .*found \[4\]"),
        (SHAPES, (7, 2, 2), r"\[6, H, W\].*found \[7, 2, 2\]"),
        (FASTESTDET, (6, 2, 2), r"\[7, H, W\].*found \[6, 2, 2\]"),
    ],
)
def test_the_check_finds_outputs_that_do_not_fit_the_labels(tmp_path, document, shape, words):
    runner = load(tmp_path, constant_graph({"predictions": np.zeros(shape)}), document)
    with pytest.raises(VersionFailed, match=words):
        runner.check()


def test_warming_runs_as_often_as_the_config_says(tmp_path, monkeypatch):
    model = constant_graph(SCORES, shape=(1, 3, 8, 8))
    runner = load(tmp_path, model, CLASSIFIER | {"warm_up": {"runs": 3}})
    batches = count_runs(runner, monkeypatch)
    runner.warm()
    assert batches == [1] * 3


def test_without_golden_pictures_four_generated_ones_are_tried(tmp_path, monkeypatch):
    runner = load(tmp_path, constant_graph(SCORES, shape=(1, 3, 8, 8)), CLASSIFIER)
    batches = count_runs(runner, monkeypatch)
    runner.check()
    assert batches == [1] * 4


def _golden(tmp_path, content):
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "a.png").write_bytes(content)
    return load(tmp_path, constant_graph(SCORES), CLASSIFIER | {"golden": [{"file": "golden/a.png"}]})


def test_the_check_takes_the_golden_pictures(tmp_path):
    _golden(tmp_path, encode(smooth(9, 9), "PNG")).check()


def test_a_golden_picture_that_is_broken_fails_the_version(tmp_path):
    with pytest.raises(VersionFailed, match=r"self-check on golden/a\.png: .*PNG is truncated"):
        _golden(tmp_path, encode(smooth(9, 9), "PNG")[:60]).check()


def test_a_golden_picture_that_is_missing_fails_the_version(tmp_path):
    runner = _golden(tmp_path, b"")
    (tmp_path / "golden" / "a.png").unlink()
    with pytest.raises(VersionFailed, match=r"golden/a\.png cannot be read: No such file"):
        runner.check()
