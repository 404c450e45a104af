"""References to variables and files in texts: `${VAR}`, `${VAR:-default}`, `${file:/run/secrets/x}`.

`$${` is a plain `${`. What is put in is not searched again. No message shows a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

#: Bytes of a file that a reference names.
LARGEST_FILE = 65_536
_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(
    rf"(?P<plain>\$\$\{{)|\$\{{(?:file:(?P<file>[^{{}}]+)|(?P<name>{_NAME})(?::-(?P<default>[^{{}}]*))?)\}}"
    r"|(?P<broken>\$\{)"
)


class BadReference(ValueError):
    """A reference cannot be resolved; the message names the variable or file."""


def has_reference(text: str) -> bool:
    """Whether the text is changed by `resolve`."""
    return "${" in text


def resolve(text: str, environment: Mapping[str, str]) -> str:
    """The text with the values of its references. Raises `BadReference`.

    An empty variable counts as one that is not set, as in a shell after `:-`.
    """
    return _REFERENCE.sub(lambda match: _value(match, environment), text)


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    if match["plain"]:
        return "${"
    if match["broken"]:
        raise BadReference(
            "${ begins no reference: write ${VAR}, ${VAR:-default} or ${file:/path}; $${ for a plain ${"
        )
    if match["file"]:
        return _content(Path(match["file"]))
    value = environment.get(match["name"]) or match["default"]
    if value is None:
        name = match["name"]
        raise BadReference(f"the variable {name} is not set or empty: set it, or write ${{{name}:-default}}")
    return value


def _content(path: Path) -> str:
    """The text of a file, without the line break at its end."""
    if not path.is_absolute():
        raise BadReference(f"the file {path} has no absolute path")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise BadReference(f"the file {path} is larger than {LARGEST_FILE} bytes")
        return data.decode().rstrip("\r\n")
    except OSError as error:
        raise BadReference(f"the file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadReference(f"the file {path} is not UTF-8") from None
