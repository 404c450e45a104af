"""`predict`: ask the running service about pictures, and see what it sees."""

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

from cli.client import AT_ONCE, Asker, PictureOutcome, connect, service_url
from cli.errors import Refused, complain
from cli.image_files import PassedOver, pictures, places
from cli.output import note, say, settings
from cli.progress import counted
from workers.run_folder import RunFolder

_FORMATS = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
_COLUMNS = ("FILE", "FOUND", "BEST", "MODEL", "MS")
_MOST_LABELS = 4
_MOST_FOLDERS = 4


@click.command("predict")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILES…")
@click.option("--model", help="Who shall answer; the service's default if left out.")
@click.option("--version", help="Which version of it; what serves if left out. An integer n means vn.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Least score; the model's own if left out.")
@click.option("--max-detections", type=click.IntRange(1, 1000), help="Found in one picture at most.")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write each picture there with what was found drawn on it, as NAME.annotated.jpg.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(list(_FORMATS)),
    default="jpeg",
    show_default=True,
    help="Of saved pictures.",
)
@click.option("--url", help="Where the service is, if it is not the one of this home.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one line a file.")
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
    """Ask the running service what it finds in pictures.

    A folder among FILES means the pictures in it and below it: files with the suffix of a picture, and
    files that begin like one. The others, and those that an earlier call has saved, are passed over and
    named at the end. Saved pictures replace those of an earlier call, and never one of FILES.

    Exit 1 when any file failed, or a folder holds no picture; the others are answered all the same. What
    is passed over changes no exit code.

    \b
    Examples:
      okawari predict street.jpg
      okawari predict photos/ --model detector --save seen/
      okawari predict *.png --version v6 --threshold 0.4 --json
      okawari predict street.jpg --url http://camera-7:3000
    """
    asked = {"model": model, "version": version, "threshold": threshold, "max_detections": max_detections}
    fields = {name: str(value) for name, value in asked.items() if value is not None}
    passed = PassedOver()
    meant = pictures(files, passed)
    if not meant:
        raise Refused(f"{_none_in(files)}; found were {_files(passed)}")
    targets = places(meant, save, _FORMATS[kind]) if save else {}
    with closing(connect(url or service_url(RunFolder(settings().home)), own=url is None)) as client:
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
        # A bar and lines on one terminal would be in each other's way.
        shown = not (as_json and sys.stdout.isatty())
        outcomes = _ask_all(Asker(client, fields, f"image/{kind}"), meant, targets, shown)
        done = _tell_lines(outcomes) if as_json else _tell_table(outcomes)
    _tell_passed(passed)
    if passed.folders or any(outcome.failed for outcome in done):
        raise SystemExit(1)


def _tell_passed(passed: PassedOver) -> None:
    if passed.folders:
        complain(_none_in(passed.folders))
    if passed.count:
        note(f"passed over {_files(passed)}")


def _none_in(folders: Sequence[Path]) -> str:
    named = ", ".join(map(click.format_filename, folders[:_MOST_FOLDERS]))
    more = len(folders) - _MOST_FOLDERS
    return f"there are no pictures in {named}" + (f" and {more} more" if more > 0 else "")


def _files(passed: PassedOver) -> str:
    """How many files are passed over, which, and why."""
    if not passed.count:
        return "no files"
    return f"{passed.count} {'file' if passed.count == 1 else 'files'}: {passed.told()}"


def _ask_all(
    asker: Asker, files: Sequence[Path], targets: Mapping[Path, Path], shown: bool
) -> Iterator[PictureOutcome]:
    """What becomes of each file, in order; a few are under way at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool, counted("asking", len(files), shown=shown) as step:
        for outcome in pool.map(lambda file: asker.ask(file, targets.get(file)), files):
            step()
            yield outcome


# --- telling -------------------------------------------------------------------------------------


def _tell_lines(outcomes: Iterable[PictureOutcome]) -> list[PictureOutcome]:
    """One line of JSON a file, as soon as it is known."""
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


def _tell_table(outcomes: Iterable[PictureOutcome]) -> list[PictureOutcome]:
    """A table of what was found, then what failed and why."""
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

    # Where there is no terminal every row is one line.
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
    found = answer["detections"]
    total = answer.get("timings_ms", {}).get("total", 0.0)
    tag = f"{answer['model']}:{answer['model_version']}"
    return click.format_filename(outcome.file), str(len(found)), best(found), tag, f"{total:.0f}"


def best(found: Sequence[Mapping[str, Any]]) -> str:
    """The labels with their best scores, and how often: `person 0.87 x2, dog 0.55`."""
    scores: dict[str, float] = {}
    for each in found:
        scores[each["label"]] = max(each["score"], scores.get(each["label"], 0.0))
    counts = Counter(each["label"] for each in found)
    words = [
        f"{label} {score:.2f}" + (f" x{counts[label]}" if counts[label] > 1 else "")
        for label, score in scores.items()
    ]
    return ", ".join(words[:_MOST_LABELS]) + (", …" if len(words) > _MOST_LABELS else "") or "-"
