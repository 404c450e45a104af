"""What is checked of a version before it is tried: its config, its own manifest, its place in the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from common.text import plain
from hotswap.manifest import CONFIG_FILE, BadManifest, FileEntry, ModelConfig, digest_of, parse_config
from hotswap.tags import ModelTag
from models_import import model_yaml
from models_import.candidates import Opened
from models_import.errors import ImportRefused
from models_import.external_data import check_data
from models_import.file_kinds import by_bytes
from models_import.fingerprints import sha256_of
from models_import.layout import MODEL_YAML, LeadsOut, check_golden, files_in, pick_weights
from models_import.small_files import read_small
from models_import.store import check_family


def check_config_file(opened: Opened, origin: Path) -> ModelConfig:
    """The version's config, which fits its files; else `ImportRefused`."""
    for name in opened.files:
        if not _is_utf8(name):
            raise ImportRefused(f"{origin}: {plain(name, 200)}: a file's name must be UTF-8; rename it")
    try:
        weights = pick_weights(opened.files)
        _check_graph(opened, weights, origin)
        config = parse_config(read_small(opened.files[CONFIG_FILE]))
        check_family(config)
        check_golden(config, opened.files)
    except BadManifest as error:
        raise ImportRefused(f"{origin}: {error}") from None
    return config


def _check_graph(opened: Opened, weights: str, origin: Path) -> None:
    """Whether the file that is called a model may be one, and whether all is there that it reads."""
    path = opened.files[weights]
    kind = by_bytes(path)
    if kind is not None:
        raise ImportRefused(f"{origin}: {kind.told('it' if path == origin else weights)}")
    check_data(opened.files, weights, origin)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_declared(opened: Opened, entries: Mapping[str, FileEntry], origin: Path) -> None:
    """An archive of ours must hold what its manifest says, save a config that the caller replaced."""
    if opened.manifest is None:
        return
    for name, entry in opened.manifest.files.items():
        if name != CONFIG_FILE and entries.get(name) != entry:
            raise ImportRefused(f"{origin}: damaged: {name} does not match its manifest; fetch it again")


def compare_with_stored(folder: Path, tag: ModelTag, digest: str) -> bool:
    """Whether the store holds this very version; `ImportRefused` if it holds another by that tag."""
    if not folder.exists():
        return False
    try:
        info = model_yaml.read(folder)
        stored = digest_of_files({name: path for name, path in files_in(folder) if name != MODEL_YAML})
    except (BadManifest, LeadsOut, FileNotFoundError):
        raise ImportRefused(
            f"{tag} is in the store, but not whole: if no import is running, "
            f"`okawari remove {tag.name} {tag.version}`, then import it again"
        ) from None
    if stored == digest:
        return True
    if info.manifest is not None and info.manifest.digest != stored:
        raise ImportRefused(
            f"{tag} is in the store, but damaged: "
            f"`okawari remove {tag.name} {tag.version}`, then import it again"
        )
    raise ImportRefused(
        f"{tag} is in the store with digest {short(stored)}, and this is {short(digest)}: "
        "a version never changes, so import it as another one with --version"
    )


def digest_of_files(files: Mapping[str, Path]) -> str:
    """The digest that a version of these files has."""
    return digest_of(
        {name: FileEntry(sha256=sha256_of(path), size=path.stat().st_size) for name, path in files.items()}
    )


def short(digest: str) -> str:
    """Enough of a digest for people to tell two apart."""
    return digest[: len("sha256:") + 12]
