"""The processes of docker-compose.yml, started here with the environment and command that compose gives them.

Each service has a folder for its root, in which its mounts are links; paths in its variables lead there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from settings import unknown
from tests.e2e.harness import BIN, ROOT, environment, free_port
from tests.e2e.sizes import LIMIT
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
PICTURE = ROOT / "examples" / "shapes" / "pictures" / "shapes-1117.jpg"
_PATH = re.compile(r"(?<![\w./])/(?:models|store|state|home|data)(?![\w-])")


class Container:
    """One service of the file, as a process on this machine."""

    def __init__(self, name: str, folder: Path, **variables: str) -> None:
        self.said = SERVICES[name]
        self.root = folder / name
        self._variables = {"OKAWARI_DATA": str(folder / "data"), "OKAWARI_DROP": str(folder / "drop")}
        self._variables |= variables
        for mount in self.said["volumes"]:
            source, target = re.sub(r":ro$", "", self._filled(mount)).rsplit(":", 1)
            (folder / source).mkdir(parents=True, exist_ok=True)
            link = self.root / target.lstrip("/")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(folder / source)

    def _filled(self, text: str) -> str:
        filled = re.sub(
            r"\$\{(\w+):-([^}]*)\}", lambda found: self._variables.get(found[1]) or found[2], text
        )
        return filled.replace("$$", "$")

    def here(self, text: str) -> str:
        """A text with paths of the container as paths of this machine."""
        return _PATH.sub(lambda found: f"{self.root}{found[0]}", text)

    def environment(self, **ports: str) -> dict[str, str]:
        """Its variables; nothing else of ours."""
        own = {name: self.here(self._filled(value)) for name, value in self.said["environment"].items()}
        kept = environment(self.root, self.root)
        for name in ("BENTOML_HOME", "OKAWARI_HOME", "GRPC_PORT", "OKAWARI_COMPILED_LIMIT"):
            del kept[name]
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        return {**kept, **own, "PATH": path, "PYTHONPATH": str(ROOT), **ports}

    def run(self) -> str:
        """Run its entrypoint to its end; what it said."""
        words = [self.here(self._filled(word)) for word in self.said["entrypoint"]]
        done = subprocess.run(
            words, env=self.environment(), cwd=self.root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def serving(self, words: list[str], port: int, **ports: str) -> Iterator[Path]:
        """Run `bentoml` with these words until it is left, by SIGTERM; yields its log."""
        log = self.root / "log"
        with log.open("wb") as told:
            process = subprocess.Popen(
                [BIN / "bentoml", *words, "service:Okawari"],
                cwd=ROOT,
                env=self.environment(**ports),
                stdout=told,
                stderr=told,
                start_new_session=True,
            )
        try:
            until(lambda: _ready(process, port, log), "it is ready")
            yield log
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()

    def health(self, ours: int) -> int:
        """The exit code of its health check, which asks this port instead."""
        *_, program = self.said["healthcheck"]["test"]
        asked = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{ours}", program)
        return subprocess.run([sys.executable, "-c", asked], check=False, capture_output=True).returncode


def _ready(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=60).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder beside docker-compose.yml, after `import` has ended."""
    made = tmp_path_factory.mktemp("compose")
    assert "shapes:v1" in Container("import", made).run()
    return made


def _predicted(url: str) -> dict[str, Any]:
    answer = httpx.post(url, files={"image": PICTURE.read_bytes()}, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _serves_over_grpc(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        asked = health_pb2.HealthCheckRequest()
        answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=10, wait_for_ready=True)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def test_the_plain_service_starts_as_compose_says(folder: Path) -> None:
    container = Container("service", folder)
    port, rpc = free_port(), free_port()
    words = list(container.said["command"])
    assert words[-2:] == ["--port", "3000"]
    assert unknown(container.environment()) == []
    with container.serving([*words[:-1], str(port)], port, GRPC_PORT=str(rpc)):
        assert _predicted(f"http://127.0.0.1:{port}/predict")["model_version"] == "v1"
        assert _serves_over_grpc(rpc)
        assert container.health(port) == 0
        # Beyond loopback and without a token: predictions are answered, changes are refused.
        put = httpx.put(
            f"http://127.0.0.1:{port}/models/shapes/target", json={"target": 1}, trust_env=False, timeout=60
        )
        assert put.status_code in (401, 403)


def test_modemora_starts_as_compose_says_and_answers_below_its_prefix(folder: Path) -> None:
    container = Container("modemora", folder)
    given = container.environment()
    assert unknown(given) == []
    assert {name.rpartition(":")[2] for name in container.said["ports"]} == {
        given["MODEMORA_REST_PORT"],
        given["MODEMORA_GRPC_PORT"],
    }
    port, rpc, metrics = free_port(), free_port(), free_port()
    ports = {
        "MODEMORA_REST_PORT": str(port),
        "MODEMORA_GRPC_PORT": str(rpc),
        "MODEMORA_PROMETHEUS_PORT": str(metrics),
    }
    with container.serving(container.said["command"], port, **ports):
        url = f"http://127.0.0.1:{port}"
        assert _predicted(f"{url}/modemora/predict")["model"] == "shapes"
        assert httpx.get(f"{url}/modemora/docs.json", trust_env=False).json()["servers"] == [
            {"url": "/modemora"}
        ]
        memory = httpx.get(f"{url}/health", trust_env=False, timeout=60).json()["models"]["memory_max_mb"]
        assert memory == float(given["MODEMORA_MAX_MODEL_MEMORY_MB"])
        assert _serves_over_grpc(rpc)
        assert (
            "modemora_" in httpx.get(f"http://127.0.0.1:{metrics}/metrics", trust_env=False, timeout=60).text
        )
        assert container.health(port) == 0
    assert container.health(port) != 0
