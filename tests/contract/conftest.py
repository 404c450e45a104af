"""The deployment that is asked: the one at OKAWARI_CONTRACT_URL, else a Bento that was just built."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.contract.bento import bento
from tests.e2e.harness import ROOT, Service, environment
from tests.e2e.reporting import pytest_runtest_makereport, services

__all__ = ["bento", "pytest_runtest_makereport"]

ARCHIVE = ROOT / "examples" / "shapes-v2.bentomodel"


@dataclass(frozen=True)
class Deployment:
    """Where it answers, and the command by which shapes:v2 comes into its store."""

    url: str
    grpc: str
    command: list[str]

    def import_second_version(self) -> None:
        """Bring shapes:v2 into the store, as a user does."""
        subprocess.run(self.command, cwd=ROOT, check=True, timeout=200, stdout=subprocess.DEVNULL)


def _okawari(home: Path, *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "cli", *words],
        env=environment(home, home),
        cwd=ROOT,
        check=True,
        timeout=100,
        stdout=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A deployment that serves shapes:v1 and exposure:v1."""
    url = os.environ.get("OKAWARI_CONTRACT_URL")
    if url:
        command = shlex.split(os.environ["OKAWARI_CONTRACT_IMPORT"])
        yield Deployment(url, os.environ["OKAWARI_CONTRACT_GRPC"], command)
        return
    home = tmp_path_factory.mktemp("contract") / "home"
    _okawari(home, "init")
    makes = services()
    service: Service = next(makes)(home, serve=str(request.getfixturevalue("bento")), WORKERS="1").ready()
    homes = [f"BENTOML_HOME={home}", f"OKAWARI_HOME={home}"]
    command = ["env", *homes, sys.executable, "-m", "cli", "import", str(ARCHIVE)]
    yield Deployment(service.url, service.grpc_address, command)
    next(makes, None)


@pytest.fixture(scope="module")
def client(deployment: Deployment) -> Iterator[httpx.Client]:
    """Somebody who asks it."""
    with httpx.Client(base_url=deployment.url, timeout=30, trust_env=False) as asking:
        yield asking
