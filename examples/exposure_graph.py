"""Builds the graph of family `exposure`. Only `build` needs the `onnx` package.

Input `image` float32 [N, 3, 64, 64], RGB in 0..1. Outputs: `luminance` [N, 1], the mean luminance
with the weights of Rec. 709, and `scores` [N, 3], a softmax over dark, normal and bright.
"""

from __future__ import annotations

from typing import Any

from runners.families.exposure import LABELS

SIDE = 64
REC_709 = (0.2126, 0.7152, 0.0722)
# The mean luminance at which `dark` equals `normal`, and at which `normal` equals `bright`.
DARK_BELOW, BRIGHT_ABOVE = 0.2, 0.8
# The slope of a score there: with 40, a difference of 0.05 changes it from 0.5 to 0.88.
STEEPNESS = 40.0
_OPSET, _IR_VERSION = 13, 8


def build() -> bytes:
    """The bytes of the ONNX file, always the same. Needs the `onnx` package."""
    from onnx import checker, helper

    graph = helper.make_graph(_nodes(), "exposure", [_input()], _outputs(), _weights())
    model = helper.make_model(
        graph,
        producer_name="okawari",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def config() -> dict[str, Any]:
    """The graph's `config.json`."""
    return {
        "format": 1,
        "task": "image-classification",
        "family": "exposure",
        "description": "Calls a frame dark, normal or bright by its mean luminance.",
        "licence": "Apache-2.0",
        "input": {
            "name": "image",
            "width": SIDE,
            "height": SIDE,
            "layout": "NCHW",
            "dtype": "float32",
            "colour_order": "RGB",
            "resize": {"mode": "stretch", "kernel": "box"},
            "scale": 1 / 255,
        },
        "output": {"names": ["scores"]},
        "labels": list(LABELS),
        "thresholds": {"score": 0.0},
    }


def _nodes() -> list[Any]:
    from onnx import helper

    return [
        helper.make_node("ReduceMean", ["image"], ["colour"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["colour", "rec_709"], ["luminance"]),
        helper.make_node("Gemm", ["luminance", "slope", "offset"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]


def _input() -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])


def _outputs() -> list[Any]:
    from onnx import TensorProto, helper

    return [
        helper.make_tensor_value_info("luminance", TensorProto.FLOAT, ["N", 1]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", len(LABELS)]),
    ]


def _weights() -> list[Any]:
    """The logit of `normal` is 0; those of `dark` and `bright` exceed it beyond their bounds."""
    from onnx import TensorProto, helper

    slope = (-STEEPNESS, 0.0, STEEPNESS)
    offset = (STEEPNESS * DARK_BELOW, 0.0, -STEEPNESS * BRIGHT_ABOVE)
    return [
        helper.make_tensor("rec_709", TensorProto.FLOAT, [3, 1], REC_709),
        helper.make_tensor("slope", TensorProto.FLOAT, [1, 3], slope),
        helper.make_tensor("offset", TensorProto.FLOAT, [3], offset),
    ]
