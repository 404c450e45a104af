"""`storage`: what the pictures of devices take, clean-ups, data sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from cli.errors import Refused
from cli.open_storage import OpenStorage, holder, open_database, open_storage
from cli.output import mega, say, say_json

if TYPE_CHECKING:
    from adapters.sql.sql_retention import DeviceUse
    from lineage.cleanup import Cleanup, CleanupReport
    from lineage.retention import Removal


@click.group("storage", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="JSON output.")
@click.pass_context
def storage_command(ctx: click.Context, *, as_json: bool) -> None:
    """Show what the pictures of devices take; clean up; release data sets.

    \b
    Examples:
      okawari storage
      okawari storage clean --dry-run    # what would go, and why
      okawari storage release nests      # retention may remove what this data set held
    """
    if ctx.invoked_subcommand is not None:
        return
    from adapters.sql.sql_datasets import SqlDatasets
    from adapters.sql.sql_retention import device_uses

    with open_storage() as storage:
        uses = device_uses(storage.records.database)
        datasets = SqlDatasets(storage.records.database).sizes()
    if as_json:
        used = sum(use.size for use in uses)
        rules = {"most_bytes": storage.rules.most_bytes, "warning_bytes": storage.rules.warning_bytes}
        devices = [asdict(use) for use in uses]
        say_json({"used_bytes": used, **rules, "devices": devices, "datasets": dict(datasets)})
        return
    _say_use(storage, uses)
    for name, size in datasets.items():
        say(f"data set {name}: {size:,} pictures, which no clean-up removes")


@storage_command.command("clean")
@click.option("--dry-run", is_flag=True, help="List what would go, with the sums; remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean_command(*, dry_run: bool, yes: bool) -> None:
    """Remove what is too old, and what the limit has no room for; the rows stay as tombstones.

    Pictures without detections go first, then those of low confidence, at last those that are flagged,
    annotated or of high confidence; what a data set holds never goes.
    """
    with open_storage() as storage:
        cleanup = _cleanup(storage)
        if dry_run or not yes:
            planned = _planned(cleanup, listed=dry_run)
            say(_summary(planned, "would go"))
            if dry_run or not (planned.total.pictures and click.confirm("remove them?")):
                return
        report = cleanup.run()
        if report is None:
            raise Refused("another service is cleaning up; try it again in two minutes")
        say(_summary(report, "removed"))
        if report.completed:
            say(f"{report.completed:,} pictures that a stopped clean-up had left were deleted, too")


@storage_command.command("release")
@click.argument("dataset")
def release_command(dataset: str) -> None:
    """Remove a data set: retention may remove its pictures then."""
    from adapters.sql.sql_datasets import SqlDatasets

    with open_database() as database:
        count = SqlDatasets(database).release(dataset)
    if not count:
        raise Refused(f"there is no data set {dataset}")
    say(f"{dataset} held {count:,} pictures; retention may remove them")


def _cleanup(storage: OpenStorage) -> Cleanup:
    from adapters.sql.sql_retention import SqlRetention
    from lineage.cleanup import Cleanup

    store = SqlRetention(storage.records.database)
    now = partial(datetime.now, UTC)
    return Cleanup(store, storage.pictures, storage.records, storage.rules, clock=now, holder=holder())


def _planned(cleanup: Cleanup, *, listed: bool) -> CleanupReport:
    from lineage.cleanup import CleanupReport

    report = CleanupReport()
    for removal in cleanup.plan():
        report.add(removal)
        if listed:
            say(_line(removal))
    return report


def _line(removal: Removal) -> str:
    picture, kind = removal.picture, removal.picture.worth.name.lower()
    day = f"{picture.accepted_at:%Y-%m-%d}"
    return "  ".join((picture.path, removal.reason, kind, day, mega(picture.size)))


def _summary(report: CleanupReport, verb: str) -> str:
    total = report.total
    reasons = ", ".join(
        f"{sums.pictures:,} by {reason} ({mega(sums.size)})" for reason, sums in report.reasons.items()
    )
    return f"{total.pictures:,} pictures {verb}, {mega(total.size)}: {reasons}"


def _say_use(storage: OpenStorage, uses: Iterable[DeviceUse]) -> None:
    from rich.console import Console
    from rich.table import Table

    rules, devices = storage.rules, list(uses)
    used = sum(use.size for use in devices)
    say(f"{sum(use.pictures for use in devices):,} pictures in {storage.pictures.name}, {_giga(used)} used")
    state = "over the warning" if used > rules.warning_bytes else "fine"
    say(f"limit {_giga(rules.most_bytes)}, warning {_giga(rules.warning_bytes)}: {state}")
    if not devices:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("device", "pictures", "size", "oldest", "newest"):
        table.add_column(name, justify="right" if name in ("pictures", "size") else "left")
    for use in devices:
        table.add_row(
            use.device,
            f"{use.pictures:,}",
            mega(use.size),
            f"{use.oldest:%Y-%m-%d %H:%M}",
            f"{use.newest:%Y-%m-%d %H:%M}",
        )
    Console().print(table)


def _giga(size: int) -> str:
    return f"{size / 1e9:.3f} GB"
