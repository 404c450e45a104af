"""ONNX files as exporters write them, to be parsed: their operators need not compute anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

Shape = Sequence[int | str | None]

PICTURES: Shape = (1, 3, 64, 64)
#: Metadata of an Ultralytics classifier, as its exporter writes them.
ULTRALYTICS = {
    "description": "Ultralytics YOLO11n-cls model trained on photos",
    "author": "Ultralytics",
    "date": "2026-01-02T03:04:05.678901",
    "version": "8.3.0",
    "license": "AGPL-3.0 License (https://ultralytics.com/license)",
    "docs": "https://docs.ultralytics.com",
    "stride": "1",
    "task": "classify",
    "batch": "1",
    "imgsz": "[48, 64]",
    "names": "{0: 'cat', 1: \"dog's\", 2: 'o{w}l, big'}",
}


def export(
    path: Path,
    outputs: Mapping[str, tuple[Shape, Sequence[str]]],
    *,
    picture: Shape = PICTURES,
    dtype: int = TensorProto.FLOAT,
    metadata: Mapping[str, str] | None = None,
    inputs: Sequence[onnx.ValueInfoProto] = (),
    **model: str,
) -> Path:
    """Write a graph of `images` and these outputs, each with its shape and the operators that make it.

    The operators are those of a chain, the last one first.
    """
    infos, nodes = [], []
    for name, (shape, operators) in outputs.items():
        infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        nodes += _chain(name, operators)
    body = helper.make_graph(
        nodes,
        model.pop("graph_name", "main_graph"),
        [helper.make_tensor_value_info("images", dtype, list(picture)), *inputs],
        infos,
    )
    whole = helper.make_model(body, **model)
    helper.set_model_props(whole, dict(metadata or {}))
    path.write_bytes(whole.SerializeToString())
    return path


def _chain(output: str, operators: Sequence[str]) -> list[onnx.NodeProto]:
    """Operators that lead from `images` to an output; `A+B` stands for both, side by side."""
    nodes, made = [], output
    for number, kinds in enumerate(operators):
        source = "images" if number == len(operators) - 1 else f"{output}.{number}"
        parts = kinds.split("+")
        sides = [made] if len(parts) == 1 else [f"{made}.{side}" for side in range(len(parts))]
        if len(parts) > 1:
            nodes[-1].input[:] = sides
        nodes += [helper.make_node(kind, [source], [side]) for kind, side in zip(parts, sides, strict=True)]
        made = source
    return nodes
