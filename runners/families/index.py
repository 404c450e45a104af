"""The list of model families. To add one: its file, its import here, its line in `FAMILIES`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hotswap.manifest import CONFIG_FILE, BadManifest, ModelConfig
from runners.families.base import Family
from runners.families.classifier import Classifier
from runners.families.clip import Clip
from runners.families.detr import Detr
from runners.families.embedder import Embedder
from runners.families.exposure import Exposure
from runners.families.fastestdet import FastestDet
from runners.families.grounding_dino import GroundingDino
from runners.families.nanodet import NanoDet
from runners.families.owlv2 import OwlV2
from runners.families.rtdetr import RtDetr
from runners.families.sam import Sam
from runners.families.segmenter import Segmenter
from runners.families.shapes import Shapes
from runners.families.ultraface import UltraFace
from runners.families.yolov5 import YoloV5
from runners.families.yolov8 import YoloV8
from runners.families.yolov8_seg import YoloV8Seg
from runners.families.yolox import YoloX

FAMILIES: Mapping[str, type[Family[Any]]] = {
    "classifier": Classifier,
    "clip": Clip,
    "detr": Detr,
    "embedder": Embedder,
    "exposure": Exposure,
    "fastestdet": FastestDet,
    "grounding-dino": GroundingDino,
    "nanodet": NanoDet,
    "owlv2": OwlV2,
    "rtdetr": RtDetr,
    "sam": Sam,
    "segmenter": Segmenter,
    "shapes": Shapes,
    "ultraface": UltraFace,
    "yolov5": YoloV5,
    "yolov8": YoloV8,
    "yolov8-seg": YoloV8Seg,
    "yolox": YoloX,
}


#: Inputs of graphs that some family feeds, beside the picture's.
FED = tuple(dict.fromkeys(name for family in FAMILIES.values() for name in family.fed))


def family_of(config: ModelConfig) -> Family[Any]:
    """The configured family. Raises `BadManifest`, naming field, value and the allowed values."""
    family = FAMILIES.get(config.family)
    if family is None:
        allowed = ", ".join(FAMILIES)
        raise BadManifest(f"{CONFIG_FILE}: family: allowed are {allowed}, found {config.family!r}")
    return family(config)


def check_config(config: ModelConfig) -> None:
    """Check the family, its parameters and labels, and fields that exclude each other.

    Raises `BadManifest`, naming field, value and the allowed values.
    """
    family_of(config)
    _check_bytes(config)


def _check_bytes(config: ModelConfig) -> None:
    """A uint8 input is not scaled or normalised."""
    if config.input.dtype != "uint8":
        return
    for field, plain in (("scale", 1.0), ("mean", None), ("std", None)):
        value = getattr(config.input, field)
        if value != plain:
            raise BadManifest(f"{CONFIG_FILE}: input.{field}: not allowed with dtype uint8, found {value}")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `config.json`; each family's parameters are under `allOf`."""
    schema = ModelConfig.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = CONFIG_FILE
    schema["properties"]["family"]["enum"] = list(FAMILIES)
    labels = schema["properties"]["labels"]
    both = [{key: labels.pop(key) for key in ("type", "items", "maxItems")}, {"type": "string"}]
    labels["anyOf"] = both
    schema["allOf"] = [_branch(name, family) for name, family in FAMILIES.items()]
    return schema


def _branch(name: str, family: type[Family[Any]]) -> dict[str, Any]:
    parameters = family.schema.model_json_schema()
    output: dict[str, Any] = {"properties": {"parameters": parameters}}
    then: dict[str, Any] = {"properties": {"task": {"const": family.task}, "output": output}}
    if "required" in parameters:
        output["required"] = ["parameters"]
        then["required"] = ["output"]
    if family.labelled:
        then["properties"]["labels"] = {"minItems": 1}
        then.setdefault("required", []).append("labels")
    return {"if": {"properties": {"family": {"const": name}}}, "then": then}
