"""`db verify`: whether every picture has its row, and every row its picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cli.output import note, say, say_json
from cli.progress import counted

if TYPE_CHECKING:
    from lineage.verify import Comparison, Discrepancy, RowsByPath

#: Rows per step of the progress bar.
_STEP = 100


@click.command("verify")
@click.option("--no-hashes", is_flag=True, help="Compare sizes, and read no picture.")
@click.option(
    "--limit", default=1000, show_default=True, type=click.IntRange(0), help="Most findings to list."
)
@click.option("--json", "as_json", is_flag=True, help="JSON output.")
@click.pass_context
def verify_command(ctx: click.Context, *, no_hashes: bool, limit: int, as_json: bool) -> None:
    """Compare all records with all pictures; exit code 1 where they do not agree.

    Every stored picture has its row, every row its picture with the same size and sha256, and no row is
    half. The service may run: objects younger than ten minutes may still get their row.

    \b
    Examples:
      okawari db verify
      okawari db verify --no-hashes      # minutes instead of hours for millions
    """
    from adapters.sql.sql_verify import SqlRowsByPath
    from cli.open_storage import open_storage
    from lineage.verify import Comparison

    with open_storage() as storage:
        rows = SqlRowsByPath(storage.records.database)
        look = Comparison(rows, storage.pictures, datetime.now(UTC), hashes=not no_hashes)
        faults: Counter[str] = Counter()
        listed: list[Discrepancy] = []
        with _progress(rows) as advance:
            for finding in look.findings(advance):
                faults[finding.fault] += 1
                if faults.total() <= limit:
                    listed.append(finding)
    if as_json:
        counts = {"compared": look.compared, "young": look.young, "others": look.others}
        say_json({**counts, "faults": faults, "findings": [asdict(each) for each in listed]})
    else:
        _say_all(look, faults, listed)
    if faults:
        ctx.exit(1)


@contextmanager
def _progress(rows: RowsByPath) -> Iterator[Callable[[], None]]:
    with counted("comparing", rows.count() // _STEP) as advance:
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            if done % _STEP == 0:
                advance()

        yield step


def _say_all(look: Comparison, faults: Counter[str], listed: list[Discrepancy]) -> None:
    from lineage.verify import ADVICE, Fault

    for finding in listed:
        owner = f" (image {finding.image_id})" if finding.image_id else ""
        detail = f": {finding.detail}" if finding.detail else ""
        say(f"{finding.fault}: {finding.path}{owner}{detail}")
    if faults.total() > len(listed):
        note(f"… and {faults.total() - len(listed):,} more")
    for fault in Fault:
        if faults[fault]:
            say(f"{faults[fault]:,} x {fault}: {ADVICE[fault]}")
    young = f"; {look.young:,} objects are so young that their row may still come" if look.young else ""
    agree = f"{faults.total():,} findings" if faults else "all agree"
    say(f"{look.compared:,} rows compared, {agree}{young}")
