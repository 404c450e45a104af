"""The service that is tried: started as its users start it, with a home of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

import settings
from workers.run_folder import RunFolder

_BIN = Path(sys.executable).parent
_ROOT = Path(settings.__file__).parent
_START_SECONDS, _STOP_SECONDS = 120.0, 90.0
_HOST = "127.0.0.1"
_EVICTIONS = re.compile(r"^model_evictions_total\{[^}]*\} (\S+)$", re.MULTILINE)
_MEMORY = re.compile(r'^model_memory_bytes\{model="([^"]+)"\} (\S+)$', re.MULTILINE)


class SoakedService:
    """A running service."""

    def __init__(self, home: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.url = f"http://{_HOST}:{port}"
        self._run = RunFolder(home)
        self._process = process

    @property
    def workers(self) -> list[int]:
        """The pids of all living workers."""
        return sorted(state.pid for state in self._run.worker_states())

    def model_memory(self) -> list[tuple[str, int]]:
        """Bytes that the loaded versions of each model take, in all workers. Raises `httpx.HTTPError`."""
        return [(model, int(float(size))) for model, size in _MEMORY.findall(self._metrics())]

    def evictions(self) -> int:
        """How often a version left memory for another one. Raises `httpx.HTTPError`."""
        return sum(int(float(count)) for count in _EVICTIONS.findall(self._metrics()))

    def _metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics").raise_for_status().text

    @property
    def is_running(self) -> bool:
        """Whether the master lives."""
        return self._process.poll() is None


@contextmanager
def running(home: Path, environment: Mapping[str, str]) -> Iterator[SoakedService]:
    """Run a service until the block ends. Raises `RuntimeError` when it does not start."""
    port = _free_port()
    command = [_BIN / "bentoml", "serve", "service:Okawari", "--host", _HOST, "--port", str(port)]
    log = home / "service.log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*map(str, command), "--working-dir", str(_ROOT)],
            env={**os.environ, **environment, "PORT": str(port)},
            cwd=_ROOT,
            stdout=file,
            stderr=file,
            start_new_session=True,  # Ctrl-C ends the traffic first
        )
    try:
        service = SoakedService(home, port, process)
        _wait(service, log)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(service: SoakedService, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while service.is_running and time.monotonic() < until:
        try:
            if httpx.get(f"{service.url}/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the service did not start: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind((_HOST, 0))
        port: int = taken.getsockname()[1]
        return port
