"""What a picture store takes: relative paths, whose names are safe in every kind of store, and metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from lineage.errors import BadPicturePlace

#: As the column that holds it.
_LONGEST = 512
#: No name begins with a dot: `..` leaves the store, and hidden names are the store's own.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_PREFIX = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]{0,199}/)*([A-Za-z0-9_][A-Za-z0-9._-]{0,199})?")

_PRINTABLE = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


def checked_path(path: str) -> str:
    """The path as it is. Raises `BadPicturePlace` where it is absolute, leaves the store or has odd names."""
    if len(path) > _LONGEST or not all(_NAME.fullmatch(name) for name in path.split("/")):
        raise BadPicturePlace(
            f"{path[:80]!r} is no path of a picture: allowed are names of letters, digits, '.', '_' and '-', "
            f"none of which begins with '.' or '-', with '/' between them, {_LONGEST} characters in all"
        )
    return path


def checked_prefix(prefix: str) -> str:
    """The beginning of paths as it is. Raises `BadPicturePlace` where no path begins so."""
    if len(prefix) > _LONGEST or not _PREFIX.fullmatch(prefix):
        raise BadPicturePlace(f"{prefix[:80]!r} is not the beginning of a path in a picture store")
    return prefix


def header_texts(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata as it goes into headers: what is no printable ASCII, and `%`, is percent-encoded.

    Names get `-` for `_`: many servers drop headers that have one.
    """
    return {name.lower().replace("_", "-"): quote(value, safe=_PRINTABLE) for name, value in metadata.items()}
