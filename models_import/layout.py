"""Where things lie in a version's folder, and which paths may be named there."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from common.text import plain, shown
from hotswap.manifest import CONFIG_FILE, BadManifest, Manifest, ModelConfig
from models_import.file_kinds import first_foreign, is_onnx

MODEL_YAML = "model.yaml"
WEIGHTS_FILE = "weights.onnx"
POINTER = "latest"

#: Why a version in a drop folder did not come in. It lies beside its files and is none of them.
NOTE = "IMPORT-FAILED.txt"

#: More files than the folder of any model has.
MOST_FILES = 10_000

#: What systems leave in folders of their own accord.
_LEFT = {
    *("thumbs.db", "desktop.ini", "@eadir", "#recycle", "$recycle.bin"),
    *("system volume information", "__macosx", "lost+found"),
}


class LeadsOut(ValueError):
    """A link that leads out of the folder it lies in, or to nothing that can be read."""


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
                raise LeadsOut(
                    f"{path} is a link that leads out of its folder: "
                    "put there what it leads to, as `cp -rL` does"
                )
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path


def files_of_links(folder: Path) -> Iterator[tuple[str, Path]]:
    """As `files_in`, but links may lead anywhere, to files and folders; what is hidden is left out.

    One that leads to nothing, to itself, or to what is no file raises `LeadsOut`.
    """
    yield from _below(folder, "", (os.path.realpath(folder),))


def _below(folder: Path, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        if is_hidden(path.name):
            continue
        mode, name = _mode_behind(path), prefix + path.name
        if stat.S_ISREG(mode):
            yield name, path
        elif stat.S_ISDIR(mode):
            real = os.path.realpath(path)
            if real in above:
                raise LeadsOut(f"{path} is a link to a folder that it lies in itself: remove it")
            yield from _below(path, f"{name}/", (*above, real))
        elif path.is_symlink():
            raise LeadsOut(
                f"{path} is a link to {plain(str(path.readlink()), 500)}, which is no regular file"
            )


def _mode_behind(path: Path) -> int:
    """What a path leads to."""
    try:
        return path.stat().st_mode
    except OSError as error:
        if not path.is_symlink():
            raise
        mend = "`git annex get` brings it" if ".git/annex/" in str(path.readlink()) else "put it there"
        where = plain(str(path.readlink()), 500)
        raise LeadsOut(
            f"{path} is a link to {where}, which cannot be read ({error.strerror}): {mend}"
        ) from None


def _within(path: str, root: str) -> bool:
    return path.startswith(root + os.sep)


def is_hidden(name: str) -> bool:
    """Whether a path in a folder is what file managers, shares and version control leave there."""
    return any(part.startswith(".") or part.lower() in _LEFT for part in PurePosixPath(name).parts)


def pick_weights(paths: Collection[str]) -> str:
    """Which of a version's files is the model: weights.onnx, or the only .onnx; else `BadManifest`."""
    if WEIGHTS_FILE in paths:
        return WEIGHTS_FILE
    found = sorted(path for path in paths if is_onnx(path))
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadManifest(first_foreign(paths) or f"no model: put {WEIGHTS_FILE} into the version's folder")
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
