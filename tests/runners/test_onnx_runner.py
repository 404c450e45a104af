"""Running a version: what it answers, and what is wrong with it is said, never thrown raw."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest

from examples import exposure_graph
from hotswap.errors import BadPicture, ModelFailed, PictureTooLarge
from hotswap.predictions import Options, Picture
from tests.runners.graphs import CLASSIFIER, constant_graph, load
from tests.runners.pictures import encode, noise
from tests.runners.runs import PICTURE, SCORES, frames, one_only


def test_an_answer_names_version_and_size(tmp_path):
    runner = load(tmp_path, constant_graph(SCORES), CLASSIFIER)
    (prediction,) = runner.predict([PICTURE], Options()).items
    assert (prediction.model_version, prediction.width, prediction.height) == ("v1", 30, 20)
    assert prediction.scores == (0.5, 0.25, 0.125)
    assert [one.label for one in prediction.detections] == ["a", "b", "c"]


def test_every_stage_is_timed(tmp_path):
    runner = load(tmp_path, constant_graph(SCORES), CLASSIFIER)
    timings = dataclasses.asdict(runner.predict([PICTURE, PICTURE], Options()).timings)
    assert set(timings) == {"decode", "preprocess", "inference", "postprocess"}
    assert all(0 < value < 10_000 for value in timings.values())


def test_whatever_a_family_stumbles_on_is_the_models_failure(tmp_path, monkeypatch):
    runner = load(tmp_path, constant_graph(SCORES), CLASSIFIER)
    monkeypatch.setattr(runner._family, "find", lambda *_: 1 // 0)
    with pytest.raises(ModelFailed, match=r"cannot be read: .*division"):
        runner.predict([PICTURE], Options())


def test_the_input_tensor_is_kept_for_the_next_picture(tmp_path):
    runner = load(tmp_path, constant_graph(SCORES), CLASSIFIER)
    for _ in range(3):
        runner.predict([PICTURE], Options())
    assert len(runner._preprocessor._spare) == 1


def test_no_pictures_no_answers(tmp_path):
    runner = load(tmp_path, constant_graph(SCORES), CLASSIFIER)
    assert runner.predict([], Options()).items == ()


def test_threads_do_not_mix_their_pictures(tmp_path):
    runner = load(tmp_path, exposure_graph.build(), exposure_graph.config())
    shades = frames(64)
    wanted = [runner.predict([frame], Options()).items for frame in shades]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda frame: runner.predict([frame], Options()).items, shades)) == wanted


def test_pictures_that_cannot_be_read_are_the_callers_fault(tmp_path):
    runner = load(tmp_path, constant_graph(SCORES), CLASSIFIER)
    with pytest.raises(BadPicture):
        runner.predict([PICTURE, Picture(encoded=b"nothing")], Options())
    with pytest.raises(PictureTooLarge, match="1000000 are allowed"):
        runner.predict([Picture(encoded=encode(noise(1001, 1000), "BMP"))], Options())


def test_a_graph_that_fails_while_running_is_told_quietly(tmp_path, capfd):
    runner = load(tmp_path, one_only(), CLASSIFIER)
    runner._batches = True
    with pytest.raises(ModelFailed, match="the graph failed"):
        runner.predict(frames(2), Options())
    assert capfd.readouterr() == ("", "")


def test_a_closed_runner_answers_nothing(tmp_path):
    runner = load(tmp_path, constant_graph(SCORES), CLASSIFIER)
    runner.close()
    with pytest.raises(ModelFailed, match="closed"):
        runner.predict([PICTURE], Options())
