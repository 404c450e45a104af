"""How long a version of 100 MB takes to load, and what memory it takes: plainly, and from its compiled form.

Each load is the first of a process of its own. `python -m benchmarks.loading WAY FOLDER CACHE` is that
process: it loads, answers once, prints its figures as JSON, and waits for the end of stdin.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.figures import Spread
from common.process_memory import ProcessMemory
from hotswap.predictions import Picture
from models_import.compiler import Compiler
from runners.compiled_graphs import CompiledGraphs
from runners.loader import OnnxLoader
from runners.placed_graph import open_session
from tests.support.compiled import settled
from tests.support.weighty_model import Kind, write_weighty

KINDS: Final[tuple[Kind, ...]] = ("convolutions", "matrices")
#: By onnxruntime alone, by our loader from the version's own files, by it from the compiled form.
WAYS: Final = ("onnxruntime", "plain", "compiled")
#: Bytes of weights.
SIZE: Final = 100_000_000
_LIMIT: Final = 10**10


@dataclass(slots=True)
class LoadResult:
    """One kind of model loaded one way: milliseconds, and memory in MB.

    `own` is what a process has for itself afterwards, `second` what another process adds to the machine.
    """

    kind: str
    way: str
    opened: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    second: list[float] = field(default_factory=list)

    def spreads(self) -> Iterator[tuple[str, Spread]]:
        """Each figure with its name, over all rounds."""
        for name in ("opened", "answered", "own", "second"):
            yield name, Spread.of(getattr(self, name))


def measure(room: Path, rounds: int, tell: Callable[[str], None]) -> list[LoadResult]:
    """All kinds and ways, side by side in each round."""
    results = [LoadResult(kind, way) for kind in KINDS for way in WAYS]
    cache = room / "compiled"
    for kind in KINDS:
        artifact = settled(write_weighty(room / kind / "v1", SIZE, kind=kind))
        outcome = Compiler(CompiledGraphs(cache, _LIMIT)).compile(artifact)
        if outcome.kind != "compiled":
            raise RuntimeError(f"{kind}: {outcome.reason}")
    for number in range(rounds):
        for result in results:
            tell(f"{result.kind}, {result.way}, round {number + 1} of {rounds}")
            _add(result, room / result.kind / "v1", cache)
    return results


def _add(result: LoadResult, folder: Path, cache: Path) -> None:
    with ExitStack() as stack:
        first, second = (_loaded(stack, result.way, folder, cache) for _ in range(2))
    result.opened.append(first["opened"])
    result.answered.append(first["answered"])
    result.own.append(first["own"])
    result.second.append(second["own"])


def _loaded(stack: ExitStack, way: str, folder: Path, cache: Path) -> dict[str, float]:
    """The figures of a process that has loaded and stays until the stack ends."""
    command = [sys.executable, "-m", "benchmarks.loading", way, str(folder), str(cache)]
    process = stack.enter_context(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )
    if process.stdout is None or not (line := process.stdout.readline()):
        raise RuntimeError(f"{way} does not load the model")
    figures: dict[str, float] = json.loads(line)
    return figures


def main() -> None:
    """Load one version one way, and say what that took."""
    way, folder, cache = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    artifact = settled(folder)
    compiled = CompiledGraphs(cache, _LIMIT) if way == "compiled" else None
    picture = Picture(pixels=np.full((32, 32, 3), 127, np.uint8))
    before, begun = ProcessMemory.now(), time.perf_counter()
    if way == "onnxruntime":
        session = open_session(artifact.weights, 1, ())
        opened = time.perf_counter() - begun
        session.run(None, {"image": np.zeros((1, 3, 32, 32), np.float32)})
    else:
        runner = OnnxLoader(max_pixels=1_000_000, thread_cap=1, compiled=compiled).load(artifact)
        opened = time.perf_counter() - begun
        runner.predict([picture], runner.check_options())
    answered = time.perf_counter() - begun
    own = ProcessMemory.now().grown_since(before).own
    print(json.dumps({"opened": 1e3 * opened, "answered": 1e3 * answered, "own": own / 1e6}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
