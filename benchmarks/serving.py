"""The real service, started as its users start it, with a home of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from benchmarks.machine import cpu_seconds
from models_import.subprocesses import child_environment
from workers.run_folder import RunFolder

HOST = "127.0.0.1"
_ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_PYTHON = [sys.executable, "-m", "bentoml"]
_AFTER = "{}\nimport runpy\nrunpy.run_module('bentoml', run_name='__main__', alter_sys=True)"


class Service:
    """One running service; leaving the `with` block ends it."""

    def __init__(self, home: Path, workers: int, *, prelude: str = "", **settings: str) -> None:
        """`prelude` is Python that runs in the master before all else; the workers are its forks."""
        self.home = home
        self.workers = workers
        self._prelude = prelude
        self._settings = settings
        self.port = _free_port()
        self.grpc_port = _free_port()
        self._log = home / "service.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return HOST, self.port

    @property
    def url(self) -> str:
        """Where it listens, for HTTP clients."""
        return f"http://{HOST}:{self.port}"

    @property
    def master(self) -> int:
        """The process that has started the workers."""
        if self._process is None:
            raise RuntimeError("the service does not run")
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """Its workers' processes, in a fixed order."""
        return sorted(state.pid for state in RunFolder(self.home).worker_states())

    def cpu_seconds(self) -> list[float]:
        """The processor time that each worker has used so far."""
        return cpu_seconds(self.pids)

    def __enter__(self) -> Self:
        python = [sys.executable, "-c", _AFTER.format(self._prelude)] if self._prelude else _PYTHON
        command = [*python, "serve", "service:Okawari", "--host", HOST]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port)],
                cwd=_ROOT,
                env=self._environment(),
                stdout=log,
                stderr=log,
            )
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _environment(self) -> Mapping[str, str]:
        """Ours without the user's settings: only what is measured shall differ."""
        plain = {name: text for name, text in child_environment().items() if not name.startswith("OKAWARI_")}
        changes: dict[str, Any] = {
            "BENTOML_HOME": self.home,
            "OKAWARI_HOME": self.home,
            "WORKERS": self.workers,
            "PORT": self.port,
            "GRPC_PORT": self.grpc_port,
        }
        return plain | {name: str(value) for name, value in changes.items()} | self._settings

    def _wait(self) -> None:
        """Return when every worker is ready."""
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self._process is not None and self._process.poll() is None:
            states = RunFolder(self.home).worker_states()
            if sum(state.ready for state in states) == self.workers and self._answers():
                return
            time.sleep(0.02)
        raise RuntimeError(f"the service did not start: {self._log.read_text()[-2000:]}")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port: int = taken.getsockname()[1]
        return port


def quiet_environment() -> None:
    """One thread for every numeric library: more would fight over the cores with what is measured."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
