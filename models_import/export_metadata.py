"""What an export says of itself beside its graph, as fields of a config.

Read are the metadata of the ONNX file (Ultralytics, YOLOv5, the ONNX standard's image properties) and files
beside it: `config.json` and `preprocessor_config.json` of transformers, `labels.txt`. All of it is untrusted
text of bounded size; nothing is evaluated.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.text import plain
from manifest.config_part import MOST_LABELS
from manifest.version_manifest import CONFIG_FILE, BadManifest
from models_import.errors import ImportRefused
from models_import.onnx_graph import OnnxGraph
from models_import.small_files import read_small
from runners.label_file import labels_by_number, read_label_file

Source = Literal["graph", "metadata", "given", "assumption"]

PREPROCESSOR_FILE = "preprocessor_config.json"
LABEL_FILES = ("labels.txt", "classes.txt")

_LONGEST_TEXT = 500
_LARGEST_SIDE = 8192

# One entry of a flat Python or JSON dict or list: `0: 'person'`, `"0": "person"`, `'person'`. Possessive, so
# that crafted text takes linear time.
_ENTRY = re.compile(
    r"\s*+(?:['\"]?(?P<key>\d{1,9})['\"]?\s*+:\s*+)?+(?P<text>'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\")\s*+(?:,|\Z)",
    re.DOTALL,
)
_SIZE = re.compile(r"[\[(]?\s*(\d{1,5})\s*(?:,\s*(\d{1,5}))?\s*[\])]?")

#: Pillow's numbers of kernels, as transformers writes them → our names.
_KERNELS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}
_COLOURS = {"rgb8": "RGB", "bgr8": "BGR"}
#: The ONNX standard's pixel ranges → scale and mean.
_RANGES: Mapping[str, tuple[float, list[float] | None]] = {
    "nominalrange_0_255": (1.0, None),
    "normalized_0_1": (1 / 255, None),
    "normalized_1_1": (1 / 127.5, [1.0, 1.0, 1.0]),
}


@dataclass(frozen=True, slots=True)
class InferredValue:
    """The value of one field of a config, named with dots, and where it comes from."""

    field: str
    value: Any
    source: Source
    why: str


@dataclass(frozen=True, slots=True)
class ExportMetadata:
    """What an export says of itself. `exporter` and `task` are empty if it does not say.

    `findings` are by field; `input.width` and `input.height` matter only where the graph leaves them open.
    """

    findings: Mapping[str, InferredValue]
    exporter: str = ""
    task: str = ""

    def value(self, field: str) -> Any:
        """The value of a field; None if the export does not say."""
        finding = self.findings.get(field)
        return None if finding is None else finding.value


def read_metadata(graph: OnnxGraph, path: Path) -> ExportMetadata:
    """What the graph's metadata and the files beside it say. Raises `ImportRefused` for bad metadata."""
    properties = {key.lower(): text for key, text in graph.metadata.items()}
    exporter = _exporter(properties)
    said = [
        *_labels_file(path),
        *_transformers(path),
        *_image_properties(properties),
        *_ultralytics(properties, exporter, path),
    ]
    task = plain(properties.get("task", ""), 40)
    return ExportMetadata({finding.field: finding for finding in said}, exporter, task)


def _exporter(properties: Mapping[str, str]) -> str:
    about = f"{properties.get('author', '')} {properties.get('description', '')}"[:_LONGEST_TEXT]
    if "ultralytics" in about.lower():
        return "Ultralytics"
    return "YOLOv5" if {"names", "stride"} <= properties.keys() else ""


def _ultralytics(properties: Mapping[str, str], exporter: str, path: Path) -> Iterator[InferredValue]:
    """The keys of Ultralytics' exporters; `names` also of others that follow them."""
    if "names" in properties:
        labels = parse_names(properties["names"], path)
        yield InferredValue("labels", labels, "metadata", "names in the graph's metadata")
    if exporter != "Ultralytics":
        return
    size = _SIZE.fullmatch(properties.get("imgsz", "").strip()[:20])
    if size:
        height, width = int(size[1]), int(size[2] or size[1])
        yield from _size(width, height, "imgsz in the graph's metadata")
    for field, key in (("description", "description"), ("licence", "license")):
        if properties.get(key):
            text = plain(properties[key], _LONGEST_TEXT)
            yield InferredValue(field, text, "metadata", f"{key} in the graph's metadata")
    if properties.get("task") == "classify":
        yield from _ultralytics_classify()


def _ultralytics_classify() -> Iterator[InferredValue]:
    why = "as Ultralytics' classify_transforms; early releases had the ImageNet mean and std"
    values = {"colour_order": "RGB", "resize": {"mode": "centre_crop", "kernel": "bilinear"}}
    normalised = {"scale": 1 / 255, "mean": None, "std": None}
    for field, value in (values | normalised).items():
        yield InferredValue(f"input.{field}", value, "assumption", why)


def _image_properties(properties: Mapping[str, str]) -> Iterator[InferredValue]:
    """Image.* of the ONNX standard (docs/MetadataProps.md); keys and values ignore case."""
    colour = _COLOURS.get(properties.get("image.bitmappixelformat", "").lower())
    if colour:
        yield InferredValue(
            "input.colour_order", colour, "metadata", "Image.BitmapPixelFormat in the metadata"
        )
    pixels = _RANGES.get(properties.get("image.nominalpixelrange", "").lower())
    if pixels:
        why = "Image.NominalPixelRange in the metadata"
        for field, value in (("scale", pixels[0]), ("mean", pixels[1]), ("std", None)):
            yield InferredValue(f"input.{field}", value, "metadata", why)


def _labels_file(path: Path) -> Iterator[InferredValue]:
    for name in LABEL_FILES:
        if (path.parent / name).is_file():
            yield InferredValue(
                "labels", read_labels(path.parent / name), "metadata", f"{name} beside the graph"
            )
            return


def read_labels(path: Path) -> list[str]:
    """The labels in a file, one a line or as JSON. Raises `ImportRefused`."""
    try:
        return read_label_file(path)
    except BadManifest as error:
        raise ImportRefused(f"{path.parent}/{error}") from None


def _transformers(path: Path) -> Iterator[InferredValue]:
    """The files that transformers and optimum write; in `onnx/` they lie one folder above."""
    folders = [path.parent, path.absolute().parent.parent] if path.absolute().parent.name == "onnx" else []
    for folder in folders or [path.parent]:
        theirs = is_transformers_config(folder / CONFIG_FILE)
        config = _json(folder / CONFIG_FILE) if theirs else {}
        processor = _json(folder / PREPROCESSOR_FILE)
        if isinstance(config.get("id2label"), dict):
            labels = _by_number(config["id2label"], f"{folder / CONFIG_FILE}: id2label")
            yield InferredValue("labels", labels, "metadata", f"id2label in {CONFIG_FILE} of transformers")
        if _is_image_processor(processor):
            yield from _processor(processor)
        if config or processor:
            return


def is_transformers_config(path: Path) -> bool:
    """Whether a `config.json` was written by transformers, and is not one of ours."""
    return bool({"model_type", "architectures", "id2label"} & _json(path).keys())


def _is_image_processor(processor: Mapping[str, Any]) -> bool:
    return any(key in processor for key in ("image_processor_type", "feature_extractor_type", "image_mean"))


def _processor(processor: Mapping[str, Any]) -> Iterator[InferredValue]:
    colour = "BGR" if processor.get("do_flip_channel_order") is True else "RGB"
    factor = processor.get("rescale_factor", 1 / 255)
    mean, std = (_channels(processor.get(key)) for key in ("image_mean", "image_std"))
    fields: dict[str, Any] = {"colour_order": colour}
    if processor.get("do_rescale", True) is False or (
        "rescale_factor" not in processor and mean and max(mean) > 1
    ):
        fields["scale"] = 1.0
    elif _is_number(factor) and factor > 0:
        fields["scale"] = float(factor)
    if processor.get("do_normalize", True) is False:
        fields |= {"mean": None, "std": None}
    elif mean and std:
        fields |= {"mean": mean, "std": std}
    for field, value in fields.items():
        yield InferredValue(f"input.{field}", value, "metadata", f"{PREPROCESSOR_FILE} of transformers")
    yield from _processor_resize(processor)


def _processor_resize(processor: Mapping[str, Any]) -> Iterator[InferredValue]:
    """Size and resize: a stretch, a crop, or the own way of some models; others are an assumption."""
    resample, size = processor.get("resample"), processor.get("size")
    kernel = _kernel(resample)
    crop = _sides(processor.get("crop_size")) if processor.get("do_center_crop") is True else None
    edges = size if isinstance(size, dict) else {}
    sides = crop or _sides(_whole(size, edges, processor))
    if sides:
        yield from _size(*sides, f"{PREPROCESSOR_FILE} of transformers")
    resize: dict[str, Any] = {"mode": "stretch", "kernel": kernel or "bilinear"}
    exact = _is_stretch(size)
    if str(processor.get("image_processor_type", "")).startswith("Owlv2"):
        resize, kernel = {"mode": "square", "kernel": "gaussian_linear"}, "gaussian_linear"
    elif crop:
        edge, exact = edges.get("shortest_edge"), False
        if type(edge) is int and max(crop) <= edge <= _LARGEST_SIDE:
            resize, exact = {"mode": "shortest_edge", "edge": edge, "kernel": kernel or "bilinear"}, True
        else:
            resize["mode"] = "centre_crop"
    elif set(edges) == {"longest_edge"}:
        resize["mode"], exact = "longest_edge", True
    elif set(edges) == {"shortest_edge", "longest_edge"}:
        resize, exact = resize | {"mode": "keep_aspect", "edge": edges["shortest_edge"]}, True
    if exact and kernel:
        yield InferredValue("input.resize", resize, "metadata", f"{PREPROCESSOR_FILE} of transformers")
    else:
        why = f"near to {PREPROCESSOR_FILE}: " + (
            "its resize and crop differ" if kernel else "it does not tell the kernel"
        )
        yield InferredValue("input.resize", resize, "assumption", why)


def _kernel(resample: object) -> str | None:
    """The kernel by Pillow's number, or by a text that names one, such as `bicubic (3)`."""
    if isinstance(resample, str):
        words = re.findall(r"[a-z]+|[0-9]+", resample[:_LONGEST_TEXT].lower())
        named = {word for word in words if word in _KERNELS.values()}
        numbered = {_KERNELS[int(word)] for word in words if word in map(str, _KERNELS)}
        kernels = named or numbered
        return kernels.pop() if len(kernels) == 1 else None
    return _KERNELS.get(resample) if type(resample) is int else None


def _whole(size: object, edges: Mapping[str, Any], processor: Mapping[str, Any]) -> object:
    """The size of the whole input: of those with only a longer side it is padded, or at most that."""
    if set(edges) == {"longest_edge"}:
        return processor.get("pad_size")
    return edges.get("longest_edge", size)


def _sides(size: object) -> tuple[int, int] | None:
    """Width and height of a size as transformers writes it: a number, or a dict of sides."""
    if isinstance(size, dict):
        edge = size.get("shortest_edge")
        width, height = size.get("width", edge), size.get("height", edge)
    else:
        width = height = size
    if type(width) is int and type(height) is int:
        return width, height
    return None


def _is_stretch(size: object) -> bool:
    return isinstance(size, int) or (isinstance(size, dict) and {"width", "height"} <= size.keys())


def _size(width: int, height: int, why: str) -> Iterator[InferredValue]:
    yield InferredValue("input.width", width, "metadata", why)
    yield InferredValue("input.height", height, "metadata", why)


def _channels(values: object) -> list[float] | None:
    if isinstance(values, list) and len(values) == 3 and all(map(_is_number, values)):
        return [float(value) for value in values]
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _json(path: Path) -> Mapping[str, Any]:
    """A small JSON object; empty for any other file, which then is none of transformers'."""
    try:
        document = json.loads(read_small(path))
    except (OSError, BadManifest, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def parse_names(text: str, path: Path) -> list[str]:
    """The labels in `names`: a flat dict or list, as Python or JSON writes it. Raises `ImportRefused`.

    Only the strings are read as literals, one by one, so that no text can nest, compute or run.
    """
    where = f"{path}: names in the graph's metadata"
    body = text.strip()
    if body[:1] + body[-1:] not in ("{}", "[]"):
        raise ImportRefused(f"{where}: a dict or list of labels is expected, found {plain(body, 60)!r}")
    with warnings.catch_warnings():
        # Of unknown escapes such as `\d`, which keep their backslash.
        warnings.simplefilter("ignore")
        names = dict(_entries(body[1:-1].strip(), where))
    return _by_number(names, where)


def _entries(body: str, where: str) -> Iterator[tuple[str, str]]:
    """Number and label of each entry; entries of a list count from 0."""
    place = count = 0
    while place < len(body):
        entry = _ENTRY.match(body, place)
        if entry is None or count >= MOST_LABELS:
            rest = plain(body[place : place + 60], 60)
            raise ImportRefused(
                f"{where}: at most {MOST_LABELS} labels in a flat list are allowed; at {rest!r}"
            )
        yield entry["key"] or str(count), _literal(entry["text"], where)
        place, count = entry.end(), count + 1


def _literal(text: str, where: str) -> str:
    try:
        return str(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        raise ImportRefused(f"{where}: {plain(text, 60)} is not a string") from None


def _by_number(names: Mapping[str, Any], where: str) -> list[str]:
    """The labels by the numbers 0, 1, 2 … of their keys. Raises `ImportRefused`."""
    try:
        return labels_by_number(names, where)
    except BadManifest as error:
        raise ImportRefused(str(error)) from None
