"""Any graph as a model: tensors by the names, types and shapes that it declares, or pictures."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from onnx import TensorProto

from hotswap.errors import BadRequest, ModelFailed, VersionFailed
from hotswap.predictions import Options, TensorSpec
from hotswap.runner import Stop
from manifest.version_manifest import BadManifest, parse_config
from runners.families.index import check_config
from tests.runners.graphs import CLASSIFIER, constant_graph, load
from tests.runners.runs import PICTURE, SCORES, frames
from tests.runners.tensor_graphs import GENERIC, PICTURED, looping, mixed, one_node, sequence

TEXTS = one_node("Identity", takes=TensorProto.STRING, gives=TensorProto.STRING)
TENSORS = {
    "a": np.array([[1, 2], [3, 4]], np.float32),
    "k": np.array([2**40, -1]),
    "flag": np.array([True]),
}


def checked(folder, model, config):
    runner = load(folder, model, config)
    runner.warm()
    runner.check()
    return runner


def test_a_graph_of_several_inputs_answers_by_its_own_names_and_types(tmp_path):
    runner = checked(tmp_path, mixed(), GENERIC)
    assert runner.inputs == (
        TensorSpec("a", "FP32", (-1, 2)),
        TensorSpec("k", "INT64", (-1,)),
        TensorSpec("flag", "BOOL", (-1,)),
    )
    found = runner.infer(TENSORS, ()).arrays
    assert found["sum"].tolist() == [[2, 3], [4, 5]]
    assert found["twice"].tolist() == [2**41, -2]
    assert (found["twice"].dtype, found["neither"].dtype) == (np.int64, np.bool_)


def test_pictures_are_refused_with_the_inputs_that_there_are(tmp_path):
    with pytest.raises(BadRequest, match=r"thing:v1 takes no pictures.*a FP32 \[-1, 2\], k INT64"):
        checked(tmp_path, mixed(), GENERIC).predict([PICTURE], Options())


def test_a_picture_gives_the_outputs_where_the_config_describes_the_input(tmp_path):
    runner = checked(tmp_path, constant_graph(SCORES), PICTURED)
    one, two = runner.predict(frames(2), Options()).items
    assert one.tensors["scores"].tolist() == two.tensors["scores"].tolist() == [0.5, 0.25, 0.125]
    assert one.detections == ()
    image = {"image": np.zeros((1, 3, 8, 8), np.float32)}
    assert runner.infer(image, ()).arrays["scores"].shape == (1, 3)
    with pytest.raises(BadRequest, match="points: family 'generic' takes no such option"):
        runner.predict([PICTURE], Options(points=((0.5, 0.5, 1),)))


@pytest.mark.parametrize(
    ("name", "array", "why"),
    [
        ("a", np.zeros((2, 2)), "takes FP32, found float64"),
        ("a", np.zeros((2, 3), np.float32), r"takes \[-1, 2\], found \[2, 3\]"),
        ("k", np.zeros((2, 1), np.int64), r"takes \[-1\], found \[2, 1\]"),
        ("b", np.zeros(1), "no input 'b'; the model takes a, flag, k"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, name, array, why):
    with pytest.raises(BadRequest, match=why):
        load(tmp_path, mixed(), GENERIC).infer(TENSORS | {name: array}, ())


def test_open_sides_are_one_in_the_check_unless_the_config_says_else(tmp_path):
    fixed = one_node("Concat", ["N", 2], axis=0)
    checked(tmp_path, fixed, GENERIC)
    needs_two = one_node("DepthToSpace", [1, "C", 1, 1], blocksize=2)
    with pytest.raises(VersionFailed, match=r"self-check on zeros \(x \[1, 1, 1, 1\]\).*check_shapes"):
        load(tmp_path, needs_two, GENERIC).check()
    with pytest.raises(VersionFailed, match="warm-up on zeros"):
        load(tmp_path, needs_two, GENERIC).warm()
    shapes = {"output": {"parameters": {"check_shapes": {"x": [1, 8, 1, 1]}}}}
    checked(tmp_path, needs_two, GENERIC | shapes)


def test_no_run_where_the_config_wants_none(tmp_path):
    load(
        tmp_path, one_node("DepthToSpace", [1, "C", 1, 1], blocksize=2), GENERIC | {"warm_up": {"runs": 0}}
    ).warm()


@pytest.mark.parametrize(
    ("model", "config", "why"),
    [
        (TEXTS, {}, "x: BYTES is not supported"),
        (one_node("Identity", [2**20, 2**20]), {}, "have 1099511627776 elements"),
        (mixed(), {"output": {"parameters": {"check_shapes": {"z": [1]}}}}, "the inputs a, k, flag, found z"),
        (mixed(), {"output": {"names": ["z"]}}, "output.names: the graph has sum, twice, neither, found z"),
        (mixed(), {"graphs": {"a": {"file": "weights.onnx"}, "b": {"file": "x"}}}, "needs none, found b"),
    ],
)
def test_what_no_request_could_ask_is_refused_at_the_import(tmp_path, model, config, why):
    with pytest.raises(VersionFailed, match=why):
        load(tmp_path, model, GENERIC | config)


def test_only_the_outputs_that_the_config_names_are_offered(tmp_path):
    with_parts = checked(tmp_path, sequence(), GENERIC)
    assert isinstance(with_parts.infer({"x": TENSORS["a"]}, ()).arrays["parts"], list)
    runner = checked(tmp_path, sequence(), GENERIC | {"output": {"names": ["whole"]}})
    assert [spec.name for spec in runner.outputs] == ["whole"]
    assert list(runner.infer({"x": TENSORS["a"]}, ()).arrays) == ["whole"]
    with pytest.raises(BadRequest, match="no output 'parts'; the model has whole"):
        runner.infer({"x": TENSORS["a"]}, ["parts"])


@pytest.mark.parametrize("shape", [(), (2,), (2, 1, 3)])
def test_an_input_of_unknown_rank_takes_any(tmp_path, shape):
    runner = checked(tmp_path, one_node("Neg", None), GENERIC)
    assert runner.infer({"x": np.ones(shape, np.float32)}, ()).arrays["y"].shape == shape


def test_what_only_the_graph_can_refuse_is_its_failure(tmp_path):
    with pytest.raises(ModelFailed, match="must have exactly one element"):
        load(tmp_path, looping(), GENERIC).infer({"n": np.zeros((2, 2), np.int64)}, ())


@pytest.mark.parametrize(("turns", "total"), [(5, 5), (0, 0), (-3, -1)])
def test_loops_and_branches_run(tmp_path, turns, total):
    runner = checked(tmp_path, looping(), GENERIC)
    assert runner.infer({"n": np.array(turns)}, ()).arrays["total"] == total


def test_a_loop_without_end_ends_when_nobody_waits(tmp_path):
    runner, stop = load(tmp_path, looping(), GENERIC), Stop()
    failures: list[Exception] = []

    def run():
        try:
            runner.infer({"n": np.array(2**60)}, (), stop)
        except ModelFailed as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    stop.give()
    thread.join(30)
    assert len(failures) == 1
    given = Stop()
    given.give()
    with pytest.raises(ModelFailed, match="ran too long, and was ended"):
        runner.infer({"n": np.array(2**60)}, (), given)


def test_a_closed_model_answers_nothing(tmp_path):
    runner = load(tmp_path, mixed(), GENERIC)
    runner.close()
    with pytest.raises(ModelFailed, match="closed"):
        runner.infer(TENSORS, ())


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (GENERIC | {"golden": [{"file": "a.png"}]}, "golden: pictures, but there is no input"),
        ({key: CLASSIFIER[key] for key in ("task", "family", "labels")}, "input: missing"),
        (GENERIC | {"task": "image-embedding"}, "family 'generic' does 'tensors'"),
        (GENERIC | {"output": {"parameters": {"check_shapes": {"x": [-1]}}}}, "check_shapes"),
    ],
)
def test_a_config_says_what_is_wrong(config, why):
    with pytest.raises(BadManifest, match=why):
        check_config(parse_config(json.dumps(config)))


def test_texts_and_outputs_without_a_batch_are_no_answer_for_a_picture(tmp_path):
    texts = one_node("Cast", ["N", 3, 8, 8], gives=TensorProto.STRING, to=TensorProto.STRING)
    with pytest.raises(VersionFailed, match="output y holds no numbers"):
        load(tmp_path, texts, PICTURED).check()
    mean = one_node("ReduceMean", ["N", 3, 8, 8], keepdims=0)
    with pytest.raises(VersionFailed, match=r"output y should hold 1 picture\(s\), found \[\]"):
        load(tmp_path, mean, PICTURED).check()


def test_what_a_version_is_checked_on_can_be_run_again_on_request(tmp_path):
    runner = checked(tmp_path, mixed(), GENERIC)
    zeros, noise = runner.trials()
    assert (zeros.picture, noise.picture) == (None, None)
    assert zeros.tensors.keys() == {"a", "k", "flag"}
    for trial in (zeros, noise):
        assert set(runner.infer(trial.tensors, ()).arrays) == {spec.name for spec in runner.outputs}
    pictured = checked(tmp_path, constant_graph(SCORES), PICTURED)
    trials = pictured.trials()
    assert len(trials) == 4
    for trial in trials:
        assert len(pictured.predict([trial.picture], trial.options).items) == 1
