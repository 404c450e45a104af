"""Runs our own modules in child processes of low priority."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent

#: The command prefix that starts a module with low priority; it needs `start_new_session`.
LOW_PRIORITY = (sys.executable, "-m", "models_import.subprocesses")


def child_environment(**changes: str) -> dict[str, str]:
    """This process's environment with our modules on the path, from any working folder."""
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    search_path = os.pathsep.join(path for path in paths if path)
    return os.environ | {"PYTHONPATH": search_path, "BENTOML_DO_NOT_TRACK": "True"} | changes


def run_module(
    module: str, *arguments: str, timeout: float | None = None, **changes: str
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m module arguments` to its end, with `changes` to the environment.

    It runs with low priority (see `lower_priority`), in its own session. After `timeout` seconds it is
    killed and `subprocess.TimeoutExpired` is raised.
    """
    return subprocess.run(
        [*LOW_PRIORITY, module, *arguments],
        env=child_environment(**changes),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        check=False,
        timeout=timeout,
    )


def last_words(stderr: bytes) -> str:
    """The last non-empty line of a child's output."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it ended without output"


_LOW = 10


def lower_priority() -> None:
    """Limit this process and its children to a tenth of the CPU time of a competing process.

    A lower share would starve an import beside a service that is never idle.

    Where Linux shares the CPU between sessions first (autogroup), a process's priority counts only within
    its session, so the leader of a session lowers the priority of its session too.
    """
    with suppress(OSError, AttributeError):
        os.nice(_LOW)
    with suppress(OSError, AttributeError):
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text(str(_LOW))


def main() -> None:
    """`python -m models_import.subprocesses MODULE ARGUMENT…`: lower the priority, then run the module."""
    lower_priority()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
