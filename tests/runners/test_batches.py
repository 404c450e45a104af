"""Several pictures take one run of the graph where it can, one run each where it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from examples import exposure_graph
from hotswap.errors import BadPicture, ModelFailed, PictureTooLarge, UnsupportedPicture
from hotswap.predictions import Options, Picture
from tests.runners.graphs import CLASSIFIER, as_model, constant_graph, load
from tests.runners.pictures import encode, smooth
from tests.runners.runs import SCORES, count_runs, frames, one_only


def test_an_open_batch_takes_several_pictures_in_one_run(tmp_path, monkeypatch):
    runner = load(tmp_path, exposure_graph.build(), exposure_graph.config())
    single = [runner.predict([frame], Options()).items[0] for frame in frames(5)]
    runner.check()
    batches = count_runs(runner, monkeypatch)
    together = runner.predict(frames(5), Options()).items
    assert batches == [5]
    assert [one.detections[0].label for one in together] == [one.detections[0].label for one in single]
    assert [one.scores[0] for one in together] == pytest.approx([one.scores[0] for one in single], abs=1e-6)


def test_no_more_is_decoded_at_once_than_one_picture_may_have(tmp_path, monkeypatch):
    runner = load(tmp_path, exposure_graph.build(), exposure_graph.config())
    runner.check()
    batches = count_runs(runner, monkeypatch)
    assert len(runner.predict(frames(19), Options()).items) == 19
    assert batches == [8, 8, 3]
    batches.clear()
    monkeypatch.setattr(runner, "_max_pixels", 2 * 8 * 8)
    assert len(runner.predict(frames(5), Options()).items) == 5
    assert batches == [2, 2, 1]


def test_no_pictures_have_no_answers(tmp_path):
    runner = load(tmp_path, exposure_graph.build(), exposure_graph.config())
    assert runner.predict([], Options()).items == ()


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("broken", "kind", "said"),
    [
        (b"\xff\xd8\xff", BadPicture, "the JPEG has no pixels"),
        (b"", BadPicture, "empty"),
        (b"GIF89a" + bytes(20), UnsupportedPicture, "GIF"),
        (encode(smooth(100, 50), "PNG"), PictureTooLarge, "100x50"),
    ],
    ids=["broken", "empty", "format", "pixels"],
)
def test_a_broken_picture_among_others_is_named(tmp_path, monkeypatch, *, broken, kind, said, together):
    runner = load(tmp_path, exposure_graph.build(), exposure_graph.config())
    if together:
        runner.check()
    monkeypatch.setattr(runner, "_max_pixels", 4_999)
    bad = Picture(encoded=broken)
    with pytest.raises(kind, match=rf"^picture 10 of 12 \(index 9\): .*{said}"):
        runner.predict([*frames(9), bad, bad, *frames(1)], Options())
    with pytest.raises(kind, match=said) as alone:
        runner.predict([bad], Options())
    assert "of 1" not in alone.value.message


def test_a_batch_of_one_takes_pictures_one_by_one(tmp_path, monkeypatch):
    runner = load(tmp_path, constant_graph(SCORES, shape=(1, 3, 8, 8)), CLASSIFIER)
    runner.check()
    batches = count_runs(runner, monkeypatch)
    assert len(runner.predict(frames(3), Options()).items) == 3
    assert batches == [1, 1, 1]


def test_a_batch_that_is_open_in_name_only_is_found_out(tmp_path, monkeypatch):
    runner = load(tmp_path, one_only(), CLASSIFIER)
    runner.check()
    batches = count_runs(runner, monkeypatch)
    assert len(runner.predict(frames(3), Options()).items) == 3
    assert batches == [1, 1, 1]


def test_an_answer_for_fewer_pictures_than_sent_is_no_answer(tmp_path, monkeypatch):
    scores = numpy_helper.from_array(np.array([[0.5, 0.25, 0.125]], np.float32), "fixed")
    model = as_model(
        helper.make_graph(
            [helper.make_node("Identity", ["fixed"], ["scores"])],
            "fixed",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 3])],
            [scores],
        )
    )
    runner = load(tmp_path, model, CLASSIFIER)
    runner._batches = True
    with pytest.raises(ModelFailed, match=r"scores should hold 2 picture\(s\), found \[1, 3\]"):
        runner.predict(frames(2), Options())
    runner.check()
    assert len(runner.predict(frames(2), Options()).items) == 2
