"""Graphs that are odd on purpose: refused with a reason before they answer, whatever the family."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hotswap.errors import ModelFailed, VersionFailed
from hotswap.predictions import Options
from manifest.version_manifest import parse_config
from runners import onnx_runner, tensor_runner
from runners.families.base import Found
from runners.families.classifier import Classifier
from runners.families.exposure import LABELS
from runners.families.index import FAMILIES, family_of
from runners.geometry import place
from tests.runners.graphs import CLASSIFIER, as_model, constant_graph, load
from tests.runners.pictures import encode, smooth
from tests.runners.runs import PICTURE, SCORES
from tests.runners.tensor_graphs import GENERIC, one_node, sequence

#: The least `output.parameters` of families that need some.
PARAMETERS = {"fastestdet": {"objectness_exponent": 1.0, "class_exponent": 1.0}}
STRETCHED = place("stretch", (30, 20), (64, 64))
VALUE = helper.make_tensor_value_info
SHAPES = [(), (0,), (1,), (3,), (5, 0), (3, 3), (2, 3, 4), (1, 0, 7), (6, 2, 2, 2), (1, 1, 1, 1, 1)]


def config_of(name):
    """A config of any family, for inputs of 64x64 and three labels."""
    return {
        "task": FAMILIES[name].task,
        "family": name,
        "input": {"width": 64, "height": 64},
        "labels": list(LABELS) if name == "exposure" else ["a", "b", "c"],
        "tokenizer": "tokenizer.json",
        "output": {"parameters": PARAMETERS.get(name, {})},
    }


def readers():
    """Families that read plain outputs: the others' prompts and graphs have tests of their own."""
    other = {name for name, family in FAMILIES.items() if family.tokenized or family.other_graphs}
    return sorted(FAMILIES.keys() - other - {"adapter"})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", readers())
def test_outputs_of_any_rank_give_an_answer_or_the_model_fails(name, shape):
    family = family_of(parse_config(json.dumps(config_of(name))))
    usual = getattr(family, "names", None) or ("out",)
    for dtype in (np.float32, np.float16, np.float64, np.int64, np.bool_):
        outputs = {each: np.zeros(shape, dtype) for each in usual}
        with suppress(ModelFailed):
            family.check(outputs)
            assert isinstance(family.find(outputs, STRETCHED, Options(threshold=0.0)), Found)


@pytest.mark.parametrize("shape", [(), (2,), (2, 2), (3, 1, 2), (0,)])
def test_a_classifier_of_another_rank_never_serves(tmp_path, shape):
    runner = load(tmp_path, constant_graph({"scores": np.zeros(shape)}), CLASSIFIER)
    with pytest.raises(VersionFailed, match="self-check on noise"):
        runner.check()


@pytest.mark.parametrize(
    ("node", "gives"),
    [
        (helper.make_node("SequenceConstruct", ["image"], ["y"]), None),
        (helper.make_node("Cast", ["image"], ["y"], to=TensorProto.STRING), TensorProto.STRING),
        (helper.make_node("Shape", ["image"], ["y"]), TensorProto.INT64),
    ],
)
def test_outputs_that_are_no_numbers_or_of_no_picture_never_serve(tmp_path, node, gives):
    output = (
        helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
        if gives is None
        else VALUE("y", gives, ["a", "b", "c", "d"][: 1 if gives == TensorProto.INT64 else 4])
    )
    image = VALUE("image", TensorProto.FLOAT, ["N", 3, 8, 8])
    model = as_model(helper.make_graph([node], "odd", [image], [output]))
    with pytest.raises(VersionFailed, match="self-check on noise"):
        load(tmp_path, model, CLASSIFIER).check()


def loop(turns: int) -> onnx.ModelProto:
    """Scores [1, 3] of a picture, after a loop of so many turns in one branch of an If."""
    state = [VALUE("i", TensorProto.INT64, []), VALUE("on", TensorProto.BOOL, []), VALUE("v", 1, [1, 3])]
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["goes"]), helper.make_node("Mul", ["v", "half"], ["w"])],
        "turn",
        state,
        [VALUE("goes", TensorProto.BOOL, []), VALUE("w", 1, [1, 3])],
    )
    then = helper.make_graph(
        [helper.make_node("Loop", ["turns", "", "start"], ["t"], body=body)],
        "then",
        [],
        [VALUE("t", 1, [1, 3])],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["start"], ["e"])], "other", [], [VALUE("e", 1, [1, 3])]
    )
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], keepdims=0),
        helper.make_node("Less", ["grey", "limit"], ["dark"]),
        helper.make_node("If", ["dark"], ["scores"], then_branch=then, else_branch=other),
    ]
    weights = [
        numpy_helper.from_array(np.array(turns, np.int64), "turns"),
        numpy_helper.from_array(np.array([[0.5, 0.25, 0.125]], np.float32), "start"),
        numpy_helper.from_array(np.array(0.5, np.float32), "half"),
        numpy_helper.from_array(np.array(10, np.float32), "limit"),
    ]
    image = VALUE("image", TensorProto.FLOAT, [1, 3, 8, 8])
    return as_model(helper.make_graph(nodes, "loop", [image], [VALUE("scores", 1, [1, 3])], weights))


def test_loops_and_branches_in_a_graph_for_pictures_run(tmp_path):
    runner = load(tmp_path, loop(2), CLASSIFIER)
    runner.check()
    dark = type(PICTURE)(encoded=encode(smooth(8, 8) * 0, "PNG"))
    assert runner.predict([PICTURE], Options()).items[0].scores == (0.5, 0.25, 0.125)
    assert runner.predict([dark], Options()).items[0].scores == (0.125, 0.0625, 0.03125)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["warm", "check"])
def test_a_graph_that_loops_for_ever_is_refused(tmp_path, monkeypatch, step):
    for module in (onnx_runner, tensor_runner):
        monkeypatch.setattr(module, "TRIAL_LIMIT", 0.2)
    black = {"golden": [{"file": "black.png"}]}
    (tmp_path / "black.png").write_bytes(encode(smooth(8, 8) * 0, "PNG"))
    with pytest.raises(VersionFailed, match=r"black\.png: the graph ran too long, and was ended"):
        getattr(load(tmp_path, loop(2**60), CLASSIFIER | black), step)()
    model = loop(2**60)
    with pytest.raises(VersionFailed, match=r"on zeros.*ran too long"):
        getattr(load(tmp_path, model, GENERIC), step)()


def test_a_limit_of_a_check_is_none_of_later_runs(tmp_path):
    runner = load(tmp_path, constant_graph(SCORES), CLASSIFIER)
    runner.check()
    assert runner._graphs.picture.stop is None


@pytest.mark.parametrize("error", [KeyError("x"), IndexError("y"), ValueError("z")])
def test_what_a_family_raises_is_the_failure_of_the_model(tmp_path, monkeypatch, error):
    def complete(self, outputs, others, placed, options):
        raise error

    monkeypatch.setattr(Classifier, "complete", complete)
    with pytest.raises(ModelFailed, match="the outputs cannot be read"):
        load(tmp_path, constant_graph(SCORES), CLASSIFIER).predict([PICTURE], Options())


@pytest.mark.parametrize("model", [sequence(), one_node("Neg", [1, 3, 8])])
def test_graphs_without_a_picture_are_refused_for_pictures(tmp_path, model):
    with pytest.raises(VersionFailed, match="4 axes"):
        load(tmp_path, model, CLASSIFIER)
