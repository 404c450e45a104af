"""The input of a graph that takes pictures: its name, layout, type and size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.text import plain
from hotswap.errors import VersionFailed
from manifest.version_manifest import InputConfig
from models_import.errors import ImportRefused
from models_import.export_metadata import InferredValue
from models_import.onnx_graph import OnnxGraph, text_of
from runners.families.index import FED
from runners.graph_check import GraphTensor, Side, choose_input

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
#: What exporters call an open axis of channels.
_CHANNEL_NAMES = {"c", "channel", "channels", "num_channels"}
# The axes of channels, height and width.
_AXES = {"NCHW": (1, 2, 3), "NHWC": (3, 1, 2)}
_OF_ONE = {"HWC": (2, 0, 1)}


@dataclass(frozen=True, slots=True)
class PictureInput:
    """The input for pictures, and its findings. `width` and `height` are no integers where they are open."""

    tensor: GraphTensor
    layout: str
    dtype: str
    width: Side
    height: Side
    findings: tuple[InferredValue, ...]

    @property
    def fixed(self) -> bool:
        """Whether the graph fixes width or height."""
        return isinstance(self.width, int) or isinstance(self.height, int)


def picture_input(graph: OnnxGraph, path: Path) -> PictureInput:
    """The only input. Raises `ImportRefused` unless it takes a batch of pictures."""
    try:
        tensor = choose_input(graph.inputs, InputConfig(width=1, height=1), FED)
    except VersionFailed as error:
        raise ImportRefused(f"{path}: {plain(error.message, 500)}") from None
    text, dtype = text_of(tensor), _DTYPES.get(tensor.type)
    if dtype is None:
        raise ImportRefused(
            f"{path}: input {text} is {tensor.type}: export it with float32, float16 or uint8 pictures"
        )
    if len(tensor.shape) not in (3, 4):
        raise ImportRefused(f"{path}: input {text}: a batch of pictures has 4 axes; export the graph with 4")
    layouts = _AXES if len(tensor.shape) == 4 else _OF_ONE
    layout = _layout(tensor, layouts, path)
    _, height, width = (tensor.shape[axis] for axis in layouts[layout.value])
    findings = (
        InferredValue("input.name", tensor.name, "graph", "the only input for pictures"),
        layout,
        InferredValue("input.dtype", dtype, "graph", f"input {text}"),
    )
    return PictureInput(tensor, layout.value, dtype, width, height, findings)


def check_takes_pictures(graph: OnnxGraph, path: Path, beside: Mapping[str, OnnxGraph]) -> None:
    """Raise `ImportRefused` for the second graph of a model, naming the ones that take its pictures."""
    part = _second_part(graph)
    if part is None:
        return
    firsts = [name for name, other in beside.items() if _takes_pictures(other)]
    instead = " or ".join(str(path.parent / name) for name in firsts) or "the graph that takes the picture"
    raise ImportRefused(f"{path}: {part}: infer {instead} instead, with this file beside it")


def _second_part(graph: OnnxGraph) -> str | None:
    """What a graph without pictures is: it takes texts alone, or what an encoder of pictures gives."""
    names = {tensor.name for tensor in graph.inputs}
    if "input_ids" in names and names <= set(FED):
        return "the graph takes texts, no pictures; it is the second graph of a model such as CLIP"
    if "image_embeddings" in names:
        return "the graph takes what an encoder gives, no pictures; it is the decoder of a model such as SAM"
    return None


def _takes_pictures(graph: OnnxGraph) -> bool:
    pictures = [each for each in graph.inputs if each.type in _DTYPES and len(each.shape) in (3, 4)]
    return _second_part(graph) is None and bool(pictures)


def _layout(tensor: GraphTensor, layouts: Mapping[str, tuple[int, int, int]], path: Path) -> InferredValue:
    """The layout by the axis of 3 channels, else by one that is named so, else by the only open one."""
    text, sides = text_of(tensor), {layout: tensor.shape[axes[0]] for layout, axes in layouts.items()}
    three = [layout for layout, side in sides.items() if side == 3]
    named = [layout for layout, side in sides.items() if str(side).lower() in _CHANNEL_NAMES]
    fitting = three or named or [layout for layout, side in sides.items() if not isinstance(side, int)]
    if not fitting:
        raise ImportRefused(
            f"{path}: input {text}: no axis of {' or '.join(layouts)} has the 3 channels of a picture"
        )
    if len(fitting) > 1:
        return InferredValue(
            "input.layout", fitting[0], "assumption", f"input {text} does not tell its channels"
        )
    return InferredValue("input.layout", fitting[0], "graph", f"input {text}")
