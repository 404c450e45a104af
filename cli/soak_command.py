"""`okawari soak`: a long run of a service of its own under traffic, swaps and faults."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.errors import Refused
from cli.output import note, say, say_json
from cli.progress import share_bar

if TYPE_CHECKING:
    from soak.samples import Sample

_SECONDS = click.FloatRange(0)


@click.command("soak")
@click.option("--hours", type=click.FloatRange(0.001, 1000), default=1.0, show_default=True, help="How long.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option(
    "--rate", type=click.FloatRange(0.1, 10_000), default=20.0, show_default=True, help="Requests a second."
)
@click.option("--import-every", type=_SECONDS, default=20.0, show_default=True, help="Seconds; 0: never.")
@click.option("--switch-every", type=_SECONDS, default=4.0, show_default=True, help="Seconds; 0: never.")
@click.option(
    "--kill-every",
    type=_SECONDS,
    default=300.0,
    show_default=True,
    help="Seconds until a worker dies; 0: never.",
)
@click.option(
    "--restart-command",
    metavar="COMMAND",
    help="Restarts what the service depends on, such as its database (OKAWARI_DATABASE).",
)
@click.option("--restart-every", type=_SECONDS, default=600.0, show_default=True, help="Seconds; 0: never.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("soak-results"),
    show_default=True,
    help="Folder of the record; each run adds its piece.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON output: the sums of all pieces.")
def soak_command(
    *,
    hours: float,
    workers: int,
    rate: float,
    import_every: float,
    switch_every: float,
    kill_every: float,
    restart_command: str | None,
    restart_every: float,
    out: Path,
    as_json: bool,
) -> None:
    """Run a service of its own for hours, disturb it, and check every answer.

    Requests go to models whose versions are exchanged all the time, to models that do not all fit in memory,
    and to /api/v1/detect. Each answer must come from the version that it names. Meanwhile versions are
    imported, workers killed, and dependencies restarted. What the workers hold (memory, descriptors, threads)
    and the latency are recorded in OUT/soak.json and drawn in OUT/soak.svg. Your own home is not touched;
    settings of the environment, such as OKAWARI_DATABASE, hold.

    Exit 1 where a request failed that should not have, or an answer contradicts itself. Ctrl-C ends the run
    early, with its record.

    \b
    Examples:
      okawari soak --hours 1
      okawari soak --hours 8 --workers 4 --rate 100 --out soak-results
      OKAWARI_DATABASE=postgresql://… okawari soak --restart-command "docker compose restart postgres"
    """
    from bootstrap import version
    from soak.disturbances import DisturbanceSchedule
    from soak.report import write
    from soak.run import SoakOptions, soak

    options = SoakOptions(
        seconds=hours * 3600,
        workers=workers,
        rate=rate,
        sample_seconds=min(10.0, hours * 3600 / 20),
        schedule=DisturbanceSchedule(
            imports=import_every,
            switches=switch_every,
            kills=kill_every,
            restarts=restart_every,
            command=restart_command,
        ),
    )
    with tempfile.TemporaryDirectory(prefix="okawari-soak-") as room, share_bar("soak") as show:

        def show_sample(share: float, sample: Sample) -> None:
            text = f"{sample.answered} answers, {sample.resident_mb:.0f} MB, p99 {sample.p99_ms:.0f} ms"
            show(share, text)

        # Otherwise its service, which is in a session of its own, would stay.
        signal.signal(signal.SIGTERM, _end)
        try:
            piece = soak(Path(room), options, version(), show_sample)
        except subprocess.CalledProcessError as error:
            raise Refused(f"{error}\n{error.stderr.decode(errors='replace').strip()}") from None
        except RuntimeError as error:
            raise Refused(str(error)) from None
    try:
        sums = write(out, piece)
    except ValueError as error:
        raise Refused(f"{out} holds a record that cannot be read: {error}") from None
    for problem in piece.problems:
        note(f"okawari: {problem}")
    say_json(sums) if as_json else _say(piece.document(), sums, out)
    if not piece.holds:
        raise SystemExit(1)


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _say(piece: dict[str, Any], sums: dict[str, Any], out: Path) -> None:
    refused, failed = (sum(piece[name].values()) for name in ("refused", "failed"))
    lost, wrong = piece["lost_with_killed_workers"], piece["contradictions"]
    say(f"{piece['answered']} answered, {refused} refused, {lost} lost with killed workers")
    say(f"{failed} failed, {wrong} contradictions")
    say(f"{piece['swaps']} switches, {piece['evictions']} evictions")
    say(f"{piece['kills']} workers killed, {piece['restarts']} restarts")
    grown = ", ".join(f"{name} {value}" for name, value in piece["growth_per_hour"].items())
    say(f"growth per hour: {grown}")
    say(f"all pieces in {out}: {sums['answered']} answered, {sums['swaps']} switches")
