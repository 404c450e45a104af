"""What a path on the command line holds: a version, a tree of versions, one .onnx, or an archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from hotswap.manifest import CONFIG_FILE, BadManifest, Manifest, plain
from hotswap.tags import BadTag, ModelTag, as_version, natural_key
from models_import import model_yaml
from models_import.errors import ImportRefused
from models_import.layout import MODEL_YAML, NOTE, WEIGHTS_FILE, LeadsOut, files_in

_ONNX = ".onnx"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller says besides the path; it overrides what the path says."""

    name: str | None = None
    version: str | None = None
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One version to import. `named` says that the path names it alone; else it was found in a tree."""

    path: Path
    wanted: Wanted
    named: bool

    @property
    def is_archive(self) -> bool:
        """Whether it must be unpacked before it can be read."""
        return self.path.is_file() and self.path.suffix != _ONNX


@dataclass(frozen=True, slots=True)
class Opened:
    """A version outside the store whose files lie open.

    `created`, `manifest` and `base` are what the `model.yaml` of an exported version says.
    """

    tag: ModelTag
    files: Mapping[str, Path]
    created: datetime | None = None
    manifest: Manifest | None = None
    base: Mapping[str, Any] | None = None


def candidates(path: Path, wanted: Wanted) -> list[Candidate]:
    """The versions at `path`, each model's in natural order; none in a tree that holds none."""
    path = path.absolute()
    try:
        if path.is_file() or is_version(path):
            return [Candidate(path, wanted, named=True)]
        found = list(_tree(path))
    except OSError as error:
        raise ImportRefused(f"{error.filename}: {error.strerror}") from None
    if wanted != Wanted():
        raise ImportRefused(
            f"{path} is a tree of versions: --name, --version and --config go with one version"
        )
    return [Candidate(version, wanted, named=False) for version in found]


def _tree(path: Path) -> Iterator[Path]:
    """The version folders below a model's folder or a folder of models."""
    for child in _folders(path):
        if is_version(child):
            yield child
            continue
        yield from (version for version in _folders(child) if is_version(version))


def _folders(path: Path) -> list[Path]:
    found = [each for each in path.iterdir() if each.is_dir() and not each.name.startswith(".")]
    return sorted(found, key=lambda folder: natural_key(as_version(folder.name)))


def is_version(folder: Path) -> bool:
    """Whether a folder holds anything by which a version is known."""
    return any(
        each.suffix == _ONNX or each.name in {CONFIG_FILE, MODEL_YAML}
        for each in folder.iterdir()
        if not each.is_dir()
    )


def open_onnx(path: Path, wanted: Wanted) -> Opened:
    """One `.onnx`, whose config, name and version the caller gives."""
    if wanted.config is None or not wanted.name or not wanted.version:
        raise ImportRefused(f"{path} is one file: give --config FILE, --name NAME and --version V with it")
    return Opened(_tag(wanted.name, wanted.version), {WEIGHTS_FILE: path, CONFIG_FILE: wanted.config})


def open_folder(folder: Path, wanted: Wanted, origin: Path) -> Opened:
    """A version's folder, as its maker wrote it or as BentoML exported it."""
    try:
        info = model_yaml.read(folder) if (folder / MODEL_YAML).exists() else None
        files = {name: path for name, path in files_in(folder) if not _is_hidden(name)}
    except (BadManifest, LeadsOut) as error:
        raise ImportRefused(f"{origin}: {error}") from None
    for ours in (MODEL_YAML, NOTE):
        files.pop(ours, None)
    if wanted.config is not None:
        files[CONFIG_FILE] = wanted.config
    if CONFIG_FILE not in files:
        raise ImportRefused(
            f"{origin}: no {CONFIG_FILE}, and pre-processing is never guessed: write one, "
            f"then import it with --config {CONFIG_FILE}"
        )
    name = wanted.name or (info.name if info else folder.parent.name)
    tag = _tag(name, wanted.version or (info.version if info else folder.name))
    if info is None:
        return Opened(tag, files)
    return Opened(tag, files, info.created, info.manifest, info.document)


def _is_hidden(name: str) -> bool:
    """What file managers and version control leave in folders is no part of a model."""
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _tag(name: str, version: str) -> ModelTag:
    try:
        # BentoML lowers names too.
        return ModelTag(name.lower(), as_version(version))
    except BadTag as error:
        raise ImportRefused(f"{plain(str(error), 500)}; choose others with --name and --version") from None
