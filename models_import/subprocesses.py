"""Programs of ours that run in a process of their own."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent

#: How a module of ours is started so that it gives way; it needs `start_new_session`.
POLITELY = (sys.executable, "-m", "models_import.subprocesses")


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


_LOW = 10


def give_way() -> None:
    """Let this process, and those it will start, take a tenth of what others take who want the processor.

    Less would starve an import beside a service that is never idle.

    Where Linux shares the processor between sessions first (autogroup), a process's own priority counts
    only within its session; so a process that leads one lowers that, too, and nobody else's.
    """
    with suppress(OSError, AttributeError):
        os.nice(_LOW)
    with suppress(OSError, AttributeError):
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text(str(_LOW))


def main() -> None:
    """`python -m models_import.subprocesses MODULE ARGUMENT…`: give way, then be that module."""
    give_way()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
