"""`db`: the tables of the records, and of a registry in a database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from adapters.records import sqlite_file
from adapters.registries import is_url
from cli.errors import Refused
from cli.output import say, settings
from cli.verify_command import verify_command

if TYPE_CHECKING:
    from adapters.sql.database import Purpose

_RECORDS = "records"
ONLY = click.option(
    "--only", type=click.Choice(["registry", _RECORDS]), help="Leave the other database as it is."
)


@dataclass(frozen=True, slots=True)
class Place:
    """A database that a command is about: what lies there, for people, and its URL."""

    holds: str
    url: str
    purpose: Purpose

    @property
    def is_made(self) -> bool:
        """Whether there is anything yet: the file of the records is made when it is first used."""
        file = sqlite_file(self.url)
        return file is None or file.exists() or self.holds != _RECORDS

    def says(self, text: str) -> str:
        """A line about this database."""
        from adapters.sql.database import Database

        return f"{self.holds}, {Database(self.url, self.purpose).name}: {text}"


@click.group("db")
def db_command() -> None:
    """Make and check the tables of the records, and of a registry in a database.

    The records of pictures lie where OKAWARI_DATABASE says, by default in records.db in the home. Where
    OKAWARI_REGISTRY names another database the commands do both.

    \b
    Examples:
      OKAWARI_DATABASE=postgresql://okawari@db/bird_detection okawari db upgrade
      okawari db check
      okawari db check --only registry
      READER=... okawari db reader science --password-from-env READER
    """


db_command.add_command(verify_command)


@db_command.command("upgrade")
@click.argument("revision", default="head")
@ONLY
def upgrade_command(revision: str, only: str | None) -> None:
    """Make the tables, or bring them to a newer revision."""
    from adapters.sql import schema

    for place in _places(only):
        file = sqlite_file(place.url)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        state = schema.upgrade(place.url, revision, place.purpose)
        say(place.says(f"the tables are at revision {state.current}"))


@db_command.command("downgrade")
@click.argument("revision")
@ONLY
def downgrade_command(revision: str, only: str | None) -> None:
    """Take migrations back, to REVISION; `base` removes all tables and what they hold."""
    from adapters.sql import schema

    for place in _places(only):
        if not place.is_made:
            say(place.says("there is nothing yet"))
            continue
        state = schema.downgrade(place.url, revision, place.purpose)
        say(place.says(f"the tables are at revision {state.current or 'base: there are none'}"))


@db_command.command("check")
@ONLY
def check_command(only: str | None) -> None:
    """Say whether the tables fit this release; exit code 1 where they do not."""
    from adapters.sql import schema

    wrong = []
    for place in _places(only):
        if not place.is_made:
            say(place.says("there is nothing yet; it is made when it is first used"))
            continue
        state = schema.check(place.url, place.purpose)
        if state.is_current:
            say(place.says(f"the tables are at revision {state.current}, as needed"))
        else:
            found = f"the tables are at revision {state.current or 'none'}, not {state.needed}"
            wrong.append(place.says(f"{found}: run `okawari db upgrade`"))
    if wrong:
        raise Refused("; ".join(wrong))


@db_command.command("reader")
@click.argument("role")
@click.option("--password-from-env", metavar="VAR", help="The variable with the role's password.")
@click.option("--dry-run", is_flag=True, help="Print the SQL, with the password masked, and do nothing.")
def reader_command(role: str, password_from_env: str | None, dry_run: bool) -> None:
    """Make a role of PostgreSQL that reads the records, and cannot write.

    ROLE reads all tables of the records but the hashes of tokens, also tables that a later release adds.
    Without a password it may log in where pg_hba.conf asks for none. Run again, it changes the password.

    \b
    Examples:
      READER=... okawari db reader science --password-from-env READER
      okawari db reader science --dry-run
    """
    from adapters.sql.reader_role import make_reader, reader_statements

    url = settings().database_url
    file = sqlite_file(url)
    if file is not None:
        raise Refused(f"SQLite has no roles: open the file read-only, as sqlite3 'file:{file}?mode=ro'")
    password = _password(password_from_env)
    if dry_run:
        for statement in reader_statements(url, role, None if password is None else "***"):
            say(f"{statement};")
        return
    make_reader(url, role, password)
    say(f"the role {role} reads the records, and writes nothing")


def _password(variable: str | None) -> str | None:
    if variable is None:
        return None
    password = os.environ.get(variable)
    if not password:
        raise Refused(f"{variable} is not set: it must hold the password of the reader")
    return password


def _places(only: str | None) -> Iterator[Place]:
    """The databases of the settings, each once; what is both is asked as the registry."""
    from adapters.sql.database import RECORDS, REGISTRY

    configured = settings()
    registry, records = configured.registry_location, configured.database_url
    if only == "registry" and not is_url(registry):
        raise Refused(f"the registry is the file {registry}: set OKAWARI_REGISTRY to the URL of a database")
    if registry == records:
        yield Place("registry and records", registry, REGISTRY)
        return
    if is_url(registry) and only != _RECORDS:
        yield Place("registry", registry, REGISTRY)
    if only != "registry":
        yield Place(_RECORDS, records, RECORDS)
