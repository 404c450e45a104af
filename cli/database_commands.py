"""`db`: the tables of a registry in a database."""

from __future__ import annotations

import click

from adapters.registries import is_url
from cli.errors import Refused
from cli.output import say, settings
from cli.verify_command import verify_command


@click.group("db")
def db_command() -> None:
    """Make and check the tables of a registry in a database.

    \b
    Examples:
      OKAWARI_REGISTRY=sqlite:///var/registry.db okawari db upgrade
      okawari db check
    """


db_command.add_command(verify_command)


@db_command.command("upgrade")
@click.argument("revision", default="head")
def upgrade_command(revision: str) -> None:
    """Make the tables, or bring them to a newer revision."""
    from adapters.sql import schema

    say(f"the tables are at revision {schema.upgrade(_url(), revision).current}")


@db_command.command("downgrade")
@click.argument("revision")
def downgrade_command(revision: str) -> None:
    """Take migrations back, to REVISION; `base` removes all tables and what they hold."""
    from adapters.sql import schema

    say(f"the tables are at revision {schema.downgrade(_url(), revision).current or 'base: there are none'}")


@db_command.command("check")
def check_command() -> None:
    """Say whether the tables fit this release; exit code 1 where they do not."""
    from adapters.sql import schema

    state = schema.check(_url())
    if state.current != state.needed:
        found = state.current or "none"
        raise Refused(f"the tables are at revision {found}, not {state.needed}: run `okawari db upgrade`")
    say(f"the tables are at revision {state.current}, as needed")


def _url() -> str:
    where = settings().registry_location
    if not is_url(where):
        raise Refused(f"the registry is the file {where}: set OKAWARI_REGISTRY to the URL of a database")
    return where
