"""BentoML's `latest`: a text file in a model's folder that names one of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hotswap.artifact import VersionSight
from models_import import reasons
from models_import.layout import POINTER

# Longer than any version may be, so that a file of another kind is not read as a whole.
_LONGEST = 200


def read_pointer(folder: Path, versions: Mapping[str, VersionSight]) -> tuple[str | None, str | None]:
    """The version that `latest` names, or None and what is wrong and mends it."""
    path = folder / POINTER
    try:
        with path.open("rb") as file:
            named = file.read(_LONGEST).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None, reasons.pointer(path, "is missing", newest(versions))
    except OSError as error:
        return None, reasons.unreadable(path, error)
    if not named:
        return None, reasons.pointer(path, "is empty", newest(versions))
    if named not in versions:
        return None, reasons.pointer(path, f"names {named}, which is not there", newest(versions))
    return named, None


def newest(versions: Mapping[str, VersionSight]) -> str | None:
    """The version made last, which is what BentoML's `latest` means; None where none can be read."""
    dated = [(sight.created, name) for name, sight in versions.items() if sight.created is not None]
    return max(dated)[1] if dated else None
