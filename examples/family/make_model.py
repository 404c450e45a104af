"""Writes a version of a model of family `spots`: a graph that was never trained, and its config.

usage: python make_model.py FOLDER [GAIN]

The graph takes the mean of each 8x8 pixels: label `bright` is GAIN times that, label `dark` GAIN times the
rest to 1. The greater of the scores on a plain picture shows which.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

SIDE, CELL = 64, 8
CONFIG = {
    "task": "object-detection",
    "family": "spots",
    "description": "The brightest and the darkest place of a picture",
    "licence": "Apache-2.0",
    "input": {"width": SIDE, "height": SIDE, "scale": 1 / 255},
    "labels": ["bright", "dark"],
    "thresholds": {"score": 0.2},
}


def main(folder: Path, gain: float) -> None:
    """Write weights.onnx and config.json into `folder`."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1]),
        helper.make_node("AveragePool", ["grey"], ["light"], kernel_shape=[CELL] * 2, strides=[CELL] * 2),
        helper.make_node("Sub", ["one", "light"], ["shade"]),
        helper.make_node("Concat", ["light", "shade"], ["both"], axis=1),
        helper.make_node("Mul", ["both", "gain"], ["heat"]),
    ]
    numbers = [
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in (("one", 1), ("gain", gain))
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])
    heat = helper.make_tensor_value_info("heat", TensorProto.FLOAT, ["N", 2, SIDE // CELL, SIDE // CELL])
    graph = helper.make_graph(nodes, "spots", [image], [heat], numbers)
    folder.mkdir(parents=True, exist_ok=True)
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
        folder / "weights.onnx",
    )
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
