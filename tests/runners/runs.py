"""What runners are asked in tests, and how often they then run their graph."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hotswap.predictions import Picture
from tests.runners.graphs import as_model
from tests.runners.pictures import encode, smooth

SCORES = {"scores": np.array([0.5, 0.25, 0.125])}
PICTURE = Picture(encoded=encode(smooth(30, 20), "PNG"))


def frames(count):
    """Decoded pictures of 8x8, each of one shade, from black on."""
    return [Picture(pixels=np.full((8, 8, 3), 255 * i // count, np.uint8)) for i in range(count)]


def count_runs(runner, monkeypatch):
    """A list that grows by the size of the batch at each run of the graph."""
    batches = []
    run = runner._graphs.picture.run

    def counting(inputs, names, count, unbounded):
        batches.append(count)
        return run(inputs, names, count, unbounded)

    monkeypatch.setattr(runner._graphs.picture, "run", counting)
    return batches


def one_only() -> onnx.ModelProto:
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
