"""Tensors straight into the graph: what it declares, what fits it, what it gives."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from hotswap.errors import BadRequest, ModelFailed
from hotswap.predictions import TensorSpec
from tests.runners.graphs import CLASSIFIER, constant_graph, load


@pytest.fixture
def runner(tmp_path):
    outputs = {"scores": np.array([0.25, 0.5, 0.125]), "more": np.array([[1.0], [2.0]])}
    config = CLASSIFIER | {"output": {"names": ["scores"]}}
    return load(tmp_path, constant_graph(outputs), config)


def test_it_tells_what_the_graph_declares(runner):
    assert runner.inputs == (TensorSpec("image", "FP32", (-1, 3, 8, 8)),)
    assert runner.outputs == (TensorSpec("scores", "FP32", (-1, 3)), TensorSpec("more", "FP32", (-1, 2, 1)))


def test_bytes_stay_bytes(tmp_path):
    config = CLASSIFIER | {"input": {"width": 8, "height": 8, "dtype": "uint8"}}
    graph = constant_graph({"out": np.array([0.1, 0.2, 0.3])}, dtype=TensorProto.UINT8)
    assert load(tmp_path, graph, config).inputs == (TensorSpec("image", "UINT8", (-1, 3, 8, 8)),)


def test_all_outputs_come_unless_some_are_named(runner):
    image = {"image": np.zeros((2, 3, 8, 8), np.float32)}
    found = runner.infer(image, ())
    assert list(found.arrays) == ["scores", "more"]
    assert found.arrays["scores"].tolist() == [[0.25, 0.5, 0.125]] * 2
    assert found.timings.inference > 0
    assert list(runner.infer(image, ["more"]).arrays) == ["more"]


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({}, "image missing; the model takes image"),
        ({"picture": np.zeros(1)}, "no input 'picture'"),
        ({"image": np.zeros((1, 3, 8, 8))}, "takes FP32, found float64"),
        ({"image": np.zeros((1, 3, 8, 9), np.float32)}, r"takes \[-1, 3, 8, 8\], found \[1, 3, 8, 9\]"),
        ({"image": np.zeros((3, 8, 8), np.float32)}, r"found \[3, 8, 8\]"),
        ({"image": np.zeros((1, 3, 8, 8), np.float32), "x": np.zeros(1)}, "no input 'x'"),
    ],
)
def test_what_does_not_fit_is_named(runner, inputs, why):
    with pytest.raises(BadRequest, match=why):
        runner.infer(inputs, ())


def test_an_unknown_output_is_named(runner):
    with pytest.raises(BadRequest, match="'labels'; the model has scores, more"):
        runner.infer({"image": np.zeros((1, 3, 8, 8), np.float32)}, ["labels"])


def test_a_batch_of_nothing_gives_nothing(runner):
    assert runner.infer({"image": np.zeros((0, 3, 8, 8), np.float32)}, ()).arrays["scores"].shape == (0, 3)


def test_a_closed_model_answers_nothing(runner):
    runner.close()
    with pytest.raises(ModelFailed):
        runner.infer({"image": np.zeros((1, 3, 8, 8), np.float32)}, ())
