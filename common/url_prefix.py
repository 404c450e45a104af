"""The path prefix under which a proxy offers the service, such as `/modemora`, in one spelling."""

from __future__ import annotations

import re

_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_LONGEST = 200
#: The first names of the service's own paths: a prefix that begins so would be ambiguous.
OWN_NAMES = frozenset(
    {
        *(
            "api",
            "docs.json",
            "documentation",
            "health",
            "healthz",
            "infer_json",
            "livez",
            "metrics",
            "models",
            "predict",
        ),
        *("readyz", "redoc", "schema.json", "static_content", "v1", "v2"),
    }
)


def url_prefix(text: str) -> str:
    """The prefix with a slash before it and none after it; empty for none. Raises `ValueError`."""
    prefix = "/" + text.strip("/") if text.strip("/") else ""
    if prefix and (len(prefix) > _LONGEST or not _PREFIX.fullmatch(prefix)):
        raise ValueError(
            f"{text[:64]!r} is not a path prefix: write names of letters, digits, -, _, . and ~ with slashes "
            "between them, such as /modemora"
        )
    return prefix


def is_own(prefix: str) -> bool:
    """Whether the service has paths of its own that begin so."""
    return prefix.split("/")[1:2] != [] and prefix.split("/")[1] in OWN_NAMES
