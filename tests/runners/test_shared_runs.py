"""Several requests take one run of the graph; each has its own answer, error and deadline."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from examples import exposure_graph
from hotswap.errors import BadPicture, DeadlineExceeded, ModelFailed
from hotswap.predictions import DeadlineBoundImages, Options, Picture, Predictions
from hotswap.runner import BatchRunner
from manifest.version_manifest import ResizeConfig
from tests.runners.graphs import CLASSIFIER, load
from tests.runners.runs import count_runs, frames, one_only


@pytest.fixture
def runner(tmp_path):
    made = load(tmp_path, exposure_graph.build(), exposure_graph.config())
    made.check()
    return made


def requests(pictures):
    return [(picture,) for picture in pictures]


def test_requests_share_a_run_and_are_answered_as_alone(runner, monkeypatch):
    alone = [runner.predict([frame], Options()).items[0] for frame in frames(5)]
    runs = count_runs(runner, monkeypatch)
    together = [outcome.items for outcome in runner.predict_each(requests(frames(5)), Options())]
    assert runs == [5]
    assert [len(items) for items in together] == [1] * 5
    assert [items[0].scores for items in together] == [pytest.approx(one.scores, abs=1e-6) for one in alone]


def test_a_broken_picture_and_a_passed_deadline_fail_no_neighbour(runner, monkeypatch):
    first, second, third = frames(3)
    late = DeadlineBoundImages((second,), time.monotonic() - 1)
    runs = count_runs(runner, monkeypatch)
    found = runner.predict_each([(first,), (Picture(encoded=b""),), late, (third,)], Options())
    assert [type(each) for each in found] == [Predictions, BadPicture, DeadlineExceeded, Predictions]
    assert runs == [2]
    assert found[0].items[0].scores != found[3].items[0].scores
    # The frames of an error would keep the pictures of the others.
    assert [each.__traceback__ for each in found[1:3]] == [None, None]


def test_nothing_but_errors_runs_nothing(runner, monkeypatch):
    runs = count_runs(runner, monkeypatch)
    (found,) = runner.predict_each([(Picture(encoded=b""),)], Options())
    assert (type(found), runs) == (BadPicture, [])


def test_a_run_that_fails_is_done_again_one_by_one(runner, monkeypatch):
    see = runner._see

    def fail_for_white(decoded, options, timings):
        if any(each.image.getpixel((0, 0))[0] > 100 for each in decoded):
            raise ModelFailed("output scores holds NaN or infinity")
        return see(decoded, options, timings)

    monkeypatch.setattr(runner, "_see", fail_for_white)
    found = runner.predict_each(requests(frames(3)), Options())
    assert [type(each) for each in found] == [Predictions, Predictions, ModelFailed]


def test_an_answer_says_how_many_requests_shared_its_run(runner):
    found = runner.predict_each(requests(frames(3)), Options())
    assert [each.sharing for each in found] == [3, 3, 3]


def test_no_more_pixels_are_decoded_at_once_than_one_picture_may_have(runner, monkeypatch):
    runs = count_runs(runner, monkeypatch)
    monkeypatch.setattr(runner, "_max_pixels", 2 * 8 * 8)
    assert len(runner.predict_each(requests(frames(5)), Options())) == 5
    assert runs == [2, 2, 1]


def test_only_a_graph_that_was_seen_to_take_several_pictures_batches(tmp_path):
    frozen = load(tmp_path, one_only(), CLASSIFIER)
    frozen.check()
    assert not frozen.batches


def test_inputs_as_large_as_their_largest_picture_are_not_shared(runner):
    assert isinstance(runner, BatchRunner)
    assert runner.batches
    config = runner._artifact.config
    picture = config.input.model_copy(update={"resize": ResizeConfig(mode="keep_aspect", edge=8)})
    config = config.model_copy(update={"picture": picture})
    runner._artifact = replace(runner._artifact, config=config)
    assert not runner.batches
