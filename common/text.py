"""Text for messages: findings of pydantic, lines of JSON, untrusted values cut and made printable."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Sized
from typing import Any

from pydantic import ValidationError

#: Maximum characters of a shown value, and maximum number of findings.
_SHOWN = 80
_FINDINGS = 5
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def explain(source: str, error: ValidationError) -> str:
    """The first findings, each with its field, the problem (with the allowed values) and the value."""
    return explain_findings(source, error.errors(include_url=False, include_context=False))


def explain_findings(source: str, findings: Sequence[Mapping[str, Any]]) -> str:
    """The text of `explain`, from the findings of a pydantic error."""
    texts = [_finding(source, item) for item in findings[:_FINDINGS]]
    if len(findings) > _FINDINGS:
        texts.append(f"and {len(findings) - _FINDINGS} more")
    return "; ".join(texts)


def _finding(source: str, item: Mapping[str, Any]) -> str:
    field = ".".join(plain(str(part), _SHOWN) for part in item["loc"]) or "(whole document)"
    value = "" if item["type"] == "missing" else f", found {shown(item['input'])}"
    return f"{source}: {field}: {plain(item['msg'], 4 * _SHOWN)}{value}"


def shown(value: object) -> str:
    """A value for messages: short, on one line, without the content of containers."""
    # Formatting a huge number or a deeply nested container could take forever.
    if isinstance(value, str | bytes):
        return _cut(repr(value[: _SHOWN + 1]), _SHOWN)
    if isinstance(value, Sized):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 4 * _SHOWN:
        return f"a number of {value.bit_length()} bits"
    return _cut(repr(value), _SHOWN)


def plain(text: str, most: int) -> str:
    """Untrusted text for terminals, logs and JSON: printable, and cut to about `most` characters."""
    return _cut("".join(c if c.isprintable() else _escaped(c) for c in text[: most + 1]), most)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


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
