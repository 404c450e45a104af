"""Each family on the running service, beside the same work in processes without a server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from api.protos import modelmora_pb2
from benchmarks.client import LoadGenerator, request
from benchmarks.figures import Spread, percentile
from benchmarks.limit import Limit
from benchmarks.machine import cores
from benchmarks.serving import HOST, Service
from hotswap.predictions import Options
from manifest.tags import ModelTag
from models_import.inferred_config import Given, infer_config

#: Pictures in one `GenerateBatch`.
BATCH = 16
_EMBEDDING = "/modelmora.v1.ModelInference/GenerateEmbedding"
_BATCHES = "/modelmora.v1.ModelInference/GenerateBatch"
_CLIP: Mapping[str, Any] = {
    "task": "zero-shot-classification",
    "family": "clip",
    "tokenizer": "tokenizer.json",
    "graphs": {"image": {"file": "vision_model.onnx"}, "text": {"file": "text_model.onnx"}},
    "input": {
        "name": "pixel_values",
        "width": 224,
        "height": 224,
        "resize": {"mode": "shortest_edge", "edge": 224, "kernel": "bicubic"},
        "scale": 1 / 255,
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
    },
}
_SAM: Mapping[str, Any] = {
    "task": "prompted-segmentation",
    "family": "sam",
    "graphs": {
        "encoder": {"file": "vision_encoder.onnx"},
        "decoder": {"file": "prompt_encoder_mask_decoder.onnx"},
    },
    "input": {
        "width": 1024,
        "height": 1024,
        "resize": {"mode": "longest_edge"},
        "pad": "zero",
        "scale": 1 / 255,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}
_SEGMENTER: Mapping[str, Any] = {
    "task": "semantic-segmentation",
    "family": "segmenter",
    "labels": [str(label) for label in range(150)],
    "input": {
        "width": 512,
        "height": 512,
        "scale": 1 / 255,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}
_PROMPT = "bird . red fox . person"


@dataclass(frozen=True, slots=True)
class FamilySubject:
    """A model of one family: files below the test data, its config, and what is asked of it."""

    name: str
    folder: str
    files: tuple[str, ...]
    config: Mapping[str, Any] | None = None
    options: Options = field(default_factory=Options)
    size: tuple[int, int] | None = None

    @property
    def target(self) -> str:
        """The path and query of its requests."""
        asked: dict[str, str] = {"model": self.name}
        if self.options.text_prompt:
            asked["text_prompt"] = self.options.text_prompt
        if self.options.points:
            asked["points"] = json.dumps(self.options.points)
        return f"/predict?{urlencode(asked)}"

    def version(self, data: Path, folder: Path) -> Path:
        """Write a version below `folder`, ready to be imported; return its folder."""
        made = folder / self.name / "v1"
        made.mkdir(parents=True)
        for file in self.files:
            shutil.copyfile(data / self.folder / file, made / file)
        config = json.dumps(self.config) if self.config else self._inferred(made)
        (made / "config.json").write_text(config)
        return made

    def _inferred(self, folder: Path) -> str:
        return infer_config(folder / self.files[0], Given(size=self.size)).text()


#: Real weights where there are some; else exports of the real architectures with random ones.
SUBJECTS = (
    FamilySubject("fastestdet", "models/fastestdet", ("fastestdet_v2.onnx",)),
    FamilySubject("nanodet", "models/nanodet_m_320", ("nanodet_m_320.onnx",)),
    FamilySubject("yolox", "models/yolox_nano", ("yolox_nano.onnx",)),
    FamilySubject("ultraface", "models/ultraface_rfb_320", ("ultraface_rfb_320.onnx",)),
    FamilySubject("classifier", "models/mobilenet_v2_imagenet", ("mobilenet_v2_imagenet.onnx", "labels.txt")),
    FamilySubject("embedder", "models/mobilenet_v1_embed", ("mobilenet_v1_embed.onnx",)),
    FamilySubject(
        "clip",
        "reference/clip",
        ("vision_model.onnx", "text_model.onnx", "tokenizer.json"),
        _CLIP,
        Options(text_prompt=_PROMPT),
    ),
    FamilySubject(
        "grounding-dino",
        "reference/grounding_dino",
        ("model.onnx", "tokenizer.json"),
        options=Options(text_prompt=_PROMPT),
        size=(800, 800),
    ),
    FamilySubject("rtdetr", "reference/rt_detr", ("model.onnx", "labels.txt"), size=(640, 640)),
    FamilySubject("segmenter", "reference/segformer", ("model.onnx",), _SEGMENTER),
    FamilySubject(
        "sam",
        "reference/sam",
        ("vision_encoder.onnx", "prompt_encoder_mask_decoder.onnx"),
        _SAM,
        Options(points=((0.5, 0.5, 1),)),
    ),
)


@dataclass(frozen=True, slots=True)
class FamilyRun:
    """One round: answers a second and milliseconds of an answer, of the service and of the limit."""

    rate: float
    limit_rate: float
    p50: float
    alone: float
    failed: int


@dataclass(slots=True)
class FamilyResult:
    """What came of one way to ask a family over all rounds."""

    name: str
    runs: list[FamilyRun] = field(default_factory=list)

    @property
    def of_limit(self) -> Spread:
        """Throughput as a share of the limit, with as many requests at once as there are cores."""
        return Spread.of([run.rate / run.limit_rate for run in self.runs])

    @property
    def over_alone(self) -> Spread:
        """What the service adds to one answer alone, in milliseconds at the median."""
        return Spread.of([run.p50 - run.alone for run in self.runs])

    def figure(self, name: str) -> Spread:
        """A figure of `FamilyRun` over the rounds."""
        return Spread.of([float(getattr(run, name)) for run in self.runs])

    @property
    def failed(self) -> int:
        """Requests that were not answered well."""
        return sum(run.failed for run in self.runs)


def measure(
    service: Service,
    subject: FamilySubject,
    pictures: Sequence[bytes],
    room: Path,
    *,
    rounds: int,
    seconds: float,
) -> Iterator[FamilyResult]:
    """A family over HTTP; one that gives vectors also over its calls of gRPC."""
    tag = ModelTag(subject.name, "v1")
    with Limit(service.home, tag, [pictures], cores(), options=subject.options) as limit:
        ways = {subject.name: _http(service, subject, pictures)}
        if subject.name == "embedder":
            calls = {"GenerateEmbedding": _EMBEDDING, f"GenerateBatch of {BATCH}": _BATCHES}
            for name, method in calls.items():
                ways[f"{subject.name}, {name}"] = _rpc(service, subject.name, method, pictures, room)
        # The limit has seen every picture before, which some families remember.
        _show(service, subject, pictures)
        for name, send in ways.items():
            result = FamilyResult(name)
            for _ in range(rounds):
                result.runs.append(_round(limit, send, seconds))
            yield result


@dataclass(frozen=True, slots=True)
class _Sent:
    rate: float
    milliseconds: Sequence[float]
    failed: int


_Send = Callable[[int, float], _Sent]


def _round(limit: Limit, send: _Send, seconds: float) -> FamilyRun:
    before = limit.run(0, seconds).rate
    full = send(cores(), seconds)
    after = limit.run(0, seconds).rate
    alone, single = limit.run(0, seconds, processes=1), send(1, seconds)
    return FamilyRun(
        rate=full.rate,
        limit_rate=(before + after) / 2,
        p50=percentile(single.milliseconds, 0.5),
        alone=percentile(alone.milliseconds, 0.5),
        failed=full.failed + single.failed,
    )


def _show(service: Service, subject: FamilySubject, pictures: Sequence[bytes]) -> None:
    """Have every picture answered once."""
    requests = [request(HOST, service.port, each, subject.target) for each in pictures]
    shown = LoadGenerator(service.address, requests, 1)
    shown.run(lambda: len(shown.done) >= len(requests))


def _http(service: Service, subject: FamilySubject, pictures: Sequence[bytes]) -> _Send:
    requests = [request(HOST, service.port, each, subject.target) for each in pictures]

    def send(concurrency: int, seconds: float) -> _Sent:
        until = time.monotonic() + seconds
        load = LoadGenerator(service.address, requests, concurrency).run(lambda: time.monotonic() >= until)
        return _Sent(load.rate, [one.milliseconds for one in load.done], load.failed)

    return send


def _rpc(service: Service, model: str, method: str, pictures: Sequence[bytes], room: Path) -> _Send:
    folder = room / method.rpartition("/")[2]
    folder.mkdir()
    asked = [modelmora_pb2.EmbeddingRequest(image_data=each, model_name=model) for each in pictures]
    if method == _BATCHES:
        many = [asked[at % len(asked)] for at in range(BATCH)]
        (folder / "batch").write_bytes(modelmora_pb2.BatchRequest(requests=many).SerializeToString())
    else:
        for at, each in enumerate(asked):
            (folder / f"{at:04}").write_bytes(each.SerializeToString())
    command = [sys.executable, "-m", "benchmarks.rpc_client", f"{HOST}:{service.grpc_port}", method]

    def send(concurrency: int, seconds: float) -> _Sent:
        done = subprocess.run(
            [*command, str(concurrency), str(seconds), str(folder)], capture_output=True, check=True
        )
        found = json.loads(done.stdout)
        return _Sent(found["answers"] / found["seconds"], found["milliseconds"], found["failed"])

    return send
