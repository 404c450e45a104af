"""`device`: the devices that hand in pictures, and their tokens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import click

from adapters.records import open_records
from cli.output import note, say, say_json, settings
from lineage.devices import (
    GRACE,
    DeviceEntry,
    DeviceStore,
    check_device_id,
    environment_tokens,
    new_token,
    token_hash,
)

_HOURS = GRACE.total_seconds() / 3600
_HEADINGS = ("device", "name", "tokens", "last seen", "state")


@click.group("device")
def device_command() -> None:
    """Give devices their tokens; list, disable and enable them.

    A device sends its token as X-API-Token. A token is printed once, and kept as a hash alone: who has lost
    one rotates. The service follows within seconds. `okawari devices` is about GPUs.

    \b
    Examples:
      okawari device add cam-1 --name 'north gate'
      okawari device list
      okawari device rotate cam-1              # the token before holds for 24 hours
      okawari device rotate cam-1 --grace 0    # it has been stolen
      okawari device disable cam-1
    """


@device_command.command("add")
@click.argument("device_id")
@click.option("--name", help="What people call it.")
def add_command(device_id: str, name: str | None) -> None:
    """Add a device and print its token.

    \b
    Examples:
      okawari device add cam-1
      okawari device add cam-1 --name 'north gate' > token   # the token alone goes to stdout
    """
    token = new_token()
    with _devices() as devices:
        devices.add(check_device_id(device_id), name, token_hash(token), _now())
    _show(token, f"the token of {device_id}; it is not shown again")


@device_command.command("rotate")
@click.argument("device_id")
@click.option(
    "--grace",
    default=_HOURS,
    show_default=True,
    type=click.FloatRange(min=0, max=24 * 366),
    help="Hours for which the token before stays valid.",
)
def rotate_command(device_id: str, grace: float) -> None:
    """Give a device another token and print it.

    \b
    Examples:
      okawari device rotate cam-1
      okawari device rotate cam-1 --grace 1
    """
    token = new_token()
    with _devices() as devices:
        end = devices.rotate(device_id, token_hash(token), _now(), timedelta(hours=grace))
    current = settings()
    if device_id in {**environment_tokens(os.environ), **current.detection.auth.tokens}:
        note(f"the token of {device_id} in environment or config.yaml stays valid: change it there, too")
    before = f"; the one before ends at {end:%Y-%m-%dT%H:%M:%SZ}" if end else ""
    _show(token, f"the token of {device_id}; it is not shown again{before}")


@device_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(as_json: bool) -> None:
    """List the devices, when each was seen last, and how many tokens it has.

    \b
    Examples:
      okawari device list
      okawari device list --json
    """
    with _devices() as devices:
        entries = devices.devices(_now())
    if as_json:
        say_json({"devices": [{key: getattr(one, key) for key in DeviceEntry.__slots__} for one in entries]})
        return
    rows = [_HEADINGS, *map(_row, entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@device_command.command("disable")
@click.argument("device_id")
def disable_command(device_id: str) -> None:
    """Refuse a device with any token, also one from configuration or environment.

    \b
    Examples:
      okawari device disable cam-1
    """
    with _devices() as devices:
        devices.disable(device_id, _now())
    say(f"{device_id} is disabled")


@device_command.command("enable")
@click.argument("device_id")
def enable_command(device_id: str) -> None:
    """Let a disabled device hand in pictures again, with the tokens that it has.

    \b
    Examples:
      okawari device enable cam-1
    """
    with _devices() as devices:
        devices.enable(device_id)
    say(f"{device_id} is enabled")


@contextmanager
def _devices() -> Iterator[DeviceStore]:
    from adapters.sql.sql_devices import SqlDevices

    records = open_records(settings().database_url)
    try:
        yield SqlDevices(records.database)
    finally:
        records.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _show(token: str, about: str) -> None:
    """The token alone on stdout, so that a script can take it."""
    note(about)
    say(token)


def _row(entry: DeviceEntry) -> tuple[str, ...]:
    seen = f"{entry.last_seen:%Y-%m-%d %H:%M:%S}" if entry.last_seen else "-"
    state = f"disabled {entry.disabled_at:%Y-%m-%d %H:%M}" if entry.disabled_at else "enabled"
    return entry.device_id, entry.name or "-", str(entry.tokens), seen, state
