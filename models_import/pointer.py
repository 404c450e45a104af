"""BentoML's pointer `latest`: a text file in a model's folder that names one of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from common.files import sync
from hotswap.repository import VersionInfo
from manifest.tags import BadTag, check_word, natural_key
from manifest.version_manifest import BadManifest
from models_import import model_yaml, reasons
from models_import.layout import POINTER
from models_import.small_files import read_start
from models_import.workspace import FILE_MODE

# Longer than any version; limits the reading of other files.
_LONGEST = 200
_LONGEST_VERSION = 63


def read_pointer(folder: Path, versions: Mapping[str, VersionInfo]) -> tuple[str | None, str | None]:
    """The version that `latest` names, or None and the reason with its fix."""
    path = folder / POINTER
    try:
        named = read_start(path, _LONGEST).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None, reasons.pointer(path, "is missing", newest(versions))
    except OSError as error:
        return None, reasons.unreadable(path, error)
    except BadManifest:
        problem = "is not a regular file; remove it first"
        return None, reasons.pointer(path, problem, newest(versions))
    if not named:
        return None, reasons.pointer(path, "is empty", newest(versions))
    if named not in versions:
        return None, reasons.pointer(path, f"names {_shown(named)}, which does not exist", newest(versions))
    return named, None


def _shown(named: str) -> str:
    """A valid version unchanged; anything else cut and escaped for terminals."""
    try:
        return check_word("version", named)
    except BadTag:
        return repr(named[:_LONGEST_VERSION])


def newest(versions: Mapping[str, VersionInfo]) -> str | None:
    """The version created last, which is the meaning of BentoML's `latest`; None without a readable one."""
    dated = [(version.created, name) for name, version in versions.items() if version.created is not None]
    return max(dated)[1] if dated else None


def newest_on_disk(folder: Path, fresh: str | None, without: str | None = None) -> str | None:
    """The version in `folder` that was created last, except `without`.

    Of two created at the same time it is `fresh`, else the one that `latest` names.
    """
    current = _named(folder)
    candidates = []
    for version in (path for path in folder.iterdir() if path.is_dir() and path.name != without):
        with suppress(BadManifest, OSError):
            created = model_yaml.read(version).created
            name = version.name
            candidates.append((created, name == fresh, name == current, natural_key(name), name))
    return max(candidates)[-1] if candidates else None


def _named(folder: Path) -> str | None:
    with suppress(BadManifest, OSError):
        return read_start(folder / POINTER, _LONGEST).decode("utf-8", "replace").strip()
    return None


def latest_of(folder: Path) -> str | None:
    """The version that `latest` names, as it stands there; None without one."""
    return _named(folder) or None


def is_behind(folder: Path, created: datetime) -> bool:
    """Whether `latest` names no version, or one that was made before `created`."""
    try:
        return model_yaml.read(folder / (_named(folder) or "none")).created < created
    except (BadManifest, OSError):
        return True


def point(folder: Path, version: str, scratch: Path) -> None:
    """Set `latest` to `version` in one step; `scratch` is a free path on the same disk."""
    if _named(folder) == version:
        return
    scratch.write_text(version)
    scratch.chmod(FILE_MODE)
    sync(scratch)
    scratch.rename(folder / POINTER)
    sync(folder)
