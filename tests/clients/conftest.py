"""One service for all clients, and what each client's program tells of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from scripts import clients
from tests.api.open_inference import typed_model
from tests.e2e.harness import ROOT, Service
from tests.e2e.reporting import pytest_runtest_makereport, services
from tests.e2e.stores import Store

__all__ = ["pytest_runtest_makereport"]

PROGRAMS = Path(__file__).parent / "programs"
PICTURE = ROOT / "examples" / "shapes" / "pictures" / "shapes-1117.jpg"
#: Seconds for a client's program; its environment may have to be built before.
LIMIT = 150

Ask = Callable[..., Any]


def home_of(name: str) -> Path:
    """A client's environment, built if need be; skips, saying why, where it cannot be had."""
    try:
        return _built(name)
    except clients.Unavailable as error:
        pytest.skip(f"{name}: {error}")


@cache
def _built(name: str) -> Path:
    return clients.build(name)


def run(*command: str | Path, timeout: float = LIMIT, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run somebody's program with nothing of ours in its environment; it must end well."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment |= more.pop("env", {})
    done = subprocess.run(
        [str(word) for word in command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **more,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def told_by(client: str, program: str, *words: str | Path) -> dict[str, Any]:
    """What a program of `programs/` tells, run in a client's environment."""
    done = run(home_of(client) / "bin" / "python", PROGRAMS / program, *words)
    return dict(json.loads(done.stdout))


class Served:
    """The service that all clients ask.

    Classifiers m (v1, v2) and spare (v1), detector shapes (v2), and types (v1) with every datatype.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.http = f"127.0.0.1:{service.port}"
        self.grpc = service.grpc_address

    def at(self, kind: str) -> str:
        """The address for a client of this kind, such as `grpc.aio`."""
        return self.grpc if kind.startswith("grpc") else self.http

    def answered(self) -> int:
        """How many requests for m were answered so far."""
        return int(self.service.figure("inference_requests_total", model="m", status="ok"))

    def detections(self) -> list[dict[str, Any]]:
        """What `/predict` finds in the picture."""
        answer = self.service.predict(PICTURE.read_bytes(), model="shapes")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["detections"])


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Served]:
    """A service with the models of `Served`."""
    store = Store(folder / "home", folder)
    for name, version, code in (("m", "v1", 1), ("m", "v2", 2), ("spare", "v1", 7)):
        store.add(version, code, name)
    store.take(ROOT / "examples" / "models" / "shapes" / "v2")
    store.take(typed_model.write(folder / "typed"))
    makers = services()
    try:
        make = next(makers)
        yield Served(make(store.home, OKAWARI_DEFAULT_MODEL="shapes", **settings).ready())
    finally:
        makers.close()


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The one service of all clients that leave it as it was."""
    with serving(tmp_path_factory.mktemp("clients")) as standing:
        yield standing
