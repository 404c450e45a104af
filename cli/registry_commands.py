"""`registry`, `history`, `who-served`: what the model registry holds, and what happened."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.registries import open_registry
from cli.arguments import TIMEOUT
from cli.audit_records import actor
from cli.compiled_imports import compile_for
from cli.errors import Refused, complain
from cli.output import say, say_json, settings, short
from manifest.tags import ModelTag
from registry.entries import By, ChangeRecord, RegistryEntry, Status
from registry.registry_document import parse

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {Status.PRODUCTION: "green", Status.REJECTED: "red", Status.ARCHIVED: "dim"}
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON output, shaped like the API's.")


@click.group("registry")
def registry_command() -> None:
    """The record of all versions: status, aliases, metrics.

    \b
    Example:
      okawari registry list --status production
    """


@registry_command.command("list")
@click.argument("name", required=False)
@click.option("--status", type=click.Choice([str(status) for status in Status]))
@click.option("--alias")
@_JSON
def list_command(name: str | None, status: str | None, alias: str | None, as_json: bool) -> None:
    """List registered versions.

    \b
    Examples:
      okawari registry list
      okawari registry list detector --json
    """
    entries = open_registry(settings().registry_location).list(name, status, alias)
    if as_json:
        say_json({"models": [entry.model_dump(mode="json") for entry in entries]})
    elif entries:
        _print(_entries(entries))
    else:
        say("no version is registered; a running service registers those of its store by itself")


@registry_command.command("adopt")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@TIMEOUT
def adopt_command(file: Path, timeout: float) -> None:
    """Take in a registry file that was written before there was a store.

    Its paths, from the folder that holds `models/`, are imported; its entries are registered, and its
    production versions activated, unless the registry has one of that model. What cannot be taken in is
    named, with exit code 1. Running it again does what is missing.

    \b
    Example:
      okawari registry adopt models/registry.json
    """
    from cli.adoption import Adoption
    from cli.open_registry import OpenRegistry
    from cli.progress import TerminalReport
    from models_import.importer import Importer

    entries = tuple(
        entry
        for record in parse(str(file), file.read_bytes()).records.values()
        for entry in record.entries.values()
    )
    by = By(actor=actor(), reason=f"adopted from {file}"[:500])
    failed = False
    with OpenRegistry() as opened, TerminalReport() as report:

        def activate(tag: ModelTag) -> None:
            opened.change_production(
                tag.name,
                lambda: opened.registry.activate(tag.name, tag.version, by, opened.prepare),
                by,
                timeout,
            )

        configured = opened.configured
        importer = Importer(configured.store_home, report=report, compile_version=compile_for(configured))
        for tag, outcome in Adoption(file, opened.registry, importer, by, activate).run(entries):
            refused = outcome.startswith("not adopted")
            failed |= refused
            (complain if refused else say)(f"{tag}: {outcome}")
    if failed:
        raise SystemExit(1)


@click.command("history")
@click.argument("name")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@_JSON
def history_command(name: str, limit: int, as_json: bool) -> None:
    """Show who changed a model in the registry, when and why; newest first.

    \b
    Example:
      okawari history detector
    """
    records = open_registry(settings().registry_location).history(name, limit=limit)
    if as_json:
        say_json({"history": [record.model_dump(mode="json") for record in records]})
    else:
        _print(_changes(records))


@click.command("who-served")
@click.argument("name")
@click.option("--at", "text", required=True, metavar="TIME", help="ISO 8601, such as 2026-11-29T14:05:00Z.")
@_JSON
def who_served_command(name: str, text: str, as_json: bool) -> None:
    """Say which version answered at a moment, and its digest.

    A time without a zone is UTC.

    \b
    Example:
      okawari who-served detector --at 2026-11-29T14:05:00Z
    """
    served = open_registry(settings().registry_location).served_at(name, _moment(text))
    if as_json:
        say_json({"served": [switch.model_dump(mode="json") for switch in served]})
        return
    if not served:
        raise Refused(f"nothing is recorded of {name} at {text}")
    for switch in served:
        version = f"{name}:{switch.version} {short(switch.digest)}" if switch.version else "no version"
        say(f"{version} since {switch.time:%Y-%m-%dT%H:%M:%SZ} in {switch.service}")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"--at {text!r}: allowed is ISO 8601, such as 2026-11-29T14:05:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column != "reason")
    return table


def _entries(entries: tuple[RegistryEntry, ...]) -> Table:
    table = _table("model", "version", "status", "aliases", "digest", "metrics", "registered")
    for entry in entries:
        colour = _COLOURS.get(entry.status, "default")
        metrics = ", ".join(f"{name} {value:g}" for name, value in entry.metadata.metrics.items())
        created = f"{entry.creation_timestamp:%Y-%m-%d %H:%M}"
        aliases = ", ".join(entry.aliases) or "-"
        status = f"[{colour}]{entry.status}[/]"
        table.add_row(
            entry.model_name, entry.version, status, aliases, short(entry.digest), metrics or "-", created
        )
    return table


def _changes(records: tuple[ChangeRecord, ...]) -> Table:
    table = _table("time", "change", "version", "from", "to", "by", "reason")
    for record in records:
        change = record.action if record.alias is None else f"{record.action} {record.alias}"
        moved = (record.before or "-", record.after or "-") if record.before or record.after else ("", "")
        table.add_row(
            f"{record.time:%Y-%m-%d %H:%M:%S}",
            change,
            record.version or "-",
            *moved,
            record.actor,
            record.reason or "",
        )
    return table


def _print(renderable: Any) -> None:
    import sys

    from rich.console import Console

    console = Console(highlight=False)
    if not sys.stdout.isatty():
        console.width = 200
    console.print(renderable)
