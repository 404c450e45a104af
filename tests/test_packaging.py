"""How a Bento gets its version, who builds its container, and what stands in the files that do."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import bentoml
import pytest
import yaml

from scripts import build_container
from scripts.build_bento import bento_version, valid_version

ROOT = Path(__file__).parent.parent
CI = ROOT / "deploy" / "ci"
DOCKERFILE = (ROOT / "deploy" / "container" / "Dockerfile").read_text()
MODULES = (ROOT / "deploy" / "container" / "modules.txt").read_text().split()


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("v1.2.0", "1.2.0"),
        ("1.2.0-rc.1+build", "1.2.0-rc.1-build"),
        ("release/2026.11", "release-2026.11"),
        ("vision-v3", "vision-v3"),
        ("0d61054b1a03-dirty", "0d61054b1a03-dirty"),
        ("x" * 80, "x" * 63),
        ("V1_Ü_", "1"),
    ],
)
def test_a_git_tag_is_a_version_that_bentoml_accepts(tag: str, version: str) -> None:
    assert valid_version(tag) == version
    assert bentoml.Tag("okawari", version).version == version


def _git(checkout: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *who, *words], cwd=checkout, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.process
def test_the_version_is_the_tag_or_the_commit_and_says_when_files_were_changed(tmp_path: Path) -> None:
    assert re.fullmatch(r"[0-9.]+-\d{14}", bento_version(tmp_path)), (
        "no checkout: the package's, and the time"
    )
    _git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("1")
    _git(tmp_path, "add", "file")
    _git(tmp_path, "commit", "-qm", "c")
    commit = _git(tmp_path, "rev-parse", "--short=12", "HEAD")
    assert bento_version(tmp_path) == commit
    _git(tmp_path, "tag", "v1.2.0")
    assert bento_version(tmp_path) == "1.2.0"
    (tmp_path / "file").write_text("2")
    assert bento_version(tmp_path) == "1.2.0-dirty"


def _program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.process
def test_docker_counts_where_its_engine_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_container.find_builder() is None
    _program(tmp_path, "docker", "exit 1")
    assert build_container.find_builder() is None
    _program(tmp_path, "buildah", "exit 0")
    assert build_container.find_builder() == "buildah"
    _program(tmp_path, "podman", "exit 0")
    assert build_container.find_builder() == "podman"
    _program(tmp_path, "docker", '[ "$1" = version ]')
    assert build_container.find_builder() == "docker"


@pytest.mark.parametrize("builder", build_container.BUILDERS)
def test_every_builder_keeps_the_health_check(builder: str, tmp_path: Path) -> None:
    command = build_container.command(builder, tmp_path, "okawari", "1.2.0", ["--pull"])
    assert command[:2] == [builder, "build"]
    assert ("docker" in command[2:4]) == (builder != "docker"), "an image of the OCI's format has none"
    assert [command[i + 1] for i, word in enumerate(command) if word == "--tag"] == [
        "okawari:1.2.0",
        "okawari:latest",
    ]
    assert command[-1] == str(tmp_path)
    assert "--pull" in command


def test_every_bento_has_what_its_container_is_made_of() -> None:
    described = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    assert "/deploy/container/*" in described["include"]
    included = "".join(described["include"])
    for source in re.findall(r"^COPY src/(\S+)", DOCKERFILE, re.MULTILINE):
        assert (ROOT / source).is_file()
        assert f"/{source}" in included or f"/{Path(source).parent}/*" in included
    # The image of `bentoml containerize` has the same variables and folders.
    assert os.access(ROOT / described["docker"]["setup_script"], os.X_OK)
    for variable in described["envs"]:
        assert f"{variable['name']}={variable['value']}" in DOCKERFILE


def test_the_container_runs_as_an_ordinary_user_and_tells_its_health() -> None:
    users = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert users == ["1034:1034"]
    (check,) = re.findall(r"^HEALTHCHECK (.*) \\\n.*?(/health)", DOCKERFILE, re.MULTILINE)
    assert check == ("--interval=30s --timeout=10s --start-period=40s --retries=3", "/health")
    # Settings of a deployment: one in the image would contradict ModelMora's name of it.
    for name in ("PORT", "GRPC_PORT", "OKAWARI_HOME", "WORKERS"):
        assert not re.search(rf"\b{name}=", DOCKERFILE), name


@pytest.mark.filterwarnings("default::DeprecationWarning")  # of packages that are imported on the way
@pytest.mark.parametrize("module", MODULES)
def test_what_is_compiled_in_the_container_can_be_imported(module: str) -> None:
    top = module.partition(".")[0]
    assert importlib.util.find_spec(top) is not None
    assert importlib.util.find_spec(module) is not None


def test_the_workflow_runs_every_step_of_the_script_in_its_order() -> None:
    script = (CI / "build-and-check").read_text()
    (steps,) = re.findall(r'"\$\{@:-([a-z ]+)\}"', script)
    workflow = yaml.safe_load((CI / "github-actions.yml").read_text())
    said = [step.get("run", "") for step in workflow["jobs"]["build"]["steps"]]
    runs = [line.split()[1:] for line in said if line.startswith("deploy/ci/build-and-check")]
    assert [step for run in runs for step in run] == steps.split()
    assert all(re.search(rf"^{step}\(\) \{{", script, re.MULTILINE) for step in steps.split())
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def _up(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": f"{folder}{os.pathsep}{os.defpath}", "OKAWARI_DROP": str(folder / "drop")}
    given |= {"OKAWARI_DATA": str(folder / "data"), "CALLS": str(folder / "calls"), **variables}
    return subprocess.run(
        [ROOT / "scripts" / "up", *words], env=given, capture_output=True, text=True, check=False
    )


@pytest.mark.process
def test_up_starts_compose_and_pulls_or_finds_the_image(tmp_path: Path) -> None:
    _program(tmp_path, "docker", "exit 1")
    failed = _up(tmp_path)
    assert failed.returncode == 1
    assert "make run" in failed.stderr
    # An engine that has every image.
    _program(tmp_path, "docker", 'echo "$@" >>"$CALLS"')
    assert _up(tmp_path, "--detach").returncode == 0
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "image inspect okawari:latest" in calls
    assert calls[-1] == "compose up --detach"
    assert (tmp_path / "drop").is_dir()
    # One that is named is compose's to pull.
    (tmp_path / "calls").unlink()
    assert _up(tmp_path, OKAWARI_IMAGE="registry.example/okawari:1.2.0").returncode == 0
    assert "image inspect okawari:latest" not in (tmp_path / "calls").read_text()
