"""Ten points on one large picture: from the second on a point costs the decoder alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx

from benchmarks.families import FamilySubject
from benchmarks.figures import Spread
from benchmarks.limit import artifact
from benchmarks.machine import cores
from benchmarks.serving import Service
from hotswap.predictions import Options, Picture
from manifest.tags import ModelTag
from runners.loader import OnnxLoader

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


def measure(service: Service, subject: FamilySubject, name: str, picture: bytes) -> PointsResult:
    """Ask for ten points of a picture that the service has not seen."""
    runner = OnnxLoader(max_pixels=50_000_000, thread_cap=cores()).load(
        artifact(service.home, ModelTag(subject.name, "v1"))
    )

    def alone(point: tuple[float, float, int]) -> None:
        runner.predict([Picture(encoded=picture)], Options(points=(point,)))

    stages: list[Mapping[str, float]] = []
    with httpx.Client(base_url=service.url, timeout=120) as client:

        def served(point: tuple[float, float, int]) -> None:
            asked: Mapping[str, str] = {"model": subject.name, "points": json.dumps([point])}
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
