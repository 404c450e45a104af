"""How the command line speaks: colours and bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Any

import click

from cli.errors import Refused
from settings import Settings, findings, unknown

_TOLD = f"{__name__}.unknown variables told"


def settings() -> Settings:
    """What environment and `okawari.toml` say; raises `Refused`, naming the variable.

    Variables that look like settings and are none are told, once a command.
    """
    try:
        read = Settings()
    except ValueError as error:
        raise Refused("; ".join(findings(error))) from None
    command = click.get_current_context(silent=True)
    if command is not None and not command.find_root().meta.setdefault(_TOLD, False):
        command.find_root().meta[_TOLD] = True
        for line in unknown(os.environ):
            note(f"okawari: warning: {line}")
    return read


def say(text: str) -> None:
    """A line on stdout."""
    click.echo(text)


def note(text: str) -> None:
    """A line on stderr that is no refusal."""
    click.echo(text, err=True)


def say_json(document: Any) -> None:
    """A document for programs."""
    click.echo(json.dumps(document, indent=2, default=_plain))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def mega(size: int) -> str:
    """A size for people."""
    if size < 1_000_000:
        return f"{max(1, round(size / 1000))} kB" if size else "-"
    return f"{size / 1_000_000:.1f} MB"


def short(digest: str | None) -> str:
    """Enough of a digest to tell two apart."""
    return "-" if digest is None else digest.removeprefix("sha256:")[:12]
