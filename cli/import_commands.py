"""`import`, `get`, `init`: models come in."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from cli.errors import Refused, complain
from cli.output import note, say, settings
from cli.progress import TerminalReport
from hotswap.repository import Artifact
from hotswap.tags import ModelTag
from models_import.candidates import Candidate, Wanted, candidates, without_version
from models_import.errors import ImportRefused
from models_import.file_kinds import is_onnx
from models_import.importer import Importer
from models_import.progress import told
from models_import.store import ModelStore


class _Path(click.Path):
    """A path, in which `~` counts too where the shell leaves it (`--watch=~/drop`)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)  # noqa: PTH111 - keeps what it is given


#: Folders that are named where a tree holds no version in them.
_MOST_NAMES = 5
_PATH = _Path(exists=True, path_type=Path)


@click.command("import")
@click.argument("paths", nargs=-1, type=_PATH, metavar="[PATH…]")
@click.option("--name", help="The model's name, instead of the one that the path says.")
@click.option("--version", help="The version; an integer n means vn.")
@click.option("--config", type=_Path(exists=True, dir_okay=False, path_type=Path), help="A config.json.")
@click.option(
    "--watch",
    "drop",
    metavar="DIR",
    type=_Path(file_okay=False, path_type=Path),
    help="Import what is put into DIR, and what lies there already, until a signal ends it.",
)
def import_command(
    paths: tuple[Path, ...], name: str | None, version: str | None, config: Path | None, drop: Path | None
) -> None:
    """Check models and put them into the store, each in one step.

    PATH is a folder NAME/VERSION with weights.onnx (or exactly one .onnx) and config.json, a tree of
    such folders, one .onnx file (with --config, --name and --version; data files that it names come in
    from beside it), or an archive that BentoML exports (.bentomodel, .tar, .tar.gz, .zip …).

    A folder is called what it is called where it lies: `..` and `.` work, and a link `current` to v2 is
    v2. Links in a folder are followed, and what they lead to is copied.

    A version never changes: the same tag with other files is refused. With the same files it is
    refused too when PATH names that one version, and `unchanged` when it was found in a tree.

    With --watch, DIR holds NAME/VERSION folders and archives. Each is imported when it is whole: nothing
    in it has changed for 2 s (longer for one that failed before) and the model loads. One that cannot
    be imported for 10 s without a change gets a note, IMPORT-FAILED.txt, beside its files; the note goes
    away when the version came in. Files that change are tried again. What is no version is told in the
    log, once; hidden files and such as *.part and *~ are not. SIGTERM ends it, with exit 0.

    \b
    Examples:
      okawari import models/                             # a tree, in natural order: v2 before v10
      okawari import models/detector/v7
      okawari import run7.onnx --config config.json --name detector --version 7
      okawari import detector-v7.bentomodel
      okawari import --watch /srv/drop                   # then: cp -r detector /srv/drop/
    """
    if drop is not None:
        _watch(drop, alone=not paths and (name, version, config) == (None, None, None))
        return
    if not paths:
        raise click.UsageError("Missing argument 'PATH…'.")
    wanted = Wanted(name, version, config.absolute() if config else None)
    for path in paths:
        _check_onnx(path, wanted)
    with TerminalReport() as report:
        importer = Importer(settings().store_home, report=report)
        outcomes = [_import_path(importer, path, wanted) for path in paths]
    if not all(outcomes):
        raise SystemExit(1)


def _watch(drop: Path, *, alone: bool) -> None:
    if not alone:
        raise click.UsageError(
            "--watch DIR goes with no PATH and no other option: DIR says names and versions"
        )
    from cli.watch_command import watch

    configured = settings()
    watch(drop, configured.store_home, configured.log_level)


def _check_onnx(path: Path, wanted: Wanted) -> None:
    if is_onnx(path.name) and None in (wanted.name, wanted.version, wanted.config):
        raise click.UsageError(f"{path} is one file: give --config, --name and --version with it")


def _import_path(importer: Importer, path: Path, wanted: Wanted) -> bool:
    """Import all that a path holds; False when anything was refused."""
    try:
        found = candidates(path, wanted)
    except ImportRefused as refused:
        complain(str(refused))
        return False
    if not found:
        note(f"{path}: no versions in it; a version is NAME/VERSION/{{weights.onnx, config.json}}")
    elif not found[0].named:
        _note_passed_over(path)
    # Each is tried, whatever became of those before it.
    outcomes = [_import_one(importer, candidate) for candidate in found]
    return all(outcomes)


def _note_passed_over(path: Path) -> None:
    """Name the folders of a tree that hold no version; a few of them."""
    passed_over = without_version(path)
    if passed_over:
        names = ", ".join(str(folder.relative_to(path.resolve())) for folder in passed_over[:_MOST_NAMES])
        more = len(passed_over) - _MOST_NAMES
        note(f"passed over, no version in it: {names}" + (f" and {more} more" if more > 0 else ""))


def _import_one(importer: Importer, candidate: Candidate) -> bool:
    try:
        done = importer.run(candidate)
    except ImportRefused as refused:
        complain(str(refused))
        return False
    if done.outcome == "unchanged" and candidate.named:
        complain(f"{done.tag} is in the store already, with the same files; nothing was changed")
        return False
    say(told(done))
    return True


@click.command("get")
@click.argument("name")
@click.option("--version", help="Which one; the newest if left out.")
@click.option(
    "--mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the weights from this folder, found by their sha256, instead of the network.",
)
def get_command(name: str, version: str | None, mirror: Path | None) -> None:
    """Fetch a model of the catalogue and put it into the store.

    \b
    Examples:
      okawari get fastestdet
      okawari get fastestdet --version 1
      okawari get fastestdet --mirror /srv/models
    """
    from models_import.catalogue import assemble, choose, digest_before_fetching, entries

    entry = choose(entries(), name, version)
    home = settings().store_home
    if _digest_in_store(home, entry.tag) == digest_before_fetching(entry):
        raise Refused(f"{entry.tag} is in the store already, with the same files; nothing was changed")
    note(f"{entry.tag}: {entry.description}; licence {entry.licence}, from {entry.source}")
    with TerminalReport() as report, tempfile.TemporaryDirectory() as scratch:
        folder = assemble(entry, Path(scratch), mirror=mirror, report=report)
        (candidate,) = candidates(folder, Wanted())
        done = _import_one(Importer(home, report=report), candidate)
    if not done:
        raise SystemExit(1)


def _digest_in_store(home: Path, tag: ModelTag) -> str | None:
    """Of a version that the store holds whole; None lets the import find out what is wrong."""
    settled = ModelStore(home / "models").settle(tag)
    return settled.digest if isinstance(settled, Artifact) else None


@click.command("init")
def init_command() -> None:
    """Give a new home the demo models, once.

    Doing it again does nothing, and demo models that were removed stay removed.

    \b
    Example:
      okawari init
    """
    from models_import.demo_models import seed

    configured = settings()
    with TerminalReport() as report:
        importer = Importer(configured.store_home, report=report)
        done = seed(configured.home, importer, refused=note)
    for one in done:
        say(told(one))
