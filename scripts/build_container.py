"""Build the container of a Bento, okawari:<version> and okawari:latest, with docker, podman or buildah.

usage: python -m scripts.build_container [--version VERSION] [--builder NAME] [--name IMAGE] [-- OPTION…]

The Bento is built before, unless one of that version is there. Options after `--` go to the builder, such as
`--build-arg BASE_IMAGE=mirror.example/python:3.11-slim`. Where there is no builder, it says so and succeeds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import bentoml

from scripts.build_bento import NAME, bento_version, build, export, find, use_home, valid_version

#: What builds images, the first one that can is used.
BUILDERS = ("docker", "podman", "buildah")
#: An image of the OCI's format has no HEALTHCHECK.
_OPTIONS = {"docker": [], "podman": ["--format", "docker"], "buildah": ["--format", "docker", "--layers"]}
_PATIENCE = 20


def find_builder() -> str | None:
    """The first builder that can build here; None: none."""
    return next((name for name in BUILDERS if shutil.which(name) and _answers(name)), None)


def _answers(name: str) -> bool:
    """Whether it works: docker's command is no more than a client of an engine, which may not run."""
    if name != "docker":
        return True
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(asked, capture_output=True, check=False, timeout=_PATIENCE).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def command(builder: str, bento: Path, image: str, version: str, more: list[str]) -> list[str]:
    """What builds the Bento in this folder as `image:version` and `image:latest`."""
    tags = ["--tag", f"{image}:{version}", "--tag", f"{image}:latest"]
    said = ["--build-arg", f"VERSION={version}", *more]
    dockerfile = str(bento / "src" / "deploy" / "container" / "Dockerfile")
    return [builder, "build", *_OPTIONS[builder], *tags, *said, "--file", dockerfile, str(bento)]


def bento_of(version: str) -> bentoml.Bento:
    """The Bento of that version; built and exported, unless it is in the store and is that of a commit."""
    if not version.endswith("-dirty") and (there := find(version)) is not None:
        return there
    bento = build(version)
    export(bento)
    return bento


def main(words: list[str]) -> int:
    """Build, and say what was built; the exit code."""
    parser = ArgumentParser(
        description="Build the container of a Bento.", epilog="Options after -- are the builder's."
    )
    parser.add_argument("--version", help="default: the git tag, else the commit")
    parser.add_argument("--builder", choices=BUILDERS, help="default: the first of them that can build here")
    parser.add_argument("--name", default=NAME, help="name of the image")
    end = words.index("--") if "--" in words else len(words)
    given, more = parser.parse_args(words[:end]), words[end + 1 :]
    bento = bento_of(valid_version(given.version) if given.version else bento_version())
    builder = given.builder or find_builder()
    if builder is None:
        names = ", ".join(BUILDERS)
        sys.stdout.write(f"{bento.tag} has no container: none of {names} can build one here.\n")
        return 0
    version = str(bento.tag.version)
    done = subprocess.run(command(builder, Path(bento.path), given.name, version, more), check=False)
    if done.returncode == 0:
        sys.stdout.write(f"built the container {given.name}:{version} with {builder}\n")
    return done.returncode


if __name__ == "__main__":
    use_home()
    raise SystemExit(main(sys.argv[1:]))
