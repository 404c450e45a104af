"""A model is tried in a throw-away process before the store shows it: it may crash, hang or eat memory.

`python -m models_import.probe FOLDER` reads a `Task` from stdin and writes a `Finding` to stdout.
"""

from __future__ import annotations

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
from hotswap.manifest import CONFIG_FILE, BadManifest, Measured, parse_config
from hotswap.predictions import Options, Picture
from hotswap.repository import Artifact
from hotswap.tags import ModelTag
from models_import.errors import ImportRefused
from models_import.subprocesses import POLITELY, child_environment, last_words

#: Seconds within which a model must load, pass its self-check and answer once.
LIMIT = 300.0

#: More than any test picture has; the service has a limit of its own.
_MAX_PIXELS = 50_000_000


class Task(BaseModel):
    """What the child is asked to try."""

    folder: Path
    name: str
    version: str
    weights: str
    digest: str
    size_bytes: int
    limit: float


class ProbeResult(BaseModel):
    """What the child found: measurements, or a reason."""

    measured: Measured | None = None
    reason: str | None = None


Probe = Callable[[Task], Measured]


def probe(task: Task) -> Measured:
    """Load the model in a child, check it, run it once; raise `ImportRefused` with the reason."""
    command = [*POLITELY, __name__]
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
    return _understood(done)


def _understood(done: subprocess.CompletedProcess[bytes]) -> Measured:
    if done.returncode != 0:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        if done.returncode == -signal.SIGKILL:
            how += ", as the system ends what takes more memory than there is"
        raise ImportRefused(f"loading the model crashed with {how}: {last_words(done.stderr)}")
    finding = ProbeResult.model_validate_json(done.stdout.splitlines()[-1])
    if finding.measured is None:
        raise ImportRefused(f"the model cannot be used: {finding.reason}")
    return finding.measured


def main() -> None:
    """Try one model and say what came of it."""
    task = Task.model_validate_json(sys.stdin.buffer.read())
    # Whoever waits for this process may be gone before it can end it.
    signal.alarm(int(task.limit) + 5)
    try:
        finding = ProbeResult(measured=_try(_artifact(task)))
    except (ServingError, BadManifest) as error:
        finding = ProbeResult(reason=str(error))
    print(finding.model_dump_json())


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


def _try(artifact: Artifact) -> Measured:
    import onnxruntime

    from runners.loader import OnnxLoader

    loader = OnnxLoader(max_pixels=_MAX_PIXELS, thread_cap=1)
    before = _resident()
    began = time.monotonic()
    runner = loader.load(artifact)
    took = time.monotonic() - began
    try:
        runner.check()
        runner.predict([_grey(artifact)], Options())
        resident, peak = _resident(), _peak()
    finally:
        runner.close()
    return Measured(
        load_seconds=round(took, 4),
        peak_bytes=max(0, peak - before),
        resident_bytes=max(0, resident - before),
        onnxruntime=onnxruntime.__version__,
    )


def _grey(artifact: Artifact) -> Picture:
    given = artifact.config.input
    return Picture(pixels=np.full((given.height, given.width, 3), 127, np.uint8))


def _resident() -> int:
    return _status("VmRSS") or _most_resident()


def _peak() -> int:
    return _status("VmHWM") or _most_resident()


def _status(field: str) -> int | None:
    """A line of what Linux says of this process, in bytes; None on other systems."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def _most_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
