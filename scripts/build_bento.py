"""Build the versioned Bento, check that it lists no models, and export it to dist/okawari-<version>.bento.

usage: python -m scripts.build_bento [VERSION] [--no-export] [--print-version]

Its version is the git tag of the commit, else the commit, else (outside a checkout) the package's version and
the time.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml

from bootstrap import version
from settings import Settings

ROOT = Path(__file__).resolve().parent.parent
NAME = "okawari"
_LONGEST = 63


def bento_version(checkout: Path = ROOT) -> str:
    """The version of a Bento that is built from these files; it ends in `-dirty` where they were changed."""
    commit = _git(checkout, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return f"{version()}-{datetime.now(UTC).strftime('%Y%m%d%H%M%S')}"
    named = _git(checkout, "describe", "--tags", "--exact-match", "HEAD") or commit
    changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    return valid_version(named + ("-dirty" if changed else ""))


def valid_version(name: str) -> str:
    """A git tag as the version of a Bento: v1.2.0 is 1.2.0, and release/1.2+a is release-1.2-a."""
    plain = re.sub(r"^v(?=\d)", "", name.lower())
    return re.sub(r"[^a-z0-9._-]+", "-", plain)[:_LONGEST].strip("._-")


def _git(checkout: Path, *words: str) -> str | None:
    """What git says; None where it, or what it is asked for, is not there."""
    try:
        done = subprocess.run(["git", *words], cwd=checkout, capture_output=True, text=True, check=False)  # noqa: S607
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def find(tag_version: str) -> bentoml.Bento | None:
    """The Bento of that version in the store; None: there is none."""
    # `get` finds one whose version begins so, too; `list` raises where there is none at all.
    there = (each for each in bentoml.bentos.list() if each.tag.name == NAME)
    return next((each for each in there if each.tag.version == tag_version), None)


def build(tag_version: str) -> bentoml.Bento:
    """Build from bentofile.yaml into the Bento store of this home, in place of one of that version."""
    if (there := find(tag_version)) is not None:
        bentoml.bentos.delete(there.tag)
    bento = bentoml.bentos.build_bentofile(version=tag_version, build_ctx=str(ROOT))
    if bento.info.all_models:
        raise SystemExit(f"{bento.tag} lists models: the mounted store would be ignored")
    return bento


def export(bento: bentoml.Bento) -> Path:
    """The Bento as one file, in place of an earlier one; `bentoml import` with its absolute path reads it."""
    archive = ROOT / "dist" / f"{NAME}-{bento.tag.version}.bento"
    archive.parent.mkdir(exist_ok=True)
    archive.unlink(missing_ok=True)
    bento.export(str(archive))
    return archive


def use_home() -> None:
    """Build into the Bento store of the service's home."""
    os.environ["BENTOML_HOME"] = str(Settings().store_home)


def main(words: list[str]) -> None:
    """Build, and say what to do with the result."""
    parser = ArgumentParser(description="Build the versioned Bento.")
    parser.add_argument("version", nargs="?", help="default: the git tag, else the commit")
    parser.add_argument("--no-export", action="store_true", help="write no archive to dist/")
    parser.add_argument("--print-version", action="store_true", help="build nothing, print the version")
    given = parser.parse_args(words)
    wanted = valid_version(given.version) if given.version else bento_version()
    if given.print_version:
        sys.stdout.write(f"{wanted}\n")
        return
    bento = build(wanted)
    said = [f"built {bento.tag} in {bento.path}"]
    if not given.no_export:
        archive = export(bento)
        said.append(f"  exported:  {archive.relative_to(ROOT)}, {archive.stat().st_size / 1e6:.1f} MB")
    said += [f"  serve it:  .venv/bin/bentoml serve {bento.tag}", "  container: make container"]
    sys.stdout.write("\n".join(said) + "\n")


if __name__ == "__main__":
    use_home()
    main(sys.argv[1:])
