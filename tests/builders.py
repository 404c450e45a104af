"""Tiny models whose answers tell which version's weights really ran.

`write_version` makes an importable version folder. Its graph answers every picture with the same two
scores, and the first of them encodes a number, the *code*: `score_of(code)` going in, `code_of(score)`
coming out. A test that gives each version its own code can so tell from an answer's content, and not
only from what the answer says of itself, which version gave it.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Steps between codes are exact in float32 and survive rounding to four decimals.
_STEPS = 4096
MAX_CODE = _STEPS // 2 - 1

LABELS = ["code", "other"]

#: Ballast that makes a version about as heavy as a real detector.
HEAVY = 96 * 1024 * 1024

_SIDE = 32
_ROW = 4096


def score_of(code: int) -> float:
    """The score that a version of this code gives to every picture; at least 0.5, below 1."""
    if not 0 <= code <= MAX_CODE:
        raise ValueError(f"code {code}: allowed are 0..{MAX_CODE}")
    return 0.5 + code / _STEPS


def code_of(score: float) -> int:
    """Which code a best score tells."""
    return round((score - 0.5) * _STEPS)


def config_document(*, created: datetime | None = None, **changes: Any) -> dict[str, Any]:
    """A whole config.json for the graph of `graph`, with top-level fields replaced by `changes`."""
    document: dict[str, Any] = {
        "format": 1,
        "task": "image-classification",
        "family": "classifier",
        "description": "answers every picture with the same scores",
        "licence": "Apache-2.0",
        "input": {"name": "image", "width": _SIDE, "height": _SIDE, "scale": 1 / 255},
        "output": {"names": ["scores"]},
        "labels": LABELS,
        "thresholds": {"score": 0.1},
        "warm_up": {"runs": 1},
    }
    if created is not None:
        document["created"] = created.isoformat()
    return document | changes


def graph(code: int, *, bytes_of_ballast: int = 0, best: float | None = None) -> onnx.ModelProto:
    """A model of image [N,3,32,32] → scores [N,2], the first being `score_of(code)` (or `best`).

    Ballast is a table of which one row, chosen by the picture, takes part in every run: neither the
    loader nor an optimiser can leave it out.
    """
    scores = np.array([[score_of(code) if best is None else best, 0.0]], np.float32)
    weights = {"scores_of_code": scores, "nothing": np.float32(0), "last": np.array([1], np.int64)}
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["grey", "nothing"], ["dark"]),
    ]
    lift = "dark"
    if bytes_of_ballast:
        weights["ballast"] = _ballast(code, bytes_of_ballast)
        nodes += [
            helper.make_node("Cast", ["dark"], ["row"], to=TensorProto.INT64),
            helper.make_node("Gather", ["ballast", "row"], ["weight"], axis=0),
            helper.make_node("ReduceMean", ["weight"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("Mul", ["mean", "nothing"], ["weightless"]),
        ]
        lift = "weightless"
    nodes += [
        helper.make_node("Unsqueeze", [lift, "last"], ["column"]),
        helper.make_node("Add", ["column", "scores_of_code"], ["scores"]),
    ]
    return _model(nodes, weights)


def _ballast(code: int, size: int) -> np.ndarray[Any, Any]:
    rows = max(1, size // (4 * _ROW))
    return np.random.default_rng(code).random((rows, _ROW), np.float32)


def _model(nodes: list[onnx.NodeProto], weights: dict[str, Any]) -> onnx.ModelProto:
    body = helper.make_graph(
        nodes,
        "code",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, _SIDE, _SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", len(LABELS)])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_version(
    folder: Path,
    name: str,
    version: str,
    code: int,
    *,
    bytes_of_ballast: int = 0,
    created: datetime | None = None,
    best: float | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """Write `<folder>/<name>/<version>/{weights.onnx, config.json, README.md}`; return that folder.

    `best` replaces the score that encodes the code (NaN makes a model that must be refused), `config`
    replaces top-level fields of config.json.
    """
    home = folder / name / version
    home.mkdir(parents=True)
    model = graph(code, bytes_of_ballast=bytes_of_ballast, best=best)
    (home / "weights.onnx").write_bytes(model.SerializeToString())
    document = config_document(created=created) | (config or {})
    (home / "config.json").write_text(json.dumps(document, indent=1) + "\n")
    (home / "README.md").write_text(f"# {name}:{version}\n\nAnswers every picture with code {code}.\n")
    return home


def write_heavy_version(
    folder: Path, name: str, version: str, code: int, *, created: datetime | None = None
) -> Path:
    """`write_version` with about 96 MB of weights that are really loaded."""
    return write_version(folder, name, version, code, bytes_of_ballast=HEAVY, created=created)
