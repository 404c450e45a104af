"""Errors of the command line."""

from __future__ import annotations

import click


class Refused(click.ClickException):
    """A command was not carried out; its reason goes to stderr in one line, the exit code is 1."""

    exit_code = 1

    def show(self, file: object = None) -> None:  # noqa: ARG002 - the base class's signature
        """Print the reason to stderr."""
        complain(self.message)


def complain(text: str) -> None:
    """Print an error to stderr, in one line, and go on."""
    click.echo(f"okawari: {' '.join(text.split())}", err=True)
