"""`config infer`: a first config.json from an ONNX file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.errors import Refused
from cli.output import note, say
from common.files import write_atomically
from common.text import plain
from manifest.version_manifest import CONFIG_FILE

if TYPE_CHECKING:
    from models_import.export_metadata import InferredValue
    from models_import.inferred_config import InferredConfig

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
#: Widest column of values.
_WIDEST = 36


def _size(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Width and height in pixels of `WIDTHxHEIGHT`."""
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text or "")
    if text is not None and match is None:
        raise click.BadParameter(f"a size is WIDTHxHEIGHT in pixels, such as 640x480; found {text!r}")
    return (int(match[1]), int(match[2])) if match else None


@click.group("config")
def config_command() -> None:
    """Infer a first config.json from an ONNX file.

    \b
    Example:
      okawari config infer run7.onnx
    """


@config_command.command("infer")
@click.argument("model", type=_FILE, metavar="MODEL.onnx")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write. Default: config.json beside the model.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--family", help="Model family, where the graph does not say it (`okawari families`).")
@click.option(
    "--size",
    metavar="WIDTHxHEIGHT",
    callback=_size,
    help="Size of the input, where the graph leaves it open.",
)
@click.option("--labels", type=_FILE, help="File of the labels, one a line or JSON.")
def infer_command(
    model: Path,
    *,
    output: Path | None,
    force: bool,
    family: str | None,
    size: tuple[int, int] | None,
    labels: Path | None,
) -> None:
    """Write a first config.json from what an ONNX file says; the graph is parsed, never run.

    Sources are the shapes and operators of the graph, its metadata (Ultralytics, the ONNX standard's
    image properties), and beside it the config.json and preprocessor_config.json of transformers and
    labels.txt. The table shows where each value comes from.

    An ASSUMPTION is what published models of the family do: check colour order, scale, mean, std and
    resize against the training code. A wrong one gives no error, but worse answers. The config lists the
    assumptions under `inferred`, and `okawari import` warns until they are deleted there.

    A graph that fits no family is refused.

    \b
    Examples:
      okawari config infer run7.onnx
      okawari config infer run7.onnx --labels names.txt -o detector/7/config.json
      okawari config infer encoder.onnx --family embedder --size 224x224
    """
    from models_import.inferred_config import Given, infer_config

    target = output or model.parent / CONFIG_FILE
    _check_target(target, force=force)
    inferred = infer_config(model, Given(family, size, labels))
    write_atomically(target, inferred.text().encode())
    _print(inferred)
    _note_next(inferred, target, model)


def _check_target(target: Path, *, force: bool) -> None:
    """Raise `Refused` if the file exists and may not be replaced."""
    from models_import.export_metadata import is_transformers_config

    if force or not target.exists():
        return
    theirs = " (it is a file of transformers)" if is_transformers_config(target) else ""
    raise Refused(f"{target} exists{theirs}: add --force to replace it, or choose another file with -o")


def _print(inferred: InferredConfig) -> None:
    """The table of the findings; assumptions are marked."""
    rows = [_row(finding) for finding in inferred.findings]
    widths = [max(len(row[column]) for row in (_HEAD, *rows)) for column in range(3)]
    for row in (_HEAD, *rows):
        line = "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        say(click.style(line.rstrip(), fg="yellow") if row[2] == "ASSUMPTION" else line.rstrip())


_HEAD = ("FIELD", "VALUE", "FROM", "WHY")


def _row(finding: InferredValue) -> tuple[str, str, str, str]:
    source = finding.source.upper() if finding.source == "assumption" else finding.source
    return finding.field, plain(_value(finding.value), _WIDEST), source, plain(finding.why, 200)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(map(_value, value.values()))
    if isinstance(value, list) and len(value) > 6:
        return f"{len(value)}: {', '.join(map(_value, value[:6]))} …"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return "none" if value is None else str(value)


def _note_next(inferred: InferredConfig, target: Path, model: Path) -> None:
    count = len(inferred.assumptions)
    if count:
        noun = "assumption" if count == 1 else "assumptions"
        note(f"wrote {target} with {count} {noun}: check them, then delete `inferred` in it")
    else:
        note(f"wrote {target}: no assumptions")
    note(f"next: okawari import {model} --config {target} --name NAME --version 1")
