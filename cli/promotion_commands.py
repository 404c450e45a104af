"""`promote`, `rollback`, `archive`, `alias`: change the registry, and wait for the swap that follows."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cli.arguments import REASON, TIMEOUT, Command
from cli.audit_records import actor
from cli.errors import Refused
from cli.open_registry import OpenRegistry
from cli.output import note, say, short
from registry.entries import By, RegistryEntry, checked


def _change_options(command: Command) -> Command:
    for option in (
        click.option("--expected-current", metavar="VERSION", help="Refuse unless this is current now."),
        REASON,
        click.option("--yes", "-y", is_flag=True, help="Do not ask."),
    ):
        command = option(command)
    return command


@click.command("promote")
@click.argument("name")
@click.argument("version")
@_change_options
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="RULE",
    help='Refuse unless a comparison shows it, such as "ap50>=current" or "p95_ms<=80".',
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=Path("report"),
    show_default=True,
    metavar="PATH",
    help="The comparison: what okawari compare wrote.",
)
@TIMEOUT
def promote_command(
    name: str,
    version: str,
    *,
    expected_current: str | None,
    reason: str | None,
    yes: bool,
    required: tuple[str, ...],
    report: Path,
    timeout: float,
) -> None:
    """Make a version production, and serve it.

    Shows what changes, and asks. A model that follows `latest` follows `@production` from then on; one
    that is pinned stays pinned. If the version cannot be loaded, everything is put back.

    \b
    Examples:
      okawari promote detector v7
      okawari promote detector 7 --yes --reason "better at night" --expected-current v6
      okawari promote detector v7 --require "ap50>=current" --report report/
    """
    with OpenRegistry() as opened:
        registry = opened.registry
        record = opened.entry(name, version)
        _require(required, report, record, registry.production(name))
        _confirm(
            registry.production(name), record, f"make {record.model_name}:{record.version} production", yes
        )
        by = _by(expected_current, reason)
        say(
            opened.change_production(
                name, lambda: registry.activate(name, version, by, opened.prepare), by, timeout
            )
        )


@click.command("rollback")
@click.argument("name")
@_change_options
@TIMEOUT
def rollback_command(
    name: str, expected_current: str | None, reason: str | None, yes: bool, timeout: float
) -> None:
    """Go back to the version that was production before; twice goes two back.

    \b
    Examples:
      okawari rollback detector
      okawari rollback detector --yes --reason "misses cars at night"
    """
    with OpenRegistry() as opened:
        registry = opened.registry
        back = registry.rollback_target(name)
        _confirm(registry.production(name), back, f"roll {name} back to {back.version}", yes)
        by = _by(expected_current, reason)
        say(opened.change_production(name, lambda: registry.rollback(name, by, opened.prepare), by, timeout))


@click.command("archive")
@click.argument("name")
@click.argument("version")
@_change_options
def archive_command(
    name: str, version: str, expected_current: str | None, reason: str | None, yes: bool
) -> None:
    """Put a version away; its files stay.

    \b
    Example:
      okawari archive detector v3
    """
    with OpenRegistry() as opened:
        entry = opened.entry(name, version)
        _ask(f"archive {name}:{entry.version}, which is {entry.status}?", yes)
        changed = opened.registry.archive(name, version, _by(expected_current, reason))
        say(f"{name}:{changed.entry.version} is {changed.entry.status}")


@click.command("alias")
@click.argument("name")
@click.argument("alias")
@click.argument("version", required=False)
@click.option("--delete", is_flag=True, help="Let the alias mean nothing.")
@_change_options
def alias_command(
    name: str,
    alias: str,
    version: str | None,
    *,
    delete: bool,
    expected_current: str | None,
    reason: str | None,
    yes: bool,
) -> None:
    """Let an alias mean a version; models that follow @ALIAS swap to it.

    \b
    Examples:
      okawari alias detector canary v8
      okawari alias detector canary --delete
    """
    if delete == (version is not None):
        raise click.UsageError("give a VERSION, or --delete")
    with OpenRegistry() as opened:
        by = _by(expected_current, reason)
        if version is None:
            old = opened.registry.alias(name, alias)
            _ask(f"delete alias {alias} of {name}, which means {old.version}?", yes)
            opened.registry.delete_alias(name, alias, by)
            say(f"{name} has no alias {alias} any more")
            return
        entry = opened.entry(name, version)
        before = next(iter(opened.registry.list(name, alias=alias)), None)
        means = f", which means {before.version} now" if before else ""
        _ask(f"let alias {alias}{means} mean {name}:{entry.version}?", yes)
        opened.registry.set_alias(name, alias, version, by)
        say(f"{name}: {alias} means {entry.version}")


def _by(expected_current: str | None, reason: str | None) -> By:
    return checked(By, "options", actor=actor(), reason=reason, expected_current=expected_current)


def _require(
    required: tuple[str, ...], report: Path, record: RegistryEntry, production: RegistryEntry | None
) -> None:
    """Hold the rules against a comparison of these files. Raises `Refused` with the numbers."""
    if not required:
        return
    from evaluation.requirement import PromotionRequirement, read_report

    try:
        compared = read_report(report)
    except FileNotFoundError:
        raise Refused(f"there is no comparison at {report}: run okawari compare, or give --report") from None
    for text in required:
        try:
            rule = PromotionRequirement.parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--require") from None
        note(rule.judge(compared, record.digest, production.digest if production else None))


def _confirm(before: RegistryEntry | None, after: RegistryEntry, what: str, yes: bool) -> None:
    """Show both versions side by side, and ask."""
    note(f"{after.model_name}: {before.version if before else 'no version'} -> {after.version}")
    for field, old, new in _differences(before, after):
        note(f"  {field:<16} {old:>12} -> {new}")
    _ask(f"{what}?", yes)


def _differences(before: RegistryEntry | None, after: RegistryEntry) -> list[tuple[str, str, str]]:
    old = before.metadata.metrics if before else {}
    metrics = sorted({*old, *after.metadata.metrics})
    return [
        ("digest", short(before.digest if before else None), short(after.digest)),
        *((name, str(old.get(name, "-")), str(after.metadata.metrics.get(name, "-"))) for name in metrics),
    ]


def _ask(question: str, yes: bool) -> None:
    """Raise `Refused` unless the answer is yes; scripts, which cannot be asked, say --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} there is no terminal to ask: add --yes")
    if not click.confirm(question, err=True):
        raise Refused("nothing was changed")
