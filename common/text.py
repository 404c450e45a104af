from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any

from pydantic import ValidationError

#: What is told of a value, and of how many findings.
_SHOWN = 80
_FINDINGS = 5


def explain(what: str, error: ValidationError) -> str:
    """The first findings: of each its field, what is wrong (with the values allowed), the value found."""
    return explain_findings(what, error.errors(include_url=False, include_context=False))


def explain_findings(what: str, findings: Sequence[Mapping[str, Any]]) -> str:
    """The text of `explain`, from the findings of a pydantic error."""
    texts = [_finding(what, item) for item in findings[:_FINDINGS]]
    if len(findings) > _FINDINGS:
        texts.append(f"and {len(findings) - _FINDINGS} more")
    return "; ".join(texts)


def _finding(what: str, item: Mapping[str, Any]) -> str:
    field = ".".join(plain(str(part), _SHOWN) for part in item["loc"]) or "(whole document)"
    found = "" if item["type"] == "missing" else f", found {shown(item['input'])}"
    return f"{what}: {field}: {plain(item['msg'], 4 * _SHOWN)}{found}"


def shown(value: object) -> str:
    """A value as people are told of it: short, on one line, and never what a container holds."""
    # A number of many digits or a nested container can take longer to write out than a process lives.
    if isinstance(value, str | bytes):
        return _cut(repr(value[: _SHOWN + 1]), _SHOWN)
    if isinstance(value, Sized):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 4 * _SHOWN:
        return f"a number of {value.bit_length()} bits"
    return _cut(repr(value), _SHOWN)


def plain(text: str, most: int) -> str:
    """Text from outside, fit for terminals, logs and JSON: printable, and at most about `most` long."""
    return _cut("".join(c if c.isprintable() else _escaped(c) for c in text[: most + 1]), most)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
