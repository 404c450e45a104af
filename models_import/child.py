"""Programs of ours that run in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent

#: How a module of ours is started so that it gives way; it needs `start_new_session`.
POLITELY = (sys.executable, "-m", "models_import.politeness")


def child_environment(**changes: str) -> dict[str, str]:
    """This process's environment, in which a child finds our modules wherever it starts."""
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    found = os.pathsep.join(path for path in paths if path)
    return os.environ | {"PYTHONPATH": found, "BENTOML_DO_NOT_TRACK": "True"} | changes


def run_module(
    module: str, *arguments: str, timeout: float | None = None, **changes: str
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m module arguments` to its end, its environment changed by `changes`.

    It gives way to everybody (see `politeness`), in a session of its own. After `timeout` seconds it is
    killed and `subprocess.TimeoutExpired` raised.
    """
    return subprocess.run(
        [*POLITELY, module, *arguments],
        env=child_environment(**changes),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        check=False,
        timeout=timeout,
    )


def last_words(stderr: bytes) -> str:
    """The last line that says something, of what a child said before it ended."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it ended without a word"
