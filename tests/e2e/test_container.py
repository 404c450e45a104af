"""The container itself: built, run read-only on a mounted store, asked, swapped, ended. In `make prove`."""

from __future__ import annotations

import os
import subprocess

import pytest

from scripts.build_container import find_builder
from tests.e2e.harness import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(1800)]


def test_the_container_keeps_the_contract() -> None:
    """What CI runs. `BUILD` has options for the builder, such as a mirror of the base image."""
    builder = find_builder()
    if builder not in ("docker", "podman"):
        pytest.skip(f"no engine runs containers here (builds: {builder or 'none'})")
    command = [ROOT / "deploy" / "ci" / "build-and-check", "bento", "container", "smoke"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "VERSION": "proved"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "requests under way at SIGTERM were answered" in done.stdout
    size = subprocess.run(
        [builder, "image", "inspect", "--format", "{{.Size}}", "okawari:proved"],
        capture_output=True,
        text=True,
        check=True,
    )
    # BentoML's own image of this Bento has 1.3 GB.
    assert int(size.stdout) < 600_000_000
