"""Detectors with seeded random weights: true names and shapes, and answers that depend on the pixels.

For families of which no export with the answers of its own library is at hand. The values are those of one
convolution per stride, so that a wrong pixel anywhere moves scores and boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.runners.graphs import as_model

#: Sides of inputs that the graphs fix, and what DETR's open one is resized to.
SIDE, EDGE, LONGEST = 128, 96, 160
LABELS = ["cat", "dog", "cow"]
PROTOTYPES = 32
#: Queries of DETR: a grid of ten by ten.
_GRID = 10
_STRIDES = (8, 16, 32)
#: Spread of the values before the sigmoid.
_GAIN = 5.0


def texture(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """A picture [height, width, 3] with coarse and fine structure, another in each colour."""
    numbers = np.random.default_rng(seed)
    coarse = Image.fromarray(numbers.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    fine = numbers.integers(-40, 41, (height, width, 3))
    return np.clip(smooth + fine, 0, 255).astype(np.uint8)


class _Graph:
    """A graph that grows node by node; `add` gives the name of what a node makes."""

    def __init__(self, seed: int) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._numbers = np.random.default_rng(seed)

    def add(self, kind: str, *inputs: str | NDArray[Any], name: str = "", **attributes: Any) -> str:
        made = name or f"value{len(self._nodes)}"
        names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        self._nodes.append(helper.make_node(kind, names, [made], **attributes))
        return made

    def _constant(self, array: NDArray[Any]) -> str:
        name = f"weight{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(array, name))
        return name

    def convolved(self, image: str, channels: int, stride: int) -> str:
        """[1, channels, h, w]: one convolution, a cell of `stride` pixels each."""
        kernel = self._numbers.normal(0, _GAIN / np.sqrt(3 * stride**2), (channels, 3, stride, stride))
        return self.add("Conv", image, kernel.astype(np.float32), strides=[stride, stride])

    def flat(self, maps: str, channels: int) -> str:
        """[1, channels, cells]."""
        return self.add("Reshape", maps, np.array([1, channels, -1], np.int64))

    def part(self, rows: str, start: int, end: int, axis: int = 1) -> str:
        bounds = (np.array([value], np.int64) for value in (start, end, axis))
        return self.add("Slice", rows, *bounds)

    def model(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> onnx.ModelProto:
        infos = [
            helper.make_tensor_value_info(
                name, TensorProto.INT64 if name == "pixel_mask" else TensorProto.FLOAT, shape
            )
            for name, shape in (*inputs.items(), *outputs.items())
        ]
        count = len(inputs)
        return as_model(helper.make_graph(self._nodes, "pixels", infos[:count], infos[count:], self._weights))


def _centres_and_sides(graph: _Graph, rows: str, stride: int) -> list[str]:
    """Centre and sides in pixels of the input, from the first four rows and the cell of each column."""
    cells = SIDE // stride
    down, across = np.divmod(np.arange(cells * cells), cells)
    cell = np.stack([across, down])[None].astype(np.float32)
    ratio = graph.add("Sigmoid", graph.part(rows, 0, 2))
    shifted = graph.add("Add", graph.add("Mul", ratio, np.array(2, np.float32)), cell - np.float32(0.5))
    centre = graph.add("Mul", shifted, np.array(stride, np.float32))
    size = graph.add("Sigmoid", graph.part(rows, 2, 4))
    squared = graph.add("Mul", size, size)
    return [centre, graph.add("Mul", squared, np.array(8 * stride, np.float32))]


def _rows(graph: _Graph, activated: int, further: int = 0) -> str:
    """[1, 4 + activated + further, cells of all strides], as heads of Ultralytics decode them."""
    channels, strides = 4 + activated + further, []
    for stride in _STRIDES:
        rows = graph.flat(graph.convolved("images", channels, stride), channels)
        parts = [
            *_centres_and_sides(graph, rows, stride),
            graph.add("Sigmoid", graph.part(rows, 4, 4 + activated)),
        ]
        if further:
            parts.append(graph.part(rows, 4 + activated, channels))
        strides.append(graph.add("Concat", *parts, axis=1))
    return graph.add("Concat", *strides, axis=2)


_IMAGES = {"images": [1, 3, SIDE, SIDE]}
CELLS = sum((SIDE // stride) ** 2 for stride in _STRIDES)


def yolov8() -> onnx.ModelProto:
    """`images` → `output0` [1, 4 + C, A]."""
    graph, columns = _Graph(8), 4 + len(LABELS)
    graph.add("Identity", _rows(graph, len(LABELS)), name="output0")
    return graph.model(_IMAGES, {"output0": [1, columns, CELLS]})


def yolov8_seg() -> onnx.ModelProto:
    """`images` → `output0` [1, 4 + C + M, A], `output1` [1, M, h, w]."""
    graph, columns, quarter = _Graph(9), 4 + len(LABELS) + PROTOTYPES, SIDE // 4
    graph.add("Identity", _rows(graph, len(LABELS), PROTOTYPES), name="output0")
    graph.add("Identity", graph.convolved("images", PROTOTYPES, 4), name="output1")
    outputs = {"output0": [1, columns, CELLS], "output1": [1, PROTOTYPES, quarter, quarter]}
    return graph.model(_IMAGES, outputs)


def yolov5() -> onnx.ModelProto:
    """`images` → `output` [1, 3 A, 5 + C], with an objectness."""
    graph, columns = _Graph(5), 5 + len(LABELS)
    anchors = [_rows(graph, 1 + len(LABELS)) for _ in range(3)]
    graph.add("Transpose", graph.add("Concat", *anchors, axis=2), name="output", perm=[0, 2, 1])
    return graph.model(_IMAGES, {"output": [1, 3 * CELLS, columns]})


def _queries(graph: _Graph, image: str, columns: int) -> tuple[str, str]:
    """Logits [1, 100, columns] and boxes [1, 100, 4] of a picture of any size."""
    channels = columns + 4
    sizes = np.array([1, channels, _GRID, _GRID], np.int64)
    maps = graph.add("Resize", graph.convolved(image, channels, 8), "", "", sizes, mode="linear")
    rows = graph.add("Transpose", graph.flat(maps, channels), perm=[0, 2, 1])
    return graph.part(rows, 0, columns, 2), graph.add("Sigmoid", graph.part(rows, columns, channels, 2))


def detr() -> onnx.ModelProto:
    """`pixel_values`, `pixel_mask` → `logits` [1, Q, C + 1], `pred_boxes` [1, Q, 4]; the sides are open."""
    graph, count = _Graph(6), len(LABELS) + 1
    logits, boxes = _queries(graph, "pixel_values", count)
    floats = graph.add("Cast", "pixel_mask", to=TensorProto.FLOAT)
    share = graph.add("ReduceMean", floats, keepdims=0)
    graph.add("Mul", logits, share, name="logits")
    graph.add("Identity", boxes, name="pred_boxes")
    inputs = {"pixel_values": [1, 3, "height", "width"], "pixel_mask": [1, "height", "width"]}
    return graph.model(inputs, {"logits": [1, _GRID**2, count], "pred_boxes": [1, _GRID**2, 4]})


def rf_detr() -> onnx.ModelProto:
    """`input` → `dets` [1, Q, 4], `labels` [1, Q, C], in the form of RF-DETR."""
    graph, count = _Graph(7), len(LABELS)
    logits, boxes = _queries(graph, "input", count)
    graph.add("Identity", boxes, name="dets")
    graph.add("Identity", logits, name="labels")
    outputs: Mapping[str, Sequence[int]] = {"dets": [1, _GRID**2, 4], "labels": [1, _GRID**2, count]}
    return graph.model({"input": [1, 3, SIDE, SIDE]}, outputs)
