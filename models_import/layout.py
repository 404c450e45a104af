"""The layout of a version's folder, and the rules for paths in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from common.text import plain, shown
from manifest.version_manifest import CONFIG_FILE, BadManifest, Manifest, ModelConfig
from models_import.file_kinds import first_foreign, is_onnx

MODEL_YAML = "model.yaml"
WEIGHTS_FILE = "weights.onnx"
POINTER = "latest"

#: The note in a drop folder on a failed import. It is beside the version's files, not one of them.
NOTE = "IMPORT-FAILED.txt"

#: Most files of a version.
MOST_FILES = 10_000

#: Files that operating systems and file servers create by themselves.
_LEFT = {
    *("thumbs.db", "desktop.ini", "@eadir", "#recycle", "$recycle.bin"),
    *("system volume information", "__macosx", "lost+found"),
}


class LeadsOut(ValueError):
    """A link that leads out of its folder, or to an unreadable target."""


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files below `folder` as (relative path, path), sorted.

    A link may lead to another file inside the folder; one that leads out raises `LeadsOut`.
    """
    root = os.path.realpath(folder)
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*files, *(sub for sub in folders if (Path(place) / sub).is_symlink())]):
            path = Path(place) / name
            if path.is_symlink() and not _within(os.path.realpath(path), root):
                raise LeadsOut(
                    f"{path} is a link that leads out of its folder: "
                    "replace it by its target, as `cp -rL` does"
                )
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path


def files_of_links(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files below `folder` as (relative path, path), sorted, without hidden ones.

    Links may lead anywhere, to files and folders. A broken or circular link, or one to a device, raises
    `LeadsOut`.
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
                raise LeadsOut(f"{path} is a link to a folder that contains it: remove the link")
            yield from _below(path, f"{name}/", (*above, real))
        elif path.is_symlink():
            raise LeadsOut(
                f"{path} is a link to {plain(str(path.readlink()), 500)}, which is not a regular file"
            )


def _mode_behind(path: Path) -> int:
    """The mode of a path, with links followed."""
    try:
        return path.stat().st_mode
    except OSError as error:
        if not path.is_symlink():
            raise
        fix = "run `git annex get`" if ".git/annex/" in str(path.readlink()) else "put the file there"
        where = plain(str(path.readlink()), 500)
        raise LeadsOut(
            f"{path} is a link to {where}, which cannot be read ({error.strerror}): {fix}"
        ) from None


def _within(path: str, root: str) -> bool:
    return path.startswith(root + os.sep)


def is_hidden(name: str) -> bool:
    """Whether a path belongs to a file manager, a file server or version control."""
    return any(part.startswith(".") or part.lower() in _LEFT for part in PurePosixPath(name).parts)


def pick_weights(paths: Collection[str], config: ModelConfig | None) -> str:
    """The model file of a version: the first of the config's graphs, else weights.onnx, or the only .onnx.

    Raises `BadManifest`; while the config is not read (None) not for several graphs, which it may name.
    """
    if config is not None and config.graphs:
        return next(graph.file for graph in config.graphs.values())
    if WEIGHTS_FILE in paths:
        return WEIGHTS_FILE
    graphs = sorted(path for path in paths if is_onnx(path))
    if len(graphs) == 1 or (graphs and config is None):
        return graphs[0]
    if not graphs:
        raise BadManifest(first_foreign(paths) or f"no model: put {WEIGHTS_FILE} into the version's folder")
    raise BadManifest(f"{len(graphs)} .onnx files ({', '.join(graphs[:3])}…): name the model {WEIGHTS_FILE}")


def check_manifest(manifest: Manifest) -> None:
    """Raise `BadManifest` for a path outside the folder, or if the model or the config is missing."""
    for path in manifest.files:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or pure.as_posix() != path:
            raise BadManifest(
                f"manifest: files: {shown(path)} is not a plain path inside the version's folder"
            )
    for needed in (manifest.weights, CONFIG_FILE):
        if needed not in manifest.files:
            raise BadManifest(f"manifest: {plain(needed, 200)} is not among its files")


def check_named_files(config: ModelConfig, paths: Collection[str]) -> None:
    """Raise `BadManifest`, naming a file that the config names and the version lacks."""
    for field, file in config.named_files:
        if file not in paths:
            raise BadManifest(f"{CONFIG_FILE}: {field}: {plain(file, 200)} is not in the version's folder")
