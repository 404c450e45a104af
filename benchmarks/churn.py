"""One model under steady traffic while another one loads every second: what its callers notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.client import Load, LoadGenerator, request
from benchmarks.figures import Spread, percentile
from benchmarks.models import dense
from benchmarks.serving import HOST, Service

NAME = "restless"
CONCURRENCY = 2
#: Columns of the layers of the model that loads: 59 MB.
_WIDE = 1024
_EVERY = 1.0
_PATIENCE = 60.0


@dataclass(slots=True)
class ChurnResult:
    """Milliseconds of the steady model's answers, a round quiet and a round in the storm in turn."""

    workers: int
    size_mb: float
    quiet: list[Load] = field(default_factory=list)
    storm: list[Load] = field(default_factory=list)
    #: Seconds from each request for a load to its answer.
    loads: list[float] = field(default_factory=list)

    def ratio(self, share: float) -> Spread:
        """A percentile in the storm against the quiet round before it."""
        pairs = zip(self.storm, self.quiet, strict=True)
        return Spread.of([_latency(storm, share) / _latency(quiet, share) for storm, quiet in pairs])

    def latency(self, loads: Sequence[Load], share: float) -> Spread:
        """A percentile over rounds, in milliseconds."""
        return Spread.of([_latency(load, share) for load in loads])

    @property
    def throughput(self) -> Spread:
        """Answers a second in the storm against the quiet round before it."""
        return Spread.of(
            [storm.rate / quiet.rate for storm, quiet in zip(self.storm, self.quiet, strict=True)]
        )

    @property
    def failed(self) -> int:
        """Requests that were not answered well."""
        return sum(load.failed for load in (*self.quiet, *self.storm))


def _latency(load: Load, share: float) -> float:
    return percentile([one.milliseconds for one in load.done], share)


def restless(folder: Path) -> list[Path]:
    """Two versions of the model that goes back and forth."""
    return [dense(folder, NAME, _WIDE, seed).version(folder / "versions", f"v{seed}") for seed in (1, 2)]


def measure(
    service: Service,
    steady: str,
    versions: Sequence[Path],
    pictures: Sequence[bytes],
    *,
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> ChurnResult:
    """Load the steady model for some seconds, quiet and in the storm, `rounds` times."""
    size = (versions[0] / "weights.onnx").stat().st_size / 1e6
    result = ChurnResult(service.workers, size)
    for _ in range(rounds):
        result.quiet.append(_load(service, steady, pictures, seconds))
        tell("quiet")
        with _Storm(service, versions, result.loads):
            result.storm.append(_load(service, steady, pictures, seconds))
        tell("storm")
    return result


def _load(service: Service, model: str, pictures: Sequence[bytes], seconds: float) -> Load:
    requests = [request(HOST, service.port, each, f"/predict?model={model}") for each in pictures]
    until = time.monotonic() + seconds
    return LoadGenerator(service.address, requests, CONCURRENCY).run(lambda: time.monotonic() >= until)


class _Storm:
    """Within the block the other model changes its version every second, over the management API."""

    def __init__(self, service: Service, versions: Sequence[Path], loads: list[float]) -> None:
        self._url = f"{service.url}/models/{NAME}/target"
        self._versions = [each.name for each in versions]
        self._loads = loads
        self._ending = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._blow)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _blow(self) -> None:
        try:
            with httpx.Client(timeout=_PATIENCE) as client:
                while not self._ending.is_set():
                    begun = time.monotonic()
                    self._switch(client)
                    self._loads.append(time.monotonic() - begun)
                    self._ending.wait(begun + _EVERY - time.monotonic())
        except Exception as error:  # noqa: BLE001 - raised at the end of the block
            self._error = error

    def _switch(self, client: httpx.Client) -> None:
        """Switch to the version that was loaded longer ago; return when it serves."""
        version = self._versions[len(self._loads) % len(self._versions)]
        client.put(self._url, json={"target": version}).raise_for_status()
