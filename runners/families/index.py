"""The list of model families: our own, and those of other packages.

To add one of ours: its file, its import here, its line in `_OURS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifest.version_manifest import CONFIG_FILE, BadManifest, InputConfig, ModelConfig
from runners.families.adapter import Adapter
from runners.families.base import Family
from runners.families.classifier import Classifier
from runners.families.clip import Clip
from runners.families.detr import Detr
from runners.families.embedder import Embedder
from runners.families.exposure import Exposure
from runners.families.fastestdet import FastestDet
from runners.families.generic import Generic
from runners.families.grounding_dino import GroundingDino
from runners.families.nanodet import NanoDet
from runners.families.outside import outside_families
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

_OURS: Mapping[str, type[Family[Any]]] = {
    "adapter": Adapter,
    "classifier": Classifier,
    "clip": Clip,
    "detr": Detr,
    "embedder": Embedder,
    "exposure": Exposure,
    "fastestdet": FastestDet,
    "generic": Generic,
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
#: The families of other packages, and which of them cannot be used.
OUTSIDE = outside_families(_OURS)
FAMILIES: Mapping[str, type[Family[Any]]] = {**_OURS, **OUTSIDE.families}

#: Inputs of graphs that some family feeds, beside the picture's.
FED = tuple(dict.fromkeys(name for family in FAMILIES.values() for name in family.fed))


def family_of(config: ModelConfig) -> Family[Any]:
    """The configured family. Raises `BadManifest`, naming field, value and the allowed values."""
    family = FAMILIES.get(config.family)
    if family is None:
        allowed = ", ".join(FAMILIES)
        unusable = OUTSIDE.why_not(config.family)
        why = f"family: allowed are {allowed}, found {config.family!r}" if unusable is None else unusable
        raise BadManifest(f"{CONFIG_FILE}: {why}")
    return family(config)


def check_config(config: ModelConfig) -> None:
    """Check the family, its parameters and labels, and fields that exclude each other.

    Raises `BadManifest`, naming field, value and the allowed values.
    """
    family_of(config)
    if config.picture is not None:
        _check_bytes(config.picture)
    elif config.golden:
        raise BadManifest(f"{CONFIG_FILE}: golden: pictures, but there is no input for pictures")


def _check_bytes(picture: InputConfig) -> None:
    """A uint8 input is not scaled or normalised."""
    if picture.dtype != "uint8":
        return
    for field, plain in (("scale", 1.0), ("mean", None), ("std", None)):
        value = getattr(picture, field)
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
    required: list[str] = []
    if family.pictured:
        then["properties"]["input"] = {"type": "object"}
        required.append("input")
    if "required" in parameters:
        output["required"] = ["parameters"]
        required.append("output")
    if family.labelled:
        then["properties"]["labels"] = {"minItems": 1}
        required.append("labels")
    if required:
        then["required"] = required
    return {"if": {"properties": {"family": {"const": name}}}, "then": then}
