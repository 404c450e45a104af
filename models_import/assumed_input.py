"""How pictures are made into the input, where the export does not say: as the family's published exports.

The values are those of the catalogue's or the demo's config of the family.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manifest.version_manifest import CONFIG_FILE, ModelConfig, parse_config
from models_import.catalogue import choose, config_of, entries
from models_import.demo_models import DEMO
from models_import.export_metadata import ExportMetadata, InferredValue
from models_import.family_evidence import Match
from models_import.picture_input import PictureInput

#: Fields of `input` that a graph does not say, in the order of a config; the last three are for floats only.
_FIELDS = ("colour_order", "resize", "pad", "scale", "mean", "std")
_OF_FLOATS = ("scale", "mean", "std")

_IMAGENET: dict[str, Any] = {
    "colour_order": "RGB",
    "resize": {"mode": "centre_crop", "kernel": "bilinear"},
    "scale": 1 / 255,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
_PLAIN: dict[str, Any] = {
    "colour_order": "RGB",
    "resize": {"mode": "stretch", "kernel": "bilinear"},
    "scale": 1 / 255,
    "mean": None,
    "std": None,
}


def preprocessing(
    match: Match, picture: PictureInput, metadata: ExportMetadata, sides: tuple[int, int]
) -> Iterator[InferredValue]:
    """How a picture becomes an input of these sides: as the metadata say, else as the known exports."""
    known = match.like or match.family
    assumed, why = _assumed(known, picture, max(sides))
    for field in _FIELDS:
        name = f"input.{field}"
        if field in _OF_FLOATS and picture.dtype == "uint8":
            continue
        declared = metadata.findings.get(name)
        if field in ("pad", *_OF_FLOATS) and picture.layout == "HWC":
            continue
        # What the family is known for counts more than what is near to the metadata.
        if (
            declared is not None
            and field == "resize"
            and declared.value["mode"] == "keep_aspect"
            and picture.fixed
        ):
            yield InferredValue(name, _PLAIN["resize"], "graph", "the graph's sides are fixed")
        elif declared is not None and (declared.source != "assumption" or known not in _USUAL):
            yield declared
        elif field in assumed:
            yield InferredValue(name, assumed[field], "assumption", why)
    if picture.layout == "HWC":
        yield InferredValue(
            "input.scale", 1.0, "assumption", "a graph that takes one picture does the rest itself"
        )
    elif picture.dtype == "uint8":
        yield InferredValue("input.scale", 1.0, "graph", "a uint8 input takes pixels as they are")


def thresholds(family: str) -> Iterator[InferredValue]:
    """The thresholds of a detector, as its known export has them."""
    known = known_config(family)
    if known is not None and known[0].task == "object-detection":
        config, name = known
        for field in ("score", "nms_iou"):
            value = getattr(config.thresholds, field)
            yield InferredValue(f"thresholds.{field}", value, "assumption", f"as {name}")


def known_config(family: str) -> tuple[ModelConfig, str] | None:
    """A config of that family that comes with the program and was tried, and what it is called."""
    for path in sorted(DEMO.glob(f"{family}/*/{CONFIG_FILE}")):
        return parse_config(path.read_bytes()), f"the demo model {family}"
    for entry in entries():
        if entry.quality is not None and config_of(entry).family == family:
            newest = choose(entries(), entry.name, None)
            return config_of(newest), f"{newest.tag} of the catalogue"
    return None


_CLIP: dict[str, Any] = {
    **_PLAIN,
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}
_LETTERBOXED: dict[str, Any] = {
    **_PLAIN,
    "resize": {"mode": "longest_edge_centre", "kernel": "bilinear"},
    "pad": 114,
}
#: The side of the inputs of which `_USUAL` names an edge.
_SIDE_OF_EDGES = 224
#: Family, or known export of one → its usual preprocessing, where no config comes with the program.
_USUAL: dict[str, tuple[dict[str, Any], str]] = {
    "clip": (
        {**_CLIP, "resize": {"mode": "shortest_edge", "kernel": "bicubic", "edge": 224}},
        "as CLIP ViT-B/32",
    ),
    "dinov2": (
        {**_IMAGENET, "resize": {"mode": "shortest_edge", "kernel": "bicubic", "edge": 256}},
        "as DINOv2 of transformers; ViT is stretched",
    ),
    "deeplab": (
        {**_PLAIN, "scale": 1 / 127.5, "mean": [1.0, 1.0, 1.0]},
        "as DeepLab of TensorFlow: -1..1",
    ),
    "owlv2": (
        {**_CLIP, "resize": {"mode": "square", "kernel": "gaussian_linear"}, "pad": 127.5},
        "as OWLv2 of transformers; OWL-ViT is stretched",
    ),
    "detr": (
        {**_IMAGENET, "resize": {"mode": "stretch", "kernel": "bilinear"}, "pad": "zero"},
        "as DETR of transformers",
    ),
    "rtdetr": (_PLAIN, "as RT-DETR of its authors and of transformers"),
    "sam": (
        {**_IMAGENET, "resize": {"mode": "longest_edge", "kernel": "bilinear"}, "pad": "zero"},
        "as SAM",
    ),
    "yolov5": (_LETTERBOXED, "as YOLOv5"),
    "yolov8": (_LETTERBOXED, "as Ultralytics' detectors"),
    "yolov8-seg": (_LETTERBOXED, "as Ultralytics' segmenters"),
    "segmenter": (
        {**_IMAGENET, "resize": {"mode": "stretch", "kernel": "bilinear"}},
        "as SegFormer of transformers",
    ),
    "grounding-dino": (
        {**_IMAGENET, "resize": {"mode": "stretch", "kernel": "bilinear"}, "pad": "zero"},
        "as onnx-community/grounding-dino-tiny-ONNX",
    ),
}


def _assumed(family: str, picture: PictureInput, side: int) -> tuple[dict[str, Any], str]:
    """The values of a family, or of a known export, for an input whose longer side has so many pixels."""
    known = known_config(family)
    if known is not None:
        config, name = known
        values = config.input.model_dump(mode="json", include=set(_FIELDS))
        if not config.input.resize.mode.startswith(("letterbox", "longest_edge")):
            del values["pad"]
        return values, f"as {name}"
    if family in _USUAL:
        values, name = _USUAL[family]
        return {**values, "resize": _enlarged(values["resize"], side)}, name
    if picture.dtype == "float32" and picture.layout == "NCHW":
        return _IMAGENET, "as most models of PyTorch that were trained on ImageNet"
    return _PLAIN, "neither the graph nor its metadata say"


def _enlarged(resize: dict[str, Any], side: int) -> dict[str, Any]:
    """The same crop for an input of another side."""
    return (
        resize if "edge" not in resize else {**resize, "edge": round(resize["edge"] * side / _SIDE_OF_EDGES)}
    )
