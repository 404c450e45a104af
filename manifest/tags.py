"""Names: a model tag is exactly one version of one model, `detector:v7`; never `latest`."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

LATEST = "latest"
#: What stands before the name of an alias where a target is given: `@production`.
ALIAS_SIGN = "@"
PRODUCTION = "production"

# BentoML's rule for names and versions: at most 63 lower-case characters, alphanumeric at both ends.
_WORD = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_ALLOWED = "at most 63 of a-z 0-9 . _ -, beginning and ending with a letter or a digit"


class BadTag(ValueError):
    """A name or version that BentoML's store could not hold."""


def check_word(kind: str, text: str) -> str:
    """Return `text` if it can be a name or a version; raise `BadTag` saying what is allowed."""
    if not _WORD.fullmatch(text):
        raise BadTag(f"{kind} {text[:64]!r}: allowed are {_ALLOWED}")
    return text


@dataclass(frozen=True, slots=True)
class ModelTag:
    """Exactly one version of one model."""

    name: str
    version: str

    def __post_init__(self) -> None:
        check_word("model name", self.name)
        check_word("version", self.version)
        if self.version == LATEST:
            raise BadTag(f"{self.name}:{LATEST} is a target, not a version")

    @classmethod
    def parse(cls, text: str) -> ModelTag:
        """Read `name:version`; raise `BadTag` for anything else."""
        name, colon, version = text.partition(":")
        if not colon:
            raise BadTag(f"{text!r}: a tag is written name:version")
        return cls(name, version)

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


def as_version(text: str | int, known: Collection[str] = ()) -> str:
    """Say which version is meant: an integer n means `vn`, unless a version of that very name is known."""
    word = str(text).strip().lower()
    if word.isdecimal() and word.isascii() and word not in known:
        return f"v{word}"
    return word


def as_target(text: str | int, known: Collection[str] = ()) -> str:
    """Read a target: `latest`, an alias as `@name`, or a version as `as_version` reads it.

    Raises `BadTag`, which says what is allowed.
    """
    word = as_version(text, known)
    if word == LATEST:
        return LATEST
    try:
        if word.startswith(ALIAS_SIGN):
            return ALIAS_SIGN + check_word("alias", word.removeprefix(ALIAS_SIGN))
        return check_word("target", word)
    except BadTag as error:
        raise BadTag(f"{error}; or {LATEST!r}, or an alias such as {ALIAS_SIGN}{PRODUCTION}") from None


def alias_of(target: str) -> str | None:
    """The alias that a target names; None where it names none."""
    return target.removeprefix(ALIAS_SIGN) if target.startswith(ALIAS_SIGN) else None


def natural_key(version: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key by which v2 comes before v10."""
    parts = re.split(r"(\d+)", version)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)
