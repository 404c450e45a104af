"""A compile in a throw-away process: optimise the graphs of a version, then prove that they answer as before.

`python -m models_import.compile_process` reads a `CompileTask` from the first line of stdin and writes a
`CompileResult` to stdout. It ends when stdin ends: with its parent.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, Field

from common.process_memory import ProcessMemory, mapped_bytes
from hotswap.errors import ServingError
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import CONFIG_FILE, parse_config
from runners.compiled_entry import CompiledCost, CompiledGraph
from runners.devices import Provider
from runners.loader import OnnxLoader
from runners.optimised_graph import open_optimised, save_optimised
from runners.ort_errors import reason_of
from runners.placed_graph import OpenSession, open_session
from runners.recorded_answers import RecordedSession

#: More than any check picture has; the service has its own limit.
_MAX_PIXELS = 50_000_000


class CompileTask(BaseModel):
    """The version, and the empty folder for its optimised graphs. `graphs` are those that were made."""

    folder: Path
    name: str
    version: str
    weights: str
    digest: str
    size_bytes: int
    out: Path
    graphs: dict[str, CompiledGraph] = Field(default_factory=dict)
    limit: float


class CompileResult(BaseModel):
    """The graphs with their answers, and what the optimised ones cost; else the reason of the failure.

    `signal` is what ended a step, 0 for nothing.
    """

    graphs: dict[str, CompiledGraph] = Field(default_factory=dict)
    cost: CompiledCost | None = None
    reason: str | None = None
    signal: int = 0


Step = Callable[[CompileTask], CompileResult]


def main() -> None:
    """Compile one version and print the result."""
    task = CompileTask.model_validate_json(sys.stdin.buffer.readline())
    print(_compiled(task).model_dump_json(), flush=True)


def _compiled(task: CompileTask) -> CompileResult:
    made = _in_fork(_make, task)
    if made.reason is not None:
        return made
    proven = _in_fork(_prove, task.model_copy(update={"graphs": made.graphs}))
    if proven.reason is None and proven.graphs != made.graphs:
        return CompileResult(reason="its optimised graphs answer otherwise on what it is checked with")
    return proven


def _in_fork(step: Step, task: CompileTask) -> CompileResult:
    """Run a step in a fork: both begin with the same imports and no graph, so that memory is comparable."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _step(step, task, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        return CompileResult.model_validate_json(said)
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return CompileResult(reason=f"its compile ended with {how}", signal=max(0, -status))


def _step(step: Step, task: CompileTask, write: int) -> NoReturn:
    status = 1
    try:
        signal.alarm(int(task.limit) + 5)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        with os.fdopen(write, "wb") as pipe:
            pipe.write(_tried(step, task).model_dump_json().encode())
        status = 0
    finally:
        os._exit(status)


def _tried(step: Step, task: CompileTask) -> CompileResult:
    try:
        return step(task)
    except ServingError as error:
        return CompileResult(reason=error.message)
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common root
        return CompileResult(reason=reason_of(error, task.out))


def _end_with_parent() -> None:
    # Not by the buffer, whose lock would be held when this process ends by itself.
    os.read(0, 1)
    os._exit(1)


def _make(task: CompileTask) -> CompileResult:
    """Optimise each graph as it is opened, and record what the plain one answers."""
    graphs: dict[str, CompiledGraph] = {}
    answers: dict[str, dict[str, str]] = {}

    def opened(weights: Path, threads: int, providers: Sequence[Provider]) -> Any:
        session = open_session(weights, threads, providers)
        source = weights.relative_to(task.folder).as_posix()
        graphs[source] = CompiledGraph(file=f"graph-{len(graphs)}.onnx", threads=threads)
        save_optimised(weights, threads, task.out / graphs[source].file)
        return RecordedSession(session, answers.setdefault(source, {}))

    _checked(task, opened)
    return CompileResult(graphs=_with_answers(graphs, answers))


def _prove(task: CompileTask) -> CompileResult:
    """Load the optimised graphs as a worker does; record their answers, and measure."""
    answers: dict[str, dict[str, str]] = {}

    def opened(weights: Path, threads: int, _providers: Sequence[Provider]) -> Any:
        source = weights.relative_to(task.folder).as_posix()
        session = open_optimised(task.out / task.graphs[source].file, threads)
        return RecordedSession(session, answers.setdefault(source, {}))

    return CompileResult(cost=_checked(task, opened), graphs=_with_answers(task.graphs, answers))


def _with_answers(
    graphs: dict[str, CompiledGraph], answers: dict[str, dict[str, str]]
) -> dict[str, CompiledGraph]:
    return {
        source: graph.model_copy(update={"answers": answers.get(source, {})})
        for source, graph in graphs.items()
    }


def _checked(task: CompileTask, opened: OpenSession) -> CompiledCost:
    """Load and check the version as a worker does; say what that cost. Raises `ServingError`."""
    loader = OnnxLoader(max_pixels=_MAX_PIXELS, thread_cap=1, open_graph=opened)
    artifact = _artifact(task)
    before, began = ProcessMemory.now(), time.perf_counter()
    runner = loader.load(artifact)
    seconds = time.perf_counter() - began
    try:
        runner.check()
        grown = ProcessMemory.now().grown_since(before)
        mapped = mapped_bytes(task.out)
    finally:
        runner.close()
    return CompiledCost(
        load_seconds=round(seconds, 4),
        own_bytes=grown.own,
        shared_bytes=sum(file.stat().st_size for file in task.out.iterdir()) if mapped is None else mapped,
        peak_bytes=max(grown.own, grown.peak - (grown.resident - grown.own)),
    )


def _artifact(task: CompileTask) -> Artifact:
    return Artifact(
        tag=ModelTag(task.name, task.version),
        path=task.folder,
        weights=task.folder / task.weights,
        digest=task.digest,
        config=parse_config((task.folder / CONFIG_FILE).read_bytes()),
        created=datetime.now(UTC),
        size_bytes=task.size_bytes,
    )


if __name__ == "__main__":
    main()
