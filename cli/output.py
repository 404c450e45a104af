"""Output of the command line: lines on stdout and stderr, JSON, sizes and digests for people."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from cli.errors import Refused
from settings import Settings, findings, given_names, unknown

_WARNED = f"{__name__}.warned"


def settings() -> Settings:
    """The settings of the environment and `okawari.toml`. Raises `Refused`, naming the wrong variable.

    Warns once per command of variables that look like settings but are unknown.
    """
    try:
        read = Settings()
    except ValueError as error:
        raise Refused("; ".join(findings(error))) from None
    command = click.get_current_context(silent=True)
    if command is not None and not command.find_root().meta.setdefault(_WARNED, False):
        command.find_root().meta[_WARNED] = True
        for line in unknown(given_names()):
            note(f"okawari: warning: {line}")
    return read


def say(text: str) -> None:
    """Print a line to stdout."""
    click.echo(text)


def note(text: str) -> None:
    """Print a line to stderr that is not an error."""
    click.echo(text, err=True)


def say_json(document: Any) -> None:
    """Print a document as indented JSON."""
    click.echo(json.dumps(document, indent=2, default=_plain))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def mega(size: int) -> str:
    """A size in kB or MB, for people; `-` for 0."""
    if size < 1_000_000:
        return f"{max(1, round(size / 1000))} kB" if size else "-"
    return f"{size / 1_000_000:.1f} MB"


def short(digest: str | None) -> str:
    """The first 12 hex digits of a digest, enough to distinguish two; `-` for None."""
    return "-" if digest is None else digest.removeprefix("sha256:")[:12]
