"""BentoML's `latest`: a text file in a model's folder that names one of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from common.files import sync
from hotswap.manifest import BadManifest
from hotswap.repository import VersionInfo
from hotswap.tags import BadTag, check_word, natural_key
from models_import import model_yaml, reasons
from models_import.layout import POINTER
from models_import.small_files import read_start
from models_import.workspace import FILE_MODE

# Longer than any version may be, so that a file of another kind is not read as a whole.
_LONGEST = 200
_LONGEST_VERSION = 63


def read_pointer(folder: Path, versions: Mapping[str, VersionInfo]) -> tuple[str | None, str | None]:
    """The version that `latest` names, or None and what is wrong and mends it."""
    path = folder / POINTER
    try:
        named = read_start(path, _LONGEST).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None, reasons.pointer(path, "is missing", newest(versions))
    except OSError as error:
        return None, reasons.unreadable(path, error)
    except BadManifest:
        what = "is no regular file; remove it first"
        return None, reasons.pointer(path, what, newest(versions))
    if not named:
        return None, reasons.pointer(path, "is empty", newest(versions))
    if named not in versions:
        return None, reasons.pointer(path, f"names {_told(named)}, which is not there", newest(versions))
    return named, None


def _told(named: str) -> str:
    """A version's name as it is; of anything else the beginning, which can do no harm on a terminal."""
    try:
        return check_word("version", named)
    except BadTag:
        return repr(named[:_LONGEST_VERSION])


def newest(versions: Mapping[str, VersionInfo]) -> str | None:
    """The version made last, which is what BentoML's `latest` means; None where none can be read."""
    dated = [(sight.created, name) for name, sight in versions.items() if sight.created is not None]
    return max(dated)[1] if dated else None


def newest_on_disk(folder: Path, fresh: str | None, without: str | None = None) -> str | None:
    """The version in `folder` that was made last, `without` left out.

    Of two made at once it is `fresh`, else the one pointed at.
    """
    now = _named(folder)
    found = []
    for version in (each for each in folder.iterdir() if each.is_dir() and each.name != without):
        with suppress(BadManifest, OSError):
            created = model_yaml.read(version).created
            name = version.name
            found.append((created, name == fresh, name == now, natural_key(name), name))
    return max(found)[-1] if found else None


def _named(folder: Path) -> str | None:
    with suppress(BadManifest, OSError):
        return read_start(folder / POINTER, _LONGEST).decode("utf-8", "replace").strip()
    return None


def is_behind(folder: Path, created: datetime) -> bool:
    """Whether `latest` names no version, or one that was made before `created`."""
    try:
        return model_yaml.read(folder / (_named(folder) or "none")).created < created
    except (BadManifest, OSError):
        return True


def point(folder: Path, version: str, scratch: Path) -> None:
    """Make `latest` name `version` in one step; `scratch` is a free name on the same disk."""
    if _named(folder) == version:
        return
    scratch.write_text(version)
    scratch.chmod(FILE_MODE)
    sync(scratch)
    scratch.rename(folder / POINTER)
    sync(folder)
