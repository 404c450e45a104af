"""`audit`: who changed what, when and why; and whether the record of it is whole."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.registries import open_audit
from cli.errors import Refused, complain
from cli.output import note, say, say_json, settings, short
from cli.progress import counted
from registry.audit import AuditStore, Head, Record, newest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from rich.table import Table

    from registry.audit_check import Tampered
    from registry.audit_key import AuditKey

#: Records per step of the progress bar.
_STEP = 1000


def _heads(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> list[Head]:
    """Heads as `okawari audit --verify` prints them, with or without the sequence number."""
    heads = []
    for text in texts:
        parts = re.fullmatch(r"(?:(\d{1,18}):)?([0-9a-f]{64})", text.strip().lower())
        if parts is None:
            message = f"{text[:80]!r} is not a head: write SEQUENCE:HASH or HASH, of 64 hex digits"
            raise click.BadParameter(message, ctx, param)
        heads.append(Head(int(parts[1]) if parts[1] else None, parts[2]))
    return heads


@click.command("audit")
@click.option("--verify", "verified", is_flag=True, help="Verify the log from its first record to its last.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --verify: public key of the checkpoints, in PEM. Default: the service's own.",
)
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="HEAD",
    callback=_heads,
    help="With --verify: a head printed earlier and kept elsewhere; the log must contain it.",
)
@click.option("--model", metavar="NAME", help="List the records of one model.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Most records to list."
)
@click.option("--json", "as_json", is_flag=True, help="JSON output.")
def audit_command(
    *,
    verified: bool,
    keys: tuple[Path, ...],
    heads: list[Head],
    model: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the recorded decisions: who changed what, when and why.

    With --verify: exit code 0 and the head, SEQUENCE:HASH, when the log is whole; keep the head elsewhere,
    as a tail that was cut off shows only against it. Exit code 1 when the log is not whole: the first record
    that was edited, removed, reordered, inserted or cut from the tail is named.

    \b
    Examples:
      okawari audit --model detector
      okawari audit --verify
      okawari audit --verify --key audit.pub --head 412:9f2c…
    """
    if not verified and (keys or heads):
        raise click.UsageError("--key and --head belong to --verify")
    configured = settings()
    place = open_audit(configured.registry_location, configured.home)
    if verified:
        _verify(place.store, place.key, keys, heads, as_json)
    else:
        _list(place.store, model, limit, as_json)


def _list(log: AuditStore, model: str | None, limit: int, as_json: bool) -> None:
    records = newest(log, model, limit)
    if as_json:
        say_json({"records": [record.model_dump() for record in records]})
    elif records:
        _print(_table(records))
    else:
        say(f"nothing is recorded of {model}" if model else "nothing is recorded yet")


def _table(records: list[Record]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in ("SEQ", "TIME", "ACTION", "MODEL", "CHANGE", "DIGEST", "ACTOR", "OUTCOME", "REASON"):
        table.add_column(name, no_wrap=name not in ("OUTCOME", "REASON"), overflow="fold")
    for record in records:
        table.add_row(*(escape(cell) for cell in _row(record)))
    return table


def _row(record: Record) -> tuple[str, ...]:
    return (
        str(record.sequence),
        f"{record.time[:10]} {record.time[11:19]}",
        record.action,
        record.model or "-",
        f"{record.before or '-'} -> {record.after or '-'}" if record.before or record.after else "-",
        short(record.digests.get(record.after or "")),
        record.actor or "-",
        record.outcome,
        record.reason or "",
    )


def _print(table: Table) -> None:
    """The table; without a terminal one line per row."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(table)
        return
    console = Console(width=100_000, no_color=True)
    with console.capture() as captured:
        console.print(table)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _verify(log: AuditStore, own: AuditKey, keys: tuple[Path, ...], heads: list[Head], as_json: bool) -> None:
    from registry.audit_check import Tampered, verify

    known = _keys(keys or ((own.public_path,) if own.public_path.exists() else ()))
    kept = own.kept()
    awaited = [*heads, *([Head(kept.sequence, kept.hash)] if kept else [])]
    last = log.last()
    try:
        with _counted(last.sequence if last else 0) as step:
            head = verify(log, known, awaited, step)
    except Tampered as tampered:
        _say_tampered(tampered, as_json)
        raise SystemExit(1) from None
    if as_json:
        say_json({"whole": True, "records": head.sequence, "head": str(head)})
    else:
        note(f"{head.sequence} records, all whole; the head, to be kept elsewhere:")
        say(str(head))


def _say_tampered(tampered: Tampered, as_json: bool) -> None:
    if as_json:
        fields = {"kind": tampered.kind, "sequence": tampered.sequence, "found": tampered.found}
        say_json({"whole": False, **fields})
    else:
        complain(str(tampered))


def _keys(paths: tuple[Path, ...]) -> dict[str, Ed25519PublicKey]:
    from registry.audit_key import BadKey, fingerprint, read_public

    try:
        keys = [read_public(path) for path in paths]
    except BadKey as error:
        raise Refused(str(error)) from None
    return {fingerprint(key): key for key in keys}


@contextmanager
def _counted(records: int) -> Iterator[Callable[[], None]]:
    """A progress bar that moves every thousand records: a step a record would take longer than the record."""
    with counted("verifying, thousands of records", -(-records // _STEP)) as advance:
        number = 0

        def step() -> None:
            nonlocal number
            number += 1
            if number % _STEP == 0:
                advance()

        yield step
