"""Finds the versions at a path: a version's folder, a tree of versions, one .onnx, or an archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from common.text import plain
from manifest.tags import BadTag, ModelTag, as_version, natural_key
from manifest.version_manifest import CONFIG_FILE, BadManifest, Manifest, ModelConfig, parse_config
from models_import import model_yaml
from models_import.errors import ImportRefused
from models_import.external_data import beside
from models_import.file_kinds import ARCHIVES, by_name, first_foreign, is_onnx, kind_of
from models_import.layout import (
    MODEL_YAML,
    MOST_FILES,
    NOTE,
    WEIGHTS_FILE,
    LeadsOut,
    files_in,
    files_of_links,
    is_hidden,
)
from models_import.small_files import read_small


@dataclass(frozen=True, slots=True)
class Wanted:
    """Name, version and config given by the caller; they override those of the path."""

    name: str | None = None
    version: str | None = None
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One version to import. `named`: the path names this version; else it was found in a tree.

    With `follow` links in its folder may lead anywhere: the caller has named the folder on purpose.
    """

    path: Path
    wanted: Wanted
    named: bool
    follow: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """An unpacked version outside the store.

    `created`, `manifest` and `base` are from the `model.yaml` of an exported version.
    """

    tag: ModelTag
    files: Mapping[str, Path]
    created: datetime | None = None
    manifest: Manifest | None = None
    base: Mapping[str, Any] | None = None


def candidates(path: Path, wanted: Wanted) -> list[Candidate]:
    """The versions at `path`, in natural order per model; empty for a tree without versions.

    Names are those of the real folder: `..`, `.` and links are resolved first.
    """
    try:
        if path.is_file():
            return [Candidate(path.absolute(), wanted, named=True)]
        path = path.resolve()
        if not path.is_dir():
            raise ImportRefused(f"{path}: neither a file nor a folder")
        if is_version(path):
            _refuse_stray_weights(path, wanted)
            return [Candidate(path, wanted, named=True, follow=True)]
        versions = _without_aliases(list(_tree(path)))
        if not versions:
            _refuse_foreign(path)
    except OSError as error:
        raise ImportRefused(f"{error.filename or path}: {error.strerror}") from None
    if wanted != Wanted():
        raise ImportRefused(
            f"{path} is a tree of versions: --name, --version and --config need a single version"
        )
    return [Candidate(version, wanted, named=False, follow=True) for version in versions]


def _tree(path: Path) -> Iterator[Path]:
    """The version folders below a model's folder or a folder of models."""
    for child in _folders(path):
        if is_version(child):
            yield child
            continue
        yield from (version for version in _folders(child) if is_version(version))


def without_version(path: Path) -> list[Path]:
    """The folders of a tree that should contain a version but do not."""
    empty: list[Path] = []
    for child in _folders(path.resolve()):
        if is_version(child):
            continue
        below = _folders(child)
        versions = [folder for folder in below if is_version(folder)]
        empty += [folder for folder in below if folder not in versions] if versions else [child]
    return empty


def _refuse_stray_weights(folder: Path, wanted: Wanted) -> None:
    """Raise `ImportRefused` for an .onnx beside folders of versions, which it would hide."""
    if wanted.config is not None or any((folder / name).exists() for name in (CONFIG_FILE, MODEL_YAML)):
        return
    versions = [version.relative_to(folder) for version in islice(_tree(folder), 3)]
    if versions:
        names = plain(", ".join(map(str, versions)), 200)
        raise ImportRefused(
            f"{folder}: contains an .onnx and also versions ({names}): move the .onnx elsewhere, "
            "or import one of the versions"
        )


def _without_aliases(versions: list[Path]) -> list[Path]:
    """The versions without links to another of them, such as `current`."""
    return [path for path in versions if not (path.is_symlink() and path.resolve() in versions)]


def _refuse_foreign(folder: Path) -> None:
    """Raise `ImportRefused` if a folder without versions is, or contains, a model of another format."""
    named = by_name(folder.name)
    foreign = named.sentence("it") if named else first_foreign(path.name for path in folder.iterdir())
    if foreign is not None:
        raise ImportRefused(f"{folder}: {foreign}")


def _folders(path: Path) -> list[Path]:
    folders = [child for child in path.iterdir() if child.is_dir() and not is_hidden(child.name)]
    return sorted(folders, key=lambda folder: natural_key(as_version(folder.name)))


def is_version(folder: Path) -> bool:
    """Whether a folder contains an .onnx, a config or a `model.yaml`."""
    return any(
        is_onnx(path.name) or path.name in {CONFIG_FILE, MODEL_YAML}
        for path in folder.iterdir()
        if not path.is_dir()
    )


def packing_of(path: Path) -> str:
    """BentoML's name of an archive's packing. Raises `ImportRefused`, naming the kind of any other file."""
    kind = kind_of(path)
    if kind.archive:
        return kind.archive
    prefix = "BentoML cannot unpack it: " if path.name.lower().endswith(ARCHIVES) else ""
    raise ImportRefused(f"{path}: {prefix}{kind.sentence('it')}")


def open_onnx(path: Path, wanted: Wanted) -> Opened:
    """One `.onnx` with the config, name and version of the caller, and the files that the config names."""
    if wanted.config is None or not wanted.name or not wanted.version:
        raise ImportRefused(f"{path} is a single file: add --config FILE, --name NAME and --version V")
    known = _config(wanted.config)
    graphs = {graph.file: path.parent / graph.file for graph in known.graphs.values()} if known else {}
    files = {CONFIG_FILE: wanted.config, **_named_files(known, path, wanted.config)}
    for name, graph in (graphs or {WEIGHTS_FILE: path}).items():
        if graph.is_file():
            files |= {name: graph, **beside(graph)}
    return Opened(_tag(wanted.name, wanted.version), files)


def _config(file: Path) -> ModelConfig | None:
    try:
        return parse_config(read_small(file))
    except (BadManifest, OSError):
        return None  # the check of the config says what is wrong


def _named_files(known: ModelConfig | None, path: Path, config: Path) -> dict[str, Path]:
    """Tokenizer and labels that the config names, as far as they lie beside the graph or the config."""
    names = [name for name in (known.tokenizer, known.labels_file) if name] if known else []
    places = [(name, place / name) for name in names for place in (path.parent, config.parent)]
    return {name: file for name, file in places if file.is_file()}


def open_folder(folder: Path, wanted: Wanted, origin: Path, *, follow: bool = False) -> Opened:
    """A version's folder, hand-made or exported by BentoML. With `follow` its links may lead anywhere."""
    try:
        info = model_yaml.read(folder) if (folder / MODEL_YAML).exists() else None
        paths = files_of_links(folder) if follow else files_in(folder)
        files = dict(islice(((name, path) for name, path in paths if not is_hidden(name)), MOST_FILES + 1))
    except (BadManifest, LeadsOut) as error:
        raise ImportRefused(f"{origin}: {error}") from None
    if len(files) > MOST_FILES:
        raise ImportRefused(f"{origin}: more than {MOST_FILES} files: import only those that the model needs")
    for ours in (MODEL_YAML, NOTE):
        files.pop(ours, None)
    if wanted.config is not None:
        files[CONFIG_FILE] = wanted.config
    if CONFIG_FILE not in files:
        raise ImportRefused(
            f"{origin}: no {CONFIG_FILE}, and preprocessing is never guessed: write one "
            f"(`okawari config infer` makes a first one), then import with --config {CONFIG_FILE}"
        )
    name = wanted.name or (info.name if info else folder.parent.name)
    tag = _tag(name, wanted.version or (info.version if info else folder.name))
    if info is None:
        return Opened(tag, files)
    return Opened(tag, files, info.created, info.manifest, info.document)


def _tag(name: str, version: str) -> ModelTag:
    try:
        # BentoML converts names to lower case too.
        return ModelTag(name.lower(), as_version(version))
    except BadTag as error:
        raise ImportRefused(f"{plain(str(error), 500)}; set them with --name and --version") from None
