"""Tests a model in a child process before it is published: it may crash, hang or exhaust the memory.

`python -m models_import.probe` reads a `Task` from stdin and writes a `ProbeResult` to stdout.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from hotswap.errors import ServingError
from hotswap.predictions import Picture
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import CONFIG_FILE, BadManifest, InputConfig, Measured, parse_config
from models_import.errors import ImportRefused
from models_import.subprocesses import LOW_PRIORITY, child_environment, last_words

#: The variable that names the team root, which the child reads by itself.
TEAM_ROOT = "OKAWARI_TEAM_ROOT"
_USUAL_ROOT = "/app"

#: Seconds in which a model must load, pass its self-check and answer once.
LIMIT = 300.0

#: More than any check picture has; the service has its own limit.
_MAX_PIXELS = 50_000_000


class Task(BaseModel):
    """The version for the child to test."""

    folder: Path
    name: str
    version: str
    weights: str
    digest: str
    size_bytes: int
    limit: float


class ProbeResult(BaseModel):
    """The child's result: measurements, or the reason of the failure."""

    measured: Measured | None = None
    reason: str | None = None


Probe = Callable[[Task], Measured]


def probe(task: Task) -> Measured:
    """Load, check and run the model once in a child process. Raises `ImportRefused` with the reason."""
    command = [*LOW_PRIORITY, __name__]
    try:
        done = subprocess.run(
            command,
            input=task.model_dump_json().encode(),
            env=child_environment(),
            start_new_session=True,
            capture_output=True,
            timeout=task.limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ImportRefused(f"the model did not load and answer within {task.limit:g} s") from None
    return _measured(done)


def _measured(done: subprocess.CompletedProcess[bytes]) -> Measured:
    if done.returncode != 0:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        if done.returncode == -signal.SIGKILL:
            how += ", probably because the machine ran out of memory"
        raise ImportRefused(f"loading the model crashed with {how}: {last_words(done.stderr)}")
    result = ProbeResult.model_validate_json(done.stdout.splitlines()[-1])
    if result.measured is None:
        raise ImportRefused(f"the model cannot be used: {result.reason}")
    return result.measured


def main() -> None:
    """Test one model and print the result."""
    task = Task.model_validate_json(sys.stdin.buffer.read())
    # The parent may be gone before it can kill this process.
    signal.alarm(int(task.limit) + 5)
    try:
        result = ProbeResult(measured=_measure(_artifact(task)))
    except (ServingError, BadManifest) as error:
        result = ProbeResult(reason=str(error))
    print(result.model_dump_json())


def _artifact(task: Task) -> Artifact:
    return Artifact(
        tag=ModelTag(task.name, task.version),
        path=task.folder,
        weights=task.folder / task.weights,
        digest=task.digest,
        config=parse_config((task.folder / CONFIG_FILE).read_bytes()),
        created=datetime.now(UTC),
        size_bytes=task.size_bytes,
    )


def _measure(artifact: Artifact) -> Measured:
    import onnxruntime

    from runners.loader import OnnxLoader
    from runners.teams import AdapterFolders

    adapters = AdapterFolders(Path(os.environ.get(TEAM_ROOT) or _USUAL_ROOT))
    loader = OnnxLoader(max_pixels=_MAX_PIXELS, thread_cap=1, adapters=adapters)
    before = _resident()
    began = time.monotonic()
    runner = loader.load(artifact)
    took = time.monotonic() - began
    try:
        runner.check()
        if artifact.config.picture is not None:
            runner.predict([_grey(artifact.config.picture)], runner.check_options())
        resident, peak = _resident(), _peak()
    finally:
        runner.close()
    return Measured(
        load_seconds=round(took, 4),
        peak_bytes=max(0, peak - before),
        resident_bytes=max(0, resident - before),
        onnxruntime=onnxruntime.__version__,
    )


def _grey(size: InputConfig) -> Picture:
    return Picture(pixels=np.full((size.height, size.width, 3), 127, np.uint8))


def _resident() -> int:
    return _status("VmRSS") or _most_resident()


def _peak() -> int:
    return _status("VmHWM") or _most_resident()


def _status(field: str) -> int | None:
    """A value of `/proc/self/status` in bytes; None on other systems than Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def _most_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
