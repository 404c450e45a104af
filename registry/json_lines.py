"""The line of a value in a JSON text, for messages to people who edit it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def line_of(text: str, path: Sequence[int | str]) -> int:
    """The line, counted from 1, of the value at `path`, or of the last part of the path that is there."""
    at = _skip(text, 0)
    for part in path:
        inner = _element(text, at, part)
        if inner is None:
            break
        at = inner
    return text.count("\n", 0, at) + 1


def _element(text: str, at: int, part: int | str) -> int | None:
    """Where an element of the object or array begins that begins at `at`."""
    is_object = text[at : at + 1] == "{"
    if not is_object and text[at : at + 1] != "[":
        return None
    at, index = _skip(text, at + 1), 0
    while text[at] not in "]}":
        key: int | str = index
        if is_object:
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)
        if key == part:
            return at
        at = _skip(text, _DECODER.raw_decode(text, at)[1])
        at = _skip(text, at + 1) if text[at] == "," else at
        index += 1
    return None


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
