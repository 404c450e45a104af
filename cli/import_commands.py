"""`import`, `get`, `init`: add models to the store."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cli.audit_records import record_imports
from cli.compiled_imports import compile_for
from cli.errors import Refused, complain
from cli.output import note, say, settings
from cli.progress import TerminalReport
from cli.traced import import_span, traced
from config_file import ModelSection
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import CONFIG_FILE
from models_import.candidates import Candidate, Wanted, candidates, without_version
from models_import.errors import ImportRefused
from models_import.file_kinds import is_onnx
from models_import.fingerprints import digest_of_all
from models_import.importer import Imported, Importer
from models_import.progress import SILENT, ImportProgress, summary, warnings_of
from models_import.store import ModelStore
from settings import Settings


class _Path(click.Path):
    """A path that expands `~` itself where the shell does not (`--watch=~/drop`)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)  # noqa: PTH111 - keeps the type of `value`


#: Most folders without a version that a note names.
_MOST_NAMES = 5
#: A line of the log on standard error.
_LINE = "%(asctime)s %(levelname)s %(message)s"
_PATH = _Path(exists=True, path_type=Path)


@click.command("import")
@click.argument("paths", nargs=-1, type=_PATH, metavar="[PATH…]")
@click.option("--name", help="Model name, instead of the name in the path.")
@click.option("--version", help="Version; an integer n means vn.")
@click.option(
    "--config", type=_Path(exists=True, dir_okay=False, path_type=Path), help="The config.json to use."
)
@click.option(
    "--watch",
    "drop",
    metavar="DIR",
    type=_Path(file_okay=False, path_type=Path),
    help="Watch DIR and import what is in it and what is added, until stopped by a signal.",
)
@click.option(
    "--configured",
    "from_file",
    is_flag=True,
    help="Import model.checkpoint_path of the file that OKAWARI_CONFIG names, if it is new.",
)
@click.option(
    "--team",
    "of_team",
    is_flag=True,
    help="Import the weights of the team that TEAM names, or of all teams, if they are new.",
)
@click.option("--stay", is_flag=True, help="With --team: import again whenever they change, until a signal.")
def import_command(
    paths: tuple[Path, ...],
    *,
    name: str | None,
    version: str | None,
    config: Path | None,
    drop: Path | None,
    from_file: bool,
    of_team: bool,
    stay: bool,
) -> None:
    """Check models and add them to the store, each in one atomic step.

    PATH is one of: a folder NAME/VERSION with weights.onnx (or exactly one .onnx) and config.json; a
    tree of such folders; one .onnx file (with --config, --name and --version; its external data files
    are imported from beside it); an archive as BentoML exports it (.bentomodel, .tar, .tar.gz, .zip …).

    The names come from the real folder: `..` and `.` work, and a link `current` to v2 is v2. Links
    inside a folder are followed and their targets copied.

    A version never changes: an existing tag with other files is refused. With the same files it is
    refused when PATH names that one version, and reported as `unchanged` in a tree.

    With --watch, DIR holds NAME/VERSION folders and archives. Each is imported when it is complete: no
    change for 2 s (longer after a failure) and the model loads. A version that fails for 10 s without a
    change gets a note, IMPORT-FAILED.txt, beside its files; the note is deleted after a successful
    import. Changed files are retried. Anything that is not a version is logged once; hidden files and
    names such as *.part and *~ are ignored. SIGTERM ends the watch with exit code 0.

    \b
    Examples:
      okawari import models/                             # a tree, in natural order: v2 before v10
      okawari import models/detector/v7
      okawari import run7.onnx --config config.json --name detector --version 7
      okawari import detector-v7.bentomodel
      okawari import --watch /srv/drop                   # then: cp -r detector /srv/drop/
      OKAWARI_CONFIG=config.yaml okawari import --configured
      TEAM=fruit okawari import --team --stay            # /app/weights/fruit_best.onnx, or WEIGHTS_PATH
    """
    alone = not paths and (name, version, config) == (None, None, None)
    if of_team or stay:
        _import_team(alone=alone and drop is None and not from_file and of_team, stay=stay)
        return
    if from_file:
        _import_configured(alone=alone and drop is None)
        return
    if drop is not None:
        _watch(drop, alone=alone)
        return
    if not paths:
        raise click.UsageError("Missing argument 'PATH…'.")
    wanted = Wanted(name, version, config.absolute() if config else None)
    for path in paths:
        _check_onnx(path, wanted)
    configured = settings()
    with traced("okawari-import", configured), TerminalReport() as report:
        importer = _importer(configured, report)
        outcomes = [_import_path(importer, path, wanted) for path in paths]
    if not all(outcomes):
        raise SystemExit(1)


def _import_configured(*, alone: bool) -> None:
    if not alone:
        raise click.UsageError("--configured takes no PATH and no other option: config.yaml names them")

    read = settings()
    found = _configured(read.detection.model)
    if found is None:
        note("the configuration file names no model.checkpoint_path: nothing to import")
        return
    with TerminalReport() as report:
        importer = _importer(read, report)
        versions = candidates(*found)
        if not versions:
            raise Refused(f"model.checkpoint_path: {found[0]} contains no version")
        outcomes = [_import_one(importer, replace(each, named=False)) for each in versions]
    if not all(outcomes):
        raise SystemExit(1)


def _import_team(*, alone: bool, stay: bool) -> None:
    if not alone:
        raise click.UsageError("--team takes no PATH and no other option but --stay: TEAM says whose weights")
    from cli import team_import

    read = settings()
    if stay:
        logging.basicConfig(
            stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
        )
        team_import.stay(read, _importer(read, SILENT), _tell)
        return
    with TerminalReport() as report:
        importer = _importer(read, report)
        found, troubles = team_import.all_weights(read)
        for weights in found:
            imported = team_import.import_once(weights, importer)
            if imported is None:
                note(f"the newest version of {weights.team.model} has these weights; nothing changed")
            else:
                _tell(imported)
    if troubles:
        raise Refused("; ".join(troubles))


def _tell(imported: Imported) -> None:
    say(summary(imported))
    for warning in warnings_of(imported):
        note(f"okawari: warning: {warning}")


def _watch(drop: Path, *, alone: bool) -> None:
    if not alone:
        raise click.UsageError(
            "--watch DIR takes no PATH and no other option: names and versions come from DIR"
        )
    from cli.watch_command import watch

    configured = settings()
    with traced("okawari-import", configured):
        watch(drop, configured.store_home, configured.log_level, record_imports(configured))


def _check_onnx(path: Path, wanted: Wanted) -> None:
    if is_onnx(path.name) and None in (wanted.name, wanted.version, wanted.config):
        raise click.UsageError(f"{path} is a single file: add --config, --name and --version")


def _import_path(importer: Importer, path: Path, wanted: Wanted) -> bool:
    """Import every version of a path; False when any was refused."""
    try:
        versions = candidates(path, wanted)
    except ImportRefused as refused:
        complain(str(refused))
        return False
    if not versions:
        note(f"{path}: contains no version; a version is NAME/VERSION/{{weights.onnx, config.json}}")
    elif not versions[0].named:
        _note_skipped(path)
    # A failure does not stop the import of the others.
    outcomes = [_import_one(importer, candidate) for candidate in versions]
    return all(outcomes)


def _note_skipped(path: Path) -> None:
    """Print the first few folders of a tree that contain no version."""
    skipped = without_version(path)
    if skipped:
        names = ", ".join(str(folder.relative_to(path.resolve())) for folder in skipped[:_MOST_NAMES])
        more = len(skipped) - _MOST_NAMES
        note(f"skipped, no version: {names}" + (f" and {more} more" if more > 0 else ""))


def _import_one(importer: Importer, candidate: Candidate) -> bool:
    try:
        imported = importer.run(candidate)
    except ImportRefused as refused:
        complain(str(refused))
        return False
    if imported.outcome == "unchanged" and candidate.named:
        complain(f"{imported.tag} is already in the store with the same files; nothing changed")
        return False
    _tell(imported)
    return True


@click.command("get")
@click.argument("name")
@click.option("--version", help="Version. Default: the latest one.")
@click.option(
    "--mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder to take the weights from, by sha256, instead of the network.",
)
def get_command(name: str, version: str | None, mirror: Path | None) -> None:
    """Download a model of the catalogue and add it to the store.

    \b
    Examples:
      okawari get fastestdet
      okawari get fastestdet --version 1
      okawari get fastestdet --mirror /srv/models
    """
    from models_import.catalogue import assemble, choose, digest_before_fetching, entries

    entry = choose(entries(), name, version)
    configured = settings()
    home = configured.store_home
    if _digest_in_store(home, entry.tag) == digest_before_fetching(entry):
        raise Refused(f"{entry.tag} is already in the store with the same files; nothing changed")
    note(f"{entry.tag}: {entry.description}; licence {entry.licence}, from {entry.source}")
    with TerminalReport() as report, tempfile.TemporaryDirectory() as scratch:
        folder = assemble(entry, Path(scratch), mirror=mirror, report=report)
        (candidate,) = candidates(folder, Wanted())
        done = _import_one(_importer(configured, report), candidate)
    if not done:
        raise SystemExit(1)


def _digest_in_store(home: Path, tag: ModelTag) -> str | None:
    """The digest of a complete version of the store; None for any other, which the import then examines."""
    settled = ModelStore(home / "models").settle(tag)
    return settled.digest if isinstance(settled, Artifact) else None


@click.command("init")
def init_command() -> None:
    """Install the demo models (once per home).

    A second call does nothing: removed demo models stay removed.

    \b
    Example:
      okawari init
    """
    from models_import.demo_models import seed

    configured = settings()
    with TerminalReport() as report:
        importer = _importer(configured, report)
        versions = seed(configured.home, importer, refused=note)
    for version in versions:
        say(summary(version))


def _importer(configured: Settings, report: ImportProgress) -> Importer:
    return Importer(
        configured.store_home,
        report=report,
        compile_version=compile_for(configured),
        imported=record_imports(configured),
        traced=import_span,
    )


def _configured(model: ModelSection) -> tuple[Path, Wanted] | None:
    """The path to import and under which name; None where the file names none. Raises `Refused`.

    A folder has its version in its name. A single .onnx gets one of its content, so that other files are
    another version, and the same ones are imported once.
    """
    if model.checkpoint_path is None:
        return None
    path = Path(model.checkpoint_path)
    config = Path(model.config_path) if model.config_path else None
    for name, file in (("checkpoint_path", path), ("config_path", config)):
        if file is not None and not file.exists():
            raise Refused(f"model.{name}: there is nothing at {file}")
    if not is_onnx(path.name):
        return path, Wanted(model.name, None, config)
    config = config or path.with_name(CONFIG_FILE)
    if model.name is None or not config.is_file():
        raise Refused(
            f"model.checkpoint_path: {path} is a single file: add model.name, and model.config_path or a "
            f"{CONFIG_FILE} beside it (`okawari config infer` makes a first one)"
        )
    return path, Wanted(model.name, f"sha{digest_of_all(path, config)[:12]}", config)
