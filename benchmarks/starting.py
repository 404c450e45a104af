"""How soon a service answers after its start, and what its processes hold then.

Beside it, in the same round: one plain Python that imports numpy, Pillow and onnxruntime, loads the same
models and runs each once. No server can start earlier, or hold less.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from benchmarks.figures import Spread
from benchmarks.machine import memory
from benchmarks.serving import Service

_PLAIN = """
import sys, numpy, onnxruntime, PIL.Image
sessions = [onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"]) for each in sys.argv[1:]]
for session in sessions:
    shape = [side if isinstance(side, int) else 1 for side in session.get_inputs()[0].shape]
    session.run(None, {session.get_inputs()[0].name: numpy.zeros(shape, numpy.float32)})
print("ran", flush=True)
sys.stdin.read()
"""


@dataclass(slots=True)
class StartResult:
    """One start a round: seconds until each model answered, and the memory (PSS) of all processes in MB."""

    workers: int
    seconds: list[float] = field(default_factory=list)
    proportional: list[float] = field(default_factory=list)
    plain_seconds: list[float] = field(default_factory=list)
    plain_proportional: list[float] = field(default_factory=list)

    @property
    def start_ratio(self) -> Spread:
        """To the first answer, of what the plain Python takes."""
        return _ratio(self.seconds, self.plain_seconds)

    @property
    def memory_ratio(self) -> Spread:
        """All processes of the service, of what the plain Python holds."""
        return _ratio(self.proportional, self.plain_proportional)


def _ratio(ours: Sequence[float], plain: Sequence[float]) -> Spread:
    return Spread.of([one / other for one, other in zip(ours, plain, strict=True)])


def measure(
    home: Path,
    workers: int,
    *,
    models: Mapping[str, Path],
    picture: bytes,
    rounds: int,
    tell: Callable[[str], None],
) -> StartResult:
    """Start and end the service `rounds` times; its home has the models. `models`: weights by name."""
    result = StartResult(workers)
    serve = ",".join(f"{model}:latest" for model in models)
    for number in range(rounds):
        seconds, held = _plain(models.values())
        result.plain_seconds.append(seconds)
        result.plain_proportional.append(held)
        begun = time.monotonic()
        with Service(home, workers, OKAWARI_SERVE=serve) as service:
            for model in models:
                url = f"{service.url}/predict?model={model}"
                httpx.post(url, content=picture, headers={"Content-Type": "image/jpeg"}).raise_for_status()
            result.seconds.append(time.monotonic() - begun)
            result.proportional.append(_held(service.master))
        tell(f"start {number + 1} of {rounds}, workers: {workers}")
    return result


def _plain(weights: Iterable[Path]) -> tuple[float, float]:
    begun = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", _PLAIN, *map(str, weights)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdout is None or process.stdout.readline() != b"ran\n":
            raise RuntimeError("the plain Python does not run the model")
        seconds, held = time.monotonic() - begun, _held(process.pid)
        process.kill()
    return seconds, held


def _held(pid: int) -> float:
    processes = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    found = [memory(each) for each in processes]
    return sum(resident if proportional is None else proportional for resident, proportional in found)
