"""The models that are measured, as folders that can be imported."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.builders import HEAVY, write_version
from tests.support.heavy_graph import heavy_graph

VARIABLE = "OKAWARI_TEST_DATA"
_CATALOGUE = Path(__file__).resolve().parent.parent / "models_import" / "catalogue"
_SIDE = 352
_DENSE_SIDE = 64
#: Channels after each 3x3 convolution and its stride: about as much arithmetic as a small detector's.
_LAYERS = ((16, 2), (32, 2), (64, 2), (64, 1), (128, 2))


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and a way to make any number of versions of it, all of the same cost."""

    name: str
    about: str
    weights: Path
    config: dict[str, Any]

    def version(self, folder: Path, version: str) -> Path:
        """Write one version below `folder`, ready to be imported; return its folder."""
        made = folder / self.name / version
        made.mkdir(parents=True)
        shutil.copyfile(self.weights, made / "weights.onnx")
        (made / "config.json").write_text(json.dumps(self.config))
        return made


def test_data() -> Path | None:
    """The folder with real models and pictures, if the environment names one."""
    text = os.environ.get(VARIABLE)
    return Path(text) if text else None


def subject(folder: Path, data: Path | None) -> Subject:
    """FastestDet where its weights are at hand, else a generated graph of about the same cost."""
    if data is not None:
        weights = data / "models" / "fastestdet" / "fastestdet_v2.onnx"
        config = json.loads((_CATALOGUE / "fastestdet-v2.json").read_text())
        return Subject("fastestdet", "FastestDet 352x352", weights, config)
    weights = folder / "generated.onnx"
    weights.write_bytes(_graph().SerializeToString())
    return Subject("generated", f"generated graph {_SIDE}x{_SIDE}", weights, _config())


def dense(folder: Path, name: str, wide: int, seed: int = 0) -> Subject:
    """Three dense layers of `wide` columns: much to load and to read in each run, little arithmetic."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{name}-{seed}.onnx"
    weights.write_bytes(_dense_graph(wide, seed).SerializeToString())
    return Subject(name, f"dense layers, {weights.stat().st_size / 1e6:.0f} MB", weights, _dense_config())


def heavy(folder: Path) -> list[Path]:
    """Two versions of a model of about 96 MB in many tensors, which lie on the heap."""
    versions = [write_version(folder, "heavy", f"v{code}", code) for code in (1, 2)]
    for code, version in enumerate(versions, 1):
        (version / "weights.onnx").write_bytes(heavy_graph(code, HEAVY).SerializeToString())
    return versions


def _config() -> dict[str, Any]:
    return {
        "format": 1,
        "task": "image-classification",
        "family": "classifier",
        "description": "random weights: only its cost is meant",
        "licence": "Apache-2.0",
        "input": {"name": "image", "width": _SIDE, "height": _SIDE, "scale": 1 / 255},
        "output": {"names": ["scores"]},
        "labels": ["one", "other"],
        "thresholds": {"score": 0.1},
    }


def _dense_config() -> dict[str, Any]:
    picture = {"name": "image", "width": _DENSE_SIDE, "height": _DENSE_SIDE}
    return {
        "format": 1,
        "task": "image-embedding",
        "family": "embedder",
        "description": "random weights: only its cost is meant",
        "licence": "Apache-2.0",
        "input": {**picture, "scale": 1 / 255, "mean": [0.5] * 3},
        "output": {"names": ["embedding"]},
    }


def _dense_graph(wide: int, seed: int) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    nodes, weights = [helper.make_node("Flatten", ["image"], ["layer0"])], []
    sides = [3 * _DENSE_SIDE**2, wide, wide, wide]
    for index, (rows, columns) in enumerate(pairwise(sides)):
        values = rng.standard_normal((rows, columns), np.float32) / np.float32(rows**0.5)
        weights.append(numpy_helper.from_array(values, f"mix{index}"))
        nodes += [
            helper.make_node("MatMul", [f"layer{index}", f"mix{index}"], [f"sum{index}"]),
            helper.make_node("Tanh", [f"sum{index}"], [f"layer{index + 1}"]),
        ]
    nodes.append(helper.make_node("Identity", [f"layer{len(sides) - 1}"], ["embedding"]))
    body = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, _DENSE_SIDE, _DENSE_SIDE])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", wide])],
        weights,
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _graph() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes, weights, last, channels = [], [], "image", 3
    for index, (wide, stride) in enumerate(_LAYERS):
        kernel = rng.normal(0, (2 / (9 * channels)) ** 0.5, (wide, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{index}"))
        nodes += [
            helper.make_node(
                "Conv", [last, f"kernel{index}"], [f"sum{index}"], strides=[stride] * 2, pads=[1] * 4
            ),
            helper.make_node("Relu", [f"sum{index}"], [f"layer{index}"]),
        ]
        last, channels = f"layer{index}", wide
    weights.append(numpy_helper.from_array(rng.normal(0, 1, (channels, 2)).astype(np.float32), "mix"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "mix"], ["raw"]),
        helper.make_node("Softmax", ["raw"], ["scores"], axis=1),
    ]
    body = helper.make_graph(
        nodes,
        "generated",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, _SIDE, _SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])],
        weights,
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
