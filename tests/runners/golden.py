"""Loading the reference models and comparing with the reference answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evaluation.average_precision import Truth, iou, mean_ap50
from hotswap.predictions import Box, Detection, Options, Picture, Prediction
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import ModelConfig, parse_config
from models_import.catalogue import choose, config_of, entries
from runners.loader import OnnxLoader
from runners.onnx_runner import OnnxRunner
from runners.placed_graph import OpenSession
from tests.support.kept_sessions import kept_session

FACES = Path(__file__).parent / "faces.json"
SAME_PLACE = 0.6
SLACK = 0.02


def catalogue_config(name: str, version: str) -> ModelConfig:
    """The config that the catalogue gives a model."""
    return config_of(choose(entries(), name, version))


def load_model(weights: Path, config: ModelConfig, open_graph: OpenSession = kept_session) -> OnnxRunner:
    """Load a reference model; one thread, as its figures were taken."""
    version = Artifact(
        tag=ModelTag("reference", "v1"),
        path=weights.parent,
        weights=weights,
        digest="sha256:" + "0" * 64,
        config=config,
        created=datetime(2024, 1, 1, tzinfo=UTC),
        size_bytes=weights.stat().st_size,
    )
    return OnnxLoader(max_pixels=50_000_000, thread_cap=1, open_graph=open_graph).load(version)


def fastestdet(data: Path, version: str, **parameters: float) -> OnnxRunner:
    """The catalogue's detector, its output parameters perhaps replaced."""
    config = catalogue_config("fastestdet", version)
    if parameters:
        output = config.output.model_copy(update={"parameters": parameters})
        config = config.model_copy(update={"output": output})
    return load_model(data / "models" / "fastestdet" / f"fastestdet_{version}.onnx", config)


def answer(runner: OnnxRunner, file: Path, **options: Any) -> Prediction:
    """What the model says of one file."""
    return runner.predict([Picture(encoded=file.read_bytes())], Options(**options)).items[0]


def answers(runner: OnnxRunner, files: Sequence[Path]) -> Sequence[Prediction]:
    """What the model says of several files in one call."""
    return runner.predict([Picture(encoded=file.read_bytes()) for file in files], Options()).items


def full_size(file: Path) -> Picture:
    """The file decoded without our help."""
    return Picture(pixels=np.array(Image.open(file).convert("RGB")))


@dataclass(frozen=True)
class Match:
    """How an implementation's detections compare with the reference."""

    stable: int = 0
    found: int = 0
    ours: int = 0
    unknown: int = 0

    def plus(self, more: Match) -> Match:
        """The sum of both."""
        return Match(
            self.stable + more.stable,
            self.found + more.found,
            self.ours + more.ours,
            self.unknown + more.unknown,
        )

    @property
    def good(self) -> bool:
        """At least 98 % of the stable ones found, at most 10 % of ours unknown to the reference."""
        return self.found >= 0.98 * self.stable and self.unknown <= 0.1 * self.ours


def compare(data: Path, model: str, runner: OnnxRunner, pictures: int | None = None) -> Match:
    """Run the model over the reference's pictures, or the first of them."""
    total, items = Match(), json.loads((data / "golden" / "detections.json").read_bytes())["items"]
    for item in islice((item for item in items if item["model"] == model), pictures):
        total = total.plus(_compare_one(item, answer(runner, data / item["image"])))
    return total


def _compare_one(item: Mapping[str, Any], ours: Prediction) -> Match:
    assert (ours.width, ours.height) == (item["width"], item["height"])
    listed = [_relative_box(one, ours) for one in item["detections"]]
    known = listed + [_relative_box(one, ours) for one in item["borderline"]]
    stable = [one for one in listed if one["stable"]]
    return Match(
        stable=len(stable),
        found=sum(
            any(_same(mine, one) and _in_range(mine, one) for mine in ours.detections) for one in stable
        ),
        ours=len(ours.detections),
        unknown=sum(not any(_same(mine, one) for one in known) for mine in ours.detections),
    )


def _relative_box(one: Mapping[str, Any], picture: Prediction) -> dict[str, Any]:
    """The reference's detection with its box in 0..1 of the picture."""
    x1, y1, x2, y2 = one["box"]
    width, height = picture.width, picture.height
    return {**one, "box": (x1 / width, y1 / height, x2 / width, y2 / height)}


def _same(mine: Detection, one: Mapping[str, Any]) -> bool:
    right = (mine.label, mine.label_id) == (one["label"], one["class_id"])
    return right and mine.bbox is not None and iou(mine.bbox, one["box"]) >= SAME_PLACE


def _in_range(mine: Detection, one: Mapping[str, Any]) -> bool:
    return bool(one["score_min"] - SLACK <= mine.score <= one["score_max"] + SLACK)


def photographs(data: Path) -> Iterator[tuple[Path, list[Truth]]]:
    """Each annotated photograph and what is in it."""
    table = json.loads((data / "images" / "instances.json").read_bytes())
    names = {one["id"]: one["name"] for one in table["categories"]}
    for image in table["images"]:
        objects = [one for one in table["annotations"] if one["image_id"] == image["id"]]
        truths = [Truth(names[one["category_id"]], _relative(one["bbox"], image)) for one in objects]
        yield data / "images" / "coco" / image["file_name"], truths


def _relative(bbox: list[float], image: Mapping[str, Any]) -> Box:
    left, top, width, height = bbox
    across, down = image["width"], image["height"]
    return (left / across, top / down, (left + width) / across, (top + height) / down)


def faces(data: Path) -> Iterator[tuple[Path, list[Truth]]]:
    """Each photograph that can be judged, and the faces in it."""
    marked = json.loads(FACES.read_bytes())
    for image in json.loads((data / "images" / "manifest.json").read_bytes())["images"]:
        if image["file"] not in marked["unclear"] and "mask" not in image["file"]:
            size = (image["width"], image["height"]) * 2
            boxes = marked["faces"].get(image["file"], [])
            truths = [Truth("face", _shares(box, size)) for box in boxes]
            yield data / "images" / image["file"], truths


def _shares(box: Sequence[float], size: Sequence[int]) -> Box:
    x1, y1, x2, y2 = (side / length for side, length in zip(box, size, strict=True))
    return x1, y1, x2, y2


Pictures = Sequence[tuple[Path, list[Truth]]]


def measure_ap50(runner: OnnxRunner, pictures: Pictures) -> float:
    """AP50 of a detector on annotated photographs, through the whole runner."""
    found = [answer(runner, file, threshold=0.001, max_detections=1000).detections for file, _ in pictures]
    return mean_ap50(found, [truths for _, truths in pictures])


def reference_entry(data: Path, model: str) -> dict[str, Any]:
    """What the reference's manifest says of a model."""
    models = json.loads((data / "models" / "manifest.json").read_bytes())["models"]
    return next(one for one in models if one["name"] == model)


def reference_of(data: Path, sha256: str, address: str) -> dict[str, Any] | None:
    """What the reference's manifest says of these weights, or of those at this address, if it holds them."""
    models = json.loads((data / "models" / "manifest.json").read_bytes())["models"]
    found = (one for one in models if one["sha256"] == sha256 or address.endswith(address_end(one)))
    return next(found, None)


def address_end(reference: Mapping[str, Any]) -> str:
    """How the address of a reference model's weights ends; nothing does that is made of others."""
    source = reference["source"]
    return "derived" if reference["derived"] else f"/{source['commit']}/{source['path']}"


def classifier_config(data: Path, model: str) -> ModelConfig:
    """A config of one of the reference's uint8 classifiers, made from its manifest."""
    entry = reference_entry(data, model)
    labels = (data / "models" / entry["labels_file"]).read_text().splitlines()
    document = {
        "task": "image-classification",
        "family": "classifier",
        "input": input_of(data, model),
        "output": {"parameters": {"scores": "probabilities"}},
        "labels": labels[: entry["num_labels"]],
        "thresholds": {"score": 0.0},
    }
    return parse_config(json.dumps(document))


def input_of(data: Path, model: str) -> dict[str, Any]:
    """The `input` of a config of a model that takes a batch of uint8 pictures, NHWC."""
    (given,) = reference_entry(data, model)["onnx"]["inputs"]
    _, height, width, _ = given["shape"]
    return {"name": given["name"], "width": width, "height": height, "layout": "NHWC", "dtype": "uint8"}


def recoloured(config: ModelConfig) -> ModelConfig:
    """The config with the wrong colour order."""
    return mistaken(config, colour_order="RGB" if config.input.colour_order == "BGR" else "BGR")


def mistaken(config: ModelConfig, **changes: Any) -> ModelConfig:
    """The config with another input; `mode` and `kernel` are those of its resize."""
    resize = {name: changes.pop(name) for name in ("mode", "kernel") if name in changes}
    changed = config.input.resize.model_copy(update=resize)
    given = config.input.model_copy(update={"resize": changed, **changes})
    return config.model_copy(update={"picture": given})
