"""Loading, checking and running a version; what is wrong with one is said, never thrown raw."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hotswap.errors import BadPicture, ModelFailed, PictureTooLarge, VersionFailed
from hotswap.runner import Options, Picture
from runners import exposure_graph
from runners.loader import OnnxLoader
from tests.runners.graphs import CLASSIFIER, FASTESTDET, SHAPES, artifact, as_model, constant_graph, load
from tests.runners.pictures import encode, noise, smooth

SCORES = {"scores": np.array([0.5, 0.25, 0.125])}
PICTURE = Picture(encoded=encode(smooth(30, 20), "PNG"))


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


def _frames(count):
    return [Picture(pixels=np.full((8, 8, 3), 255 * i // count, np.uint8)) for i in range(count)]


def _count_runs(runner, monkeypatch):
    batches = []
    run = runner._session.run

    def counting(tensor, names):
        batches.append(len(tensor))
        return run(tensor, names)

    monkeypatch.setattr(runner._session, "run", counting)
    return batches


def test_an_open_batch_takes_several_pictures_in_one_run(tmp_path, monkeypatch):
    runner = load(tmp_path, exposure_graph.build(), exposure_graph.config())
    single = [runner.predict([frame], Options()).items[0] for frame in _frames(5)]
    runner.check()
    batches = _count_runs(runner, monkeypatch)
    together = runner.predict(_frames(5), Options()).items
    assert batches == [5]
    assert [one.detections[0].label for one in together] == [one.detections[0].label for one in single]
    assert [one.scores[0] for one in together] == pytest.approx([one.scores[0] for one in single], abs=1e-6)


def test_no_more_is_decoded_at_once_than_one_picture_may_have(tmp_path, monkeypatch):
    runner = load(tmp_path, exposure_graph.build(), exposure_graph.config())
    runner.check()
    batches = _count_runs(runner, monkeypatch)
    assert len(runner.predict(_frames(19), Options()).items) == 19
    assert batches == [8, 8, 3]
    batches.clear()
    monkeypatch.setattr(runner, "_max_pixels", 2 * 8 * 8)
    assert len(runner.predict(_frames(5), Options()).items) == 5
    assert batches == [2, 2, 1]


def test_no_pictures_have_no_answers(tmp_path):
    runner = load(tmp_path, exposure_graph.build(), exposure_graph.config())
    assert runner.predict([], Options()).items == ()


def test_a_batch_of_one_takes_pictures_one_by_one(tmp_path, monkeypatch):
    runner = load(tmp_path, constant_graph(SCORES, shape=(1, 3, 8, 8)), CLASSIFIER)
    runner.check()
    batches = _count_runs(runner, monkeypatch)
    assert len(runner.predict(_frames(3), Options()).items) == 3
    assert batches == [1, 1, 1]


def test_a_batch_that_is_open_in_name_only_is_found_out(tmp_path, monkeypatch):
    runner = load(tmp_path, _one_only(), CLASSIFIER)
    runner.check()
    batches = _count_runs(runner, monkeypatch)
    assert len(runner.predict(_frames(3), Options()).items) == 3
    assert batches == [1, 1, 1]


def _one_only() -> onnx.ModelProto:
    """A graph that says [N, …] and whose reshape was frozen at one picture."""
    nodes = [
        helper.make_node("Reshape", ["image", "sides"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("Clip", ["grey", "low", "high"], ["clipped"]),
        helper.make_node("Concat", ["clipped"] * 3, ["scores"], axis=1),
    ]
    weights = [
        numpy_helper.from_array(np.array([1, 192], np.int64), "sides"),
        numpy_helper.from_array(np.array(0, np.float32), "low"),
        numpy_helper.from_array(np.array(1, np.float32), "high"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 3])
    return as_model(helper.make_graph(nodes, "one", [image], [scores], weights))


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
    runner._together = True
    with pytest.raises(ModelFailed, match=r"scores should hold 2 picture\(s\), found \[1, 3\]"):
        runner.predict(_frames(2), Options())
    runner.check()
    assert len(runner.predict(_frames(2), Options()).items) == 2


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
    frames = _frames(64)
    wanted = [runner.predict([frame], Options()).items for frame in frames]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda frame: runner.predict([frame], Options()).items, frames)) == wanted


def test_pictures_that_cannot_be_read_are_the_callers_fault(tmp_path):
    runner = load(tmp_path, constant_graph(SCORES), CLASSIFIER)
    with pytest.raises(BadPicture):
        runner.predict([PICTURE, Picture(encoded=b"nothing")], Options())
    with pytest.raises(PictureTooLarge, match="1000000 are allowed"):
        runner.predict([Picture(encoded=encode(noise(1001, 1000), "BMP"))], Options())


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
    batches = _count_runs(runner, monkeypatch)
    runner.warm()
    assert batches == [1] * 3


def test_without_golden_pictures_four_generated_ones_are_tried(tmp_path, monkeypatch):
    runner = load(tmp_path, constant_graph(SCORES, shape=(1, 3, 8, 8)), CLASSIFIER)
    batches = _count_runs(runner, monkeypatch)
    runner.check()
    assert batches == [1] * 4


def _golden(tmp_path, content):
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "a.png").write_bytes(content)
    return load(tmp_path, constant_graph(SCORES), CLASSIFIER | {"golden": [{"file": "golden/a.png"}]})


def test_the_check_takes_the_golden_pictures(tmp_path):
    _golden(tmp_path, encode(smooth(9, 9), "PNG")).check()


def test_a_golden_picture_that_is_broken_fails_the_version(tmp_path):
    with pytest.raises(VersionFailed, match=r"self-check on golden/a\.png: .*PNG cannot be decoded"):
        _golden(tmp_path, encode(smooth(9, 9), "PNG")[:60]).check()


def test_a_golden_picture_that_is_missing_fails_the_version(tmp_path):
    runner = _golden(tmp_path, b"")
    (tmp_path / "golden" / "a.png").unlink()
    with pytest.raises(VersionFailed, match=r"golden/a\.png cannot be read: No such file"):
        runner.check()


@pytest.mark.parametrize("content", [b"", b"not a graph", constant_graph(SCORES).SerializeToString()[:-100]])
def test_weights_that_are_broken_fail_the_version_quietly(tmp_path, content, capfd):
    with pytest.raises(VersionFailed, match=r"weights\.onnx cannot be loaded"):
        load(tmp_path, content, CLASSIFIER)
    assert capfd.readouterr() == ("", "")


def test_weights_that_are_gone_fail_the_version(tmp_path):
    found = artifact(tmp_path, constant_graph(SCORES), CLASSIFIER)
    found.weights.unlink()
    with pytest.raises(VersionFailed, match=r"weights\.onnx cannot be loaded"):
        OnnxLoader(max_pixels=1000, thread_cap=1).load(found)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (CLASSIFIER | {"family": "yolo9000"}, "family: allowed are"),
        (CLASSIFIER | {"input": {"width": 16, "height": 8}}, "input.width 8, found 16"),
        (CLASSIFIER | {"output": {"names": ["score"]}}, "output.names: the graph has scores, found score"),
        (CLASSIFIER | {"output": {"parameters": {"scores": "x"}}}, "the graph has scores, found 'x'"),
    ],
)
def test_a_config_that_does_not_fit_fails_the_version(tmp_path, document, words):
    with pytest.raises(VersionFailed) as caught:
        load(tmp_path, constant_graph(SCORES), document)
    assert words in caught.value.message


def test_a_graph_that_fails_while_running_is_told_quietly(tmp_path, capfd):
    runner = load(tmp_path, _one_only(), CLASSIFIER)
    runner._together = True
    with pytest.raises(ModelFailed, match="the graph failed"):
        runner.predict(_frames(2), Options())
    assert capfd.readouterr() == ("", "")


def test_a_closed_runner_answers_nothing(tmp_path):
    runner = load(tmp_path, constant_graph(SCORES), CLASSIFIER)
    runner.close()
    with pytest.raises(ModelFailed, match="closed"):
        runner.predict([PICTURE], Options())


@pytest.mark.parametrize(("asked", "cap", "given"), [(1, 4, 1), (8, 2, 2), (3, 3, 3), (2, 0, 1)])
def test_threads_are_what_the_config_asks_up_to_the_cap(tmp_path, asked, cap, given):
    document = CLASSIFIER | {"resources": {"threads": asked}}
    loader = OnnxLoader(max_pixels=1000, thread_cap=cap)
    runner = loader.load(artifact(tmp_path, constant_graph(SCORES), document))
    options = runner._session._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (given, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def _external(location: str) -> bytes:
    """A classifier whose weights lie in another file."""
    model = constant_graph(SCORES)
    (weight,) = [one for one in model.graph.initializer if one.name == "scores.value"]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "12")):
        weight.external_data.add(key=key, value=value)
    return model.SerializeToString()


def test_weights_beside_the_graph_are_read(tmp_path):
    (tmp_path / "more.bin").write_bytes(np.array([0.5, 0.25, 0.125], np.float32).tobytes())
    (prediction,) = load(tmp_path, _external("more.bin"), CLASSIFIER).predict([PICTURE], Options()).items
    assert prediction.scores == (0.5, 0.25, 0.125)


@pytest.mark.parametrize(
    "way", ["../more.bin", "{folder}/more.bin", "a/" * 70 + "../" * 71 + "more.bin", "link.bin"]
)
def test_weights_outside_the_folder_are_refused(tmp_path, way):
    outside, inside = tmp_path / "more.bin", tmp_path / "version"
    inside.mkdir()
    outside.write_bytes(np.array([0.5, 0.25, 0.125], np.float32).tobytes())
    (inside / "link.bin").symlink_to(outside)
    with pytest.raises(VersionFailed, match="weights from outside its folder"):
        load(inside, _external(way.format(folder=tmp_path)), CLASSIFIER)
