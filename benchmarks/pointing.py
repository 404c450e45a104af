"""Ten points on one large picture: from the second on a point costs the decoder alone.

The export has random weights, whose masks are fuzz of 160,000 runs. Trained weights give smooth masks, so the
decoder of this measure ends in means of 16x16 pixels, interpolated, less the mean of all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.families import FamilySubject
from benchmarks.figures import Spread
from benchmarks.limit import artifact
from benchmarks.machine import cores
from benchmarks.serving import Service
from hotswap.predictions import Options, Picture
from manifest.tags import ModelTag
from runners.loader import OnnxLoader

NAME = "sam-smooth"
_CELL = 16
_SIDES = {"third": [3], "end": [5], "one": [-1, 1]}
POINTS = tuple((0.1 + 0.08 * at, 0.5, 1) for at in range(10))


@dataclass(frozen=True, slots=True)
class PointsResult:
    """Milliseconds of the points, in order: through the service, and in a process without a server.

    `stages` are the timings that each answer of the service names; `picture` says what the picture is like.
    """

    picture: str
    served: tuple[float, ...]
    alone: tuple[float, ...]
    stages: tuple[Mapping[str, float], ...]

    @property
    def encoder_runs(self) -> int:
        """How many points decoded the picture and prepared it for the encoder."""
        return sum(each["preprocess"] > 0 for each in self.stages)

    @property
    def decoder(self) -> Spread:
        """Milliseconds that the later points spent in graphs: the decoder, where the encoder ran once."""
        return self._later("inference")

    @property
    def mask(self) -> Spread:
        """Milliseconds in which they made the mask of the picture's size."""
        return self._later("postprocess")

    def _later(self, stage: str) -> Spread:
        return Spread.of([each[stage] for each in self.stages[1:]])

    @property
    def next_of_first(self) -> Spread:
        """What a later point costs, as a share of the first one."""
        return Spread.of([each / self.served[0] for each in self.served[1:]])

    @property
    def over_alone(self) -> Spread:
        """What the service adds to the decoder, in milliseconds."""
        return Spread.of([a - b for a, b in zip(self.served[1:], self.alone[1:], strict=True)])


def version(sam: FamilySubject, data: Path, room: Path) -> Path:
    """Write the version whose masks are smooth; return its folder."""
    folder = replace(sam, name=NAME).version(data, room)
    path = folder / sam.files[1]
    decoder = onnx.load(path)
    graph, size = decoder.graph, [_CELL, _CELL]
    place = next(at for at, each in enumerate(graph.output) if each.name == "pred_masks")
    sides = [
        numpy_helper.from_array(np.array(each, np.int64), f"bench_{name}") for name, each in _SIDES.items()
    ]
    scales = np.array([1, 1, _CELL, _CELL], np.float32)
    graph.initializer.extend([*sides, numpy_helper.from_array(scales, "bench_scales")])
    nodes: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
        ("Shape", ["pred_masks"], "bench_shape", {}),
        ("Slice", ["bench_shape", "bench_third", "bench_end"], "bench_sides", {}),
        ("Concat", ["bench_one", "bench_sides"], "bench_flat_shape", {"axis": 0}),
        ("Reshape", ["pred_masks", "bench_flat_shape"], "bench_flat", {}),
        ("AveragePool", ["bench_flat"], "bench_cells", {"kernel_shape": size, "strides": size}),
        ("Resize", ["bench_cells", "", "bench_scales"], "bench_mean", {"mode": "linear"}),
        ("ReduceMean", ["bench_mean"], "bench_level", {}),
        ("Sub", ["bench_mean", "bench_level"], "bench_signed", {}),
        ("Reshape", ["bench_signed", "bench_shape"], "bench_masks", {}),
    )
    graph.node.extend(helper.make_node(kind, ins, [out], **more) for kind, ins, out, more in nodes)
    for node in graph.node[: -len(nodes)]:
        node.output[:] = ["raw_masks" if each == "pred_masks" else each for each in node.output]
    for node in graph.node:
        node.input[:] = ["raw_masks" if each == "pred_masks" else each for each in node.input]
        node.output[:] = ["pred_masks" if each == "bench_masks" else each for each in node.output]
    graph.output[place].name = "pred_masks"
    onnx.save(decoder, path)
    return folder


def measure(service: Service, name: str, picture: bytes) -> PointsResult:
    """Ask for ten points of a picture that the service has not seen."""
    runner = OnnxLoader(max_pixels=50_000_000, thread_cap=cores()).load(
        artifact(service.home, ModelTag(NAME, "v1"))
    )

    def alone(point: tuple[float, float, int]) -> None:
        runner.predict([Picture(encoded=picture)], Options(points=(point,)))

    stages: list[Mapping[str, float]] = []
    with httpx.Client(base_url=service.url, timeout=120) as client:

        def served(point: tuple[float, float, int]) -> None:
            asked: Mapping[str, str] = {"model": NAME, "points": json.dumps([point])}
            answer = client.post(
                f"/predict?{urlencode(asked)}", content=picture, headers={"Content-Type": "image/jpeg"}
            )
            answer.raise_for_status()
            stages.append(answer.json()["timings_ms"])

        return PointsResult(name, _timed(served), _timed(alone), tuple(stages))


def _timed(ask: Callable[[tuple[float, float, int]], None]) -> tuple[float, ...]:
    taken = []
    for point in POINTS:
        before = time.perf_counter()
        ask(point)
        taken.append((time.perf_counter() - before) * 1e3)
    return tuple(taken)
