"""Commands of this environment in forks of a process that has imported the libraries of others.

A service that a test starts spends half its processor time on imports. What reads a service's own variables
when it is imported (the Prometheus client, the list of families, and what needs them) is not there before the
fork, nor is onnxruntime, which starts a thread that a fork would wait for in its end. BentoML reads but
BENTOML_CONFIG, which no test sets.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

_LIBRARIES = (
    "_bentoml_impl.server.app",
    "_bentoml_impl.server.serving",
    "_bentoml_impl.worker.service",
    "bentoml",
    "bentoml_cli.cli",
    "bentoml_cli.serve",
    "cattrs",
    "click_option_group",
    "cronsim",
    "fastapi.applications",
    "fastapi_offline",
    "fsspec",
    "grpc",
    "grpc.aio",
    "grpc_health.v1.health_pb2",
    "grpc_reflection.v1alpha.reflection",
    "httptools",
    "httpx",
    "httpx_ws",
    "jinja2",
    "numpy",
    "numpy.typing",
    "opentelemetry.instrumentation.asgi",
    "opentelemetry.sdk.trace.export",
    "orjson",
    "pathspec",
    "PIL.Image",
    "PIL.ImageDraw",
    "PIL.ImageOps",
    "psutil",
    "pydantic",
    "pydantic_settings",
    "rich.console",
    "rich.table",
    "rich.traceback",
    "simplejpeg",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.loops.uvloop",
    "uvicorn.main",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
    "watchfiles",
    "yaml",
)
#: Modules of the product that read nothing of the service that will import them.
_OURS = (
    "adapters.sql.database",
    "api.grpc.call_handler",
    "hotswap.dataplane",
    "hotswap.reconciler",
    "lineage.retention",
    "models_import.importer",
    "registry.model_list_file",
    "residency.planner",
    "telemetry.logs",
    "workers.membership",
)
#: Never before the fork.
_NEVER = ("onnxruntime", "prometheus_client", "runners.families.index", "settings")
#: Bytes of the longest message: a command and its environment.
_LONGEST = 1 << 17
_ROOT = Path(__file__).resolve().parents[2]


class Launched:
    """A process that the launcher has forked; as much of `subprocess.Popen` as the tests use."""

    def __init__(self, launcher: Launcher, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._launcher = launcher

    def poll(self) -> int | None:
        """Its exit code, or minus the number of the signal that ended it; None while it runs."""
        if self.returncode is None:
            self.returncode = self._launcher.ask(ended=self.pid)
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        """Wait for its end. Raises `subprocess.TimeoutExpired`."""
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return status


class Launcher:
    """The process that forks. It ends with the one that made it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, cwd=_ROOT, pass_fds=[theirs.fileno()])

    def launch(self, script: Path, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> Launched:
        """Run a Python script in a session of its own in the checkout, its output in `log`."""
        return Launched(
            self, int(self.ask(script=str(script), arguments=[*arguments], env={**env}, log=str(log)))
        )

    def ask(self, **message: object) -> Any:
        """Send one message and wait for its answer."""
        with self._lock:
            self._socket.send(json.dumps(message).encode())
            return json.loads(self._socket.recv(_LONGEST))


@cache
def launcher() -> Launcher:
    """The launcher of this process."""
    return Launcher()


def _serve(server: socket.socket) -> dict[str, Any] | None:
    """Answer until the other end closes; in a fork, return what it is to run."""
    while text := server.recv(_LONGEST):
        message: dict[str, Any] = json.loads(text)
        if "ended" in message:
            pid, status = os.waitpid(message["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            return message
        server.send(json.dumps(answer).encode())
    return None


def _run(script: str, arguments: list[str], env: dict[str, str], log: str) -> None:
    """Become a process that looks as if it were started by the script's name."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


def _main() -> None:
    os.chdir(_ROOT)
    for module in (*_LIBRARIES, *_OURS):
        importlib.import_module(module)
    if early := [name for name in _NEVER if name in sys.modules]:
        raise ImportError(f"{', '.join(early)}: not before the fork")
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        what = _serve(asked)
    if what is not None:
        _run(**what)


if __name__ == "__main__":
    _main()
