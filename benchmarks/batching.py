"""Requests that share a run of the graph, against the same requests alone: models of one service, in turn."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.client import LoadGenerator, request
from benchmarks.figures import Spread
from benchmarks.models import Subject
from benchmarks.serving import HOST, Service
from benchmarks.steady import Loaded
from models_import.inferred_config import Given, infer_config

CONCURRENCY = 16
#: What the config of each variant asks for; the first is the one that others are compared with.
VARIANTS: Mapping[str, Mapping[str, float] | None] = {
    "alone": None,
    "batch 8": {"max_size": 8},
    "batch 8, 2 ms": {"max_size": 8, "max_wait_ms": 2},
}
#: 134 MB of weights.
_WIDE = 2048


@dataclass(slots=True)
class BatchingResult:
    """One model: what each variant did in each round."""

    name: str
    runs: dict[str, list[Loaded]] = field(default_factory=lambda: {name: [] for name in VARIANTS})

    def of_alone(self, variant: str, figure: Callable[[Loaded], float]) -> Spread:
        """A figure of a variant as a share of that of requests alone, in the same round."""
        pairs = zip(self.runs[variant], self.runs["alone"], strict=True)
        return Spread.of([figure(one) / figure(alone) for one, alone in pairs])


@dataclass(frozen=True, slots=True)
class BatchingSubject:
    """A model that can answer several pictures in one run."""

    name: str
    files: tuple[Path, ...]
    config: dict[str, Any]

    def versions(self, folder: Path) -> list[Path]:
        """Write a version for each variant, as a model of its own."""
        made = []
        for number, batching in enumerate(VARIANTS.values()):
            version = folder / f"{self.name}-{number}" / "v1"
            version.mkdir(parents=True)
            for file in self.files:
                shutil.copyfile(file, version / file.name)
            config = self.config if batching is None else self.config | {"batching": batching}
            (version / "config.json").write_text(json.dumps(config))
            made.append(version)
        return made


def subjects(room: Path, generated: Subject, data: Path | None) -> list[BatchingSubject]:
    """Convolutions, and dense layers that are bound by memory; real exports where the test data has them."""
    dense = models.dense(room, "dense", _WIDE)
    found = [BatchingSubject(dense.name, (dense.weights,), dense.config)]
    if data is None:
        return [BatchingSubject("convolutions", (generated.weights,), generated.config), *found]
    mobilenet = data / "models" / "mobilenet_v2_imagenet"
    detector = BatchingSubject(
        "fastestdet", (data / "models" / "fastestdet" / "fastestdet_v2_dyn.onnx",), generated.config
    )
    classifier = (mobilenet / "mobilenet_v2_imagenet.onnx", mobilenet / "labels.txt")
    embedder = data / "reference" / "dinov2"
    exported = (embedder / "model.onnx", embedder / "preprocessor_config.json")
    return [
        detector,
        BatchingSubject("mobilenet-v2", classifier, _inferred(classifier[0])),
        BatchingSubject("dinov2", exported, _inferred(exported[0])),
        *found,
    ]


def measure(
    service: Service,
    subject: BatchingSubject,
    pictures: Sequence[bytes],
    *,
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> BatchingResult:
    """Load each variant for some seconds, one after the other, `rounds` times."""
    result = BatchingResult(subject.name)
    for _ in range(rounds):
        for number, variant in enumerate(VARIANTS):
            result.runs[variant].append(_loaded(service, f"{subject.name}-{number}", pictures, seconds))
            tell(f"{subject.name}, {variant}")
    return result


def _loaded(service: Service, model: str, pictures: Sequence[bytes], seconds: float) -> Loaded:
    requests = [request(HOST, service.port, each, f"/predict?model={model}") for each in pictures]
    before = service.cpu_seconds()
    until = time.monotonic() + seconds
    load = LoadGenerator(service.address, requests, CONCURRENCY).run(lambda: time.monotonic() >= until)
    spent = [after - had for after, had in zip(service.cpu_seconds(), before, strict=True)]
    return Loaded(load, tuple(spent))


def _inferred(weights: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(infer_config(weights, Given()).text())
    return config
