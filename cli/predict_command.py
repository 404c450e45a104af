"""`predict`: run pictures through the service; print the detections, save annotated pictures."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from cli.client import AT_ONCE, PictureOutcome, PredictClient, bearer_token, connect, service_url
from cli.errors import Refused, complain
from cli.image_files import SkippedFiles, pictures, places
from cli.output import note, say, settings
from cli.progress import counted
from workers.run_folder import RunFolder

_FORMATS = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
_COLUMNS = ("FILE", "FOUND", "BEST", "MODEL", "MS")
_MOST_LABELS = 4
_MOST_FOLDERS = 4


@click.command("predict")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILES…")
@click.option("--model", help="Model to use. Default: the service's default model.")
@click.option("--version", help="Version of the model; an integer n means vn. Default: the serving version.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Minimum score. Default: the model's own threshold.",
)
@click.option(
    "--max-detections", type=click.IntRange(1, 1000), help="Maximum number of detections per picture."
)
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Save each picture with its detections drawn, as DIR/NAME.annotated.jpg.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(list(_FORMATS)),
    default="jpeg",
    show_default=True,
    help="Format of saved pictures.",
)
@click.option("--url", help="URL of the service. Default: the service of this home.")
@click.option("--json", "as_json", is_flag=True, help="JSON output, one line per file.")
def predict_command(
    files: tuple[Path, ...],
    *,
    model: str | None,
    version: str | None,
    threshold: float | None,
    max_detections: int | None,
    save: Path | None,
    kind: str,
    url: str | None,
    as_json: bool,
) -> None:
    """Run pictures through the service and show the detections.

    A folder stands for the pictures in it and in its subfolders: files with a picture's suffix or
    first bytes. Other files, and those saved by an earlier call, are skipped and listed at the end.
    Saved pictures replace those of an earlier call, but never one of FILES.

    Exit code 1 when a file failed or a folder contains no picture; the other files are still processed.
    Skipped files do not change the exit code.

    \b
    Examples:
      okawari predict street.jpg
      okawari predict photos/ --model detector --save out/
      okawari predict *.png --version v6 --threshold 0.4 --json
      okawari predict street.jpg --url http://camera-7:3000
    """
    options = {"model": model, "version": version, "threshold": threshold, "max_detections": max_detections}
    fields = {name: str(value) for name, value in options.items() if value is not None}
    skipped = SkippedFiles()
    inputs = pictures(files, skipped)
    if not inputs:
        raise Refused(f"{_none_in(files)}; skipped {_files(skipped)}")
    targets = places(inputs, save, _FORMATS[kind]) if save else {}
    configured = settings()
    token = bearer_token(configured.admin_token, own=url is None)
    place = url or service_url(RunFolder(configured.home))
    with closing(connect(place, own=url is None, token=token)) as client:
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
        # A progress bar would garble JSON lines on the same terminal.
        shown = not (as_json and sys.stdout.isatty())
        outcomes = _predict_all(PredictClient(client, fields, f"image/{kind}"), inputs, targets, shown)
        done = _print_lines(outcomes) if as_json else _print_table(outcomes)
    _print_skipped(skipped)
    if skipped.folders or any(outcome.failed for outcome in done):
        raise SystemExit(1)


def _print_skipped(skipped: SkippedFiles) -> None:
    if skipped.folders:
        complain(_none_in(skipped.folders))
    if skipped.count:
        note(f"skipped {_files(skipped)}")


def _none_in(folders: Sequence[Path]) -> str:
    named = ", ".join(map(click.format_filename, folders[:_MOST_FOLDERS]))
    more = len(folders) - _MOST_FOLDERS
    return f"there are no pictures in {named}" + (f" and {more} more" if more > 0 else "")


def _files(skipped: SkippedFiles) -> str:
    """The number of skipped files, their first names and the reasons."""
    if not skipped.count:
        return "no files"
    return f"{skipped.count} {'file' if skipped.count == 1 else 'files'}: {skipped.summary()}"


def _predict_all(
    service: PredictClient, files: Sequence[Path], targets: Mapping[Path, Path], shown: bool
) -> Iterator[PictureOutcome]:
    """The outcome of each file, in order; `AT_ONCE` requests run at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool, counted("predicting", len(files), shown=shown) as step:
        for outcome in pool.map(lambda file: service.predict(file, targets.get(file)), files):
            step()
            yield outcome


# --- output --------------------------------------------------------------------------------------


def _print_lines(outcomes: Iterable[PictureOutcome]) -> list[PictureOutcome]:
    """Print one line of JSON per file, as soon as its outcome is known."""
    done = []
    for outcome in outcomes:
        say(json.dumps(_document(outcome)))
        done.append(outcome)
    return done


def _document(outcome: PictureOutcome) -> dict[str, Any]:
    named = {"file": str(outcome.file)}
    if outcome.failed is not None:
        return named | {"error": {"code": outcome.failed.code, "message": outcome.failed.reason}}
    saved = {"saved": str(outcome.saved)} if outcome.saved else {}
    return named | saved | dict(outcome.answer or {})


def _print_table(outcomes: Iterable[PictureOutcome]) -> list[PictureOutcome]:
    """Print a table of the detections, then the failures with their reasons."""
    done = list(outcomes)
    if answered := [outcome for outcome in done if outcome.answer is not None]:
        _print(answered)
    for outcome in done:
        if outcome.failed is not None:
            complain(f"{click.format_filename(outcome.file)}: {outcome.failed.reason}")
    if saved := [outcome.saved for outcome in answered if outcome.saved]:
        note(f"{len(saved)} {'picture' if len(saved) == 1 else 'pictures'} in {saved[0].parent}")
    return done


def _print(answered: Sequence[PictureOutcome]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # Without a terminal every row is one line.
    console = Console()
    if not console.is_terminal:
        console = Console(width=100_000, no_color=True)
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in _COLUMNS:
        table.add_column(name, overflow="fold", justify="right" if name in ("FOUND", "MS") else "left")
    for outcome in answered:
        table.add_row(*(escape(cell) for cell in _row(outcome)))
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        say(line.rstrip())


def _row(outcome: PictureOutcome) -> tuple[str, ...]:
    answer = outcome.answer or {}
    detections = answer["detections"]
    total = answer.get("timings_ms", {}).get("total", 0.0)
    tag = f"{answer['model']}:{answer['model_version']}"
    return click.format_filename(outcome.file), str(len(detections)), best(detections), tag, f"{total:.0f}"


def best(detections: Sequence[Mapping[str, Any]]) -> str:
    """The labels with their best scores and counts: `person 0.87 x2, dog 0.55`."""
    scores: dict[str, float] = {}
    for detection in detections:
        label = detection["label"]
        scores[label] = max(detection["score"], scores.get(label, 0.0))
    counts = Counter(detection["label"] for detection in detections)
    words = [
        f"{label} {score:.2f}" + (f" x{counts[label]}" if counts[label] > 1 else "")
        for label, score in scores.items()
    ]
    return ", ".join(words[:_MOST_LABELS]) + (", …" if len(words) > _MOST_LABELS else "") or "-"
