"""The checks of a version before the probe: its config, its manifest, and the store's version of its tag."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from common.text import plain
from manifest.tags import ModelTag
from manifest.version_manifest import (
    CONFIG_FILE,
    BadManifest,
    FileEntry,
    ModelConfig,
    digest_of,
    parse_config,
)
from models_import import model_yaml
from models_import.candidates import Opened
from models_import.errors import ImportRefused
from models_import.external_data import check_data
from models_import.file_kinds import by_bytes
from models_import.fingerprints import sha256_of
from models_import.layout import MODEL_YAML, LeadsOut, check_named_files, files_in, pick_weights
from models_import.small_files import read_small
from models_import.store import check_family
from runners.label_file import read_label_file


def check_config_file(opened: Opened, origin: Path) -> ModelConfig:
    """The config of a version, checked against its files. Raises `ImportRefused`."""
    for name in opened.files:
        if not _is_utf8(name):
            raise ImportRefused(f"{origin}: {plain(name, 200)}: file names must be UTF-8; rename it")
    try:
        pick_weights(opened.files, None)
        config = parse_config(read_small(opened.files[CONFIG_FILE]))
        weights = pick_weights(opened.files, config)
        check_named_files(config, opened.files)
        for file in dict.fromkeys((weights, *(graph.file for graph in config.graphs.values()))):
            _check_graph(opened, file, origin)
        check_family(_with_labels(config, opened))
    except BadManifest as error:
        raise ImportRefused(f"{origin}: {error}") from None
    return config


def _with_labels(config: ModelConfig, opened: Opened) -> ModelConfig:
    if config.labels_file is None:
        return config
    return config.model_copy(update={"labels": read_label_file(opened.files[config.labels_file])})


def _check_graph(opened: Opened, weights: str, origin: Path) -> None:
    """Raise `ImportRefused` if the model file is of another kind, or its external data are missing."""
    path = opened.files[weights]
    kind = by_bytes(path)
    if kind is not None:
        raise ImportRefused(f"{origin}: {kind.sentence('it' if path == origin else weights)}")
    check_data(opened.files, weights, origin)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_declared(opened: Opened, entries: Mapping[str, FileEntry], origin: Path) -> None:
    """Raise `ImportRefused` if an archive differs from its manifest, except for a replaced config."""
    if opened.manifest is None:
        return
    for name, entry in opened.manifest.files.items():
        if name != CONFIG_FILE and entries.get(name) != entry:
            raise ImportRefused(f"{origin}: damaged: {name} does not match its manifest; get a new copy")


def compare_with_stored(folder: Path, tag: ModelTag, digest: str) -> bool:
    """Whether the store has this version. Raises `ImportRefused` if its tag is used by other files."""
    if not folder.exists():
        return False
    try:
        info = model_yaml.read(folder)
        stored = digest_of_files({name: path for name, path in files_in(folder) if name != MODEL_YAML})
    except (BadManifest, LeadsOut, FileNotFoundError):
        raise ImportRefused(
            f"{tag} is in the store, but incomplete: if no import is running, run "
            f"`okawari remove {tag.name} {tag.version}`, then import it again"
        ) from None
    if stored == digest:
        return True
    if info.manifest is not None and info.manifest.digest != stored:
        raise ImportRefused(
            f"{tag} is in the store, but damaged: run "
            f"`okawari remove {tag.name} {tag.version}`, then import it again"
        )
    raise ImportRefused(
        f"{tag} is in the store with digest {short(stored)}, but this one has {short(digest)}: "
        "versions are immutable; import it as another version with --version"
    )


def digest_of_files(files: Mapping[str, Path]) -> str:
    """The digest that a version of these files has."""
    return digest_of(
        {name: FileEntry(sha256=sha256_of(path), size=path.stat().st_size) for name, path in files.items()}
    )


def short(digest: str) -> str:
    """The first 12 hex digits of a digest, enough for people to distinguish two."""
    return digest[: len("sha256:") + 12]
