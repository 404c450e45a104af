"""What the figures were taken on, and what a process costs there."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

_LIBRARIES = ("bentoml", "onnxruntime", "uvicorn", "uvloop", "httptools", "pillow", "numpy")
_ROOT = Path(__file__).resolve().parent.parent


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """The machine, the libraries and the state of the code, for the results file."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": cores(),
        "memory_mb": psutil.virtual_memory().total // 1_000_000,
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "commit": _commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    """The commit, with `+` when files differ from it; None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],  # noqa: S607 - whichever git is there
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def cpu_seconds(pids: Iterable[int]) -> list[float]:
    """The processor time, in user and system mode, that each process has used so far."""
    times = (psutil.Process(pid).cpu_times() for pid in pids)
    return [each.user + each.system for each in times]


def memory(pid: int) -> tuple[float, float | None]:
    """Resident and, where the system tells it, proportional memory of a process, in MB."""
    found = psutil.Process(pid)
    try:
        proportional = found.memory_full_info().pss / 1e6
    except (AttributeError, psutil.Error, OSError):
        proportional = None
    return found.memory_info().rss / 1e6, proportional or None
