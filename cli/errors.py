"""How a command says no."""

from __future__ import annotations

import click


class Refused(click.ClickException):
    """What was asked for was not done; the reason goes to stderr in one line, and the exit is 1."""

    exit_code = 1

    def show(self, file: object = None) -> None:  # noqa: ARG002 - the base class's signature
        """Say it."""
        complain(self.message)


def complain(text: str) -> None:
    """A refusal among other outcomes."""
    click.echo(f"okawari: {' '.join(text.split())}", err=True)
