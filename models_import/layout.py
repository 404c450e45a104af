"""Where things lie in a version's folder, and which paths may be named there."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from hotswap.manifest import CONFIG_FILE, BadManifest, Manifest, ModelConfig, plain, shown

MODEL_YAML = "model.yaml"
WEIGHTS_FILE = "weights.onnx"
POINTER = "latest"

#: Why a version in a drop folder did not come in. It lies beside its files and is none of them.
NOTE = "IMPORT-FAILED.txt"


class LeadsOut(ValueError):
    """A link that leads out of the folder it lies in."""


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below `folder` as (path inside it, path), sorted.

    A link may lead to another place inside the folder; one that leads out raises `LeadsOut`.
    """
    root = os.path.realpath(folder)
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*files, *(each for each in folders if (Path(place) / each).is_symlink())]):
            path = Path(place) / name
            if path.is_symlink() and not _within(os.path.realpath(path), root):
                raise LeadsOut(f"{path} is a link that leads out of its folder")
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path


def _within(path: str, root: str) -> bool:
    return path.startswith(root + os.sep)


def pick_weights(paths: Collection[str]) -> str:
    """Which of a version's files is the model: weights.onnx, or the only .onnx; else `BadManifest`."""
    if WEIGHTS_FILE in paths:
        return WEIGHTS_FILE
    found = sorted(path for path in paths if path.endswith(".onnx"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadManifest(f"no model: put {WEIGHTS_FILE} into the version's folder")
    raise BadManifest(f"{len(found)} .onnx files ({', '.join(found[:3])}…): call the model {WEIGHTS_FILE}")


def check_manifest(manifest: Manifest) -> None:
    """Raise `BadManifest` unless every path lies inside the folder and model and config are among them."""
    for path in manifest.files:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or pure.as_posix() != path:
            raise BadManifest(
                f"manifest: files: {shown(path)} is not a plain path inside the version's folder"
            )
    for needed in (manifest.weights, CONFIG_FILE):
        if needed not in manifest.files:
            raise BadManifest(f"manifest: {plain(needed, 200)} is not among its files")


def check_golden(config: ModelConfig, paths: Collection[str]) -> None:
    """Raise `BadManifest` naming a golden picture that is not among the files."""
    for golden in config.golden:
        if golden.file not in paths:
            raise BadManifest(
                f"{CONFIG_FILE}: golden: {plain(golden.file, 200)} is not in the version's folder"
            )
