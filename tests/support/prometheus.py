"""A real Prometheus for tests: on loopback, with its data in a folder of its own, and its tool."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts import clients
from tests.support.s3_server import free_port

ROOT = Path(__file__).resolve().parents[2]
#: What the project gives to a Prometheus.
FOLDER = ROOT / "deploy" / "prometheus"
_PATIENCE = 30.0


def program(name: str) -> Path:
    """`prometheus` or `promtool`; skips, saying why, where they cannot be had."""
    try:
        return _home() / "bin" / name
    except clients.Unavailable as error:
        pytest.skip(f"no Prometheus: {error}")


@cache
def _home() -> Path:
    return clients.build("prometheus")


def promtool(*words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run promtool; both of its outputs are in `stdout`."""
    return subprocess.run(
        [program("promtool"), *map(str, words)],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=_PATIENCE,
    )


class PrometheusServer:
    """A server with the configuration `file`; its data and its log go into `folder`."""

    def __init__(self, file: Path, folder: Path) -> None:
        self._port = free_port()
        self._log = folder / "prometheus.log"
        self._command = (
            program("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self._port}/api/v1", trust_env=False, timeout=60
        )

    def start(self) -> None:
        """Start it; it answers when this returns."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env={"PATH": os.defpath, "GOMAXPROCS": "1"}
            )
        end = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self._log.read_text()[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        self._client.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)

    def _answers(self) -> bool:
        try:
            return self._client.get("/query", params={"query": "vector(1)"}).status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> Sequence[Mapping[str, Any]]:
        """The series that an expression gives now; raises AssertionError for one that is wrong."""
        answer = self._client.post("/query", data={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        found: Sequence[Mapping[str, Any]] = answer.json()["data"]["result"]
        return found

    def alerts(self) -> dict[str, list[Mapping[str, Any]]]:
        """The alerts that fire, by their names."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for alert in self._client.get("/alerts").json()["data"]["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found
