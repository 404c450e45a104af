"""`golden marks`: pictures that somebody marked on the page of a comparison become golden pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from cli.arguments import stored_model
from cli.errors import Refused
from cli.output import note, say, settings
from models_import.store import ModelStore
from registry.golden_files import GoldenFiles


@click.command("marks")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder with the pictures. Default: the one that was compared.",
)
def marks_command(name: str, file: Path, images: Path | None) -> None:
    """Hold the pictures of a comparison in which somebody marked which version is right.

    FILE is what the page of `okawari compare` saves. What the right version found is expected of every later
    version of the model. Pictures in which neither is right are left out, and so are those that have changed.

    \b
    Example:
      okawari golden marks detector ~/Downloads/marks.json
    """
    from evaluation.marks import read_marks

    marks = read_marks(file)
    configured = settings()
    stored_model(ModelStore(configured.models), name, configured.models)
    folder = images or Path(marks.folder)
    golden = GoldenFiles(configured.home)
    added = 0
    for mark, expected in marks.golden():
        data = _picture(folder, mark.picture, mark.sha256)
        if data is None:
            continue
        golden.add(name, mark.picture, data, expected)
        say(f"{mark.picture}: {len(expected)} findings are expected")
        added += 1
    if not added:
        raise Refused(f"{file} marks no picture of {folder} in which a version is right")
    note(f"{added} golden pictures are held for {name}; every version from now on is tried on them")


def _picture(folder: Path, name: str, sha256: str) -> bytes | None:
    """The bytes of a picture of the folder; None, with a note, where it is not the one that was compared."""
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise OSError("it lies outside the folder")
        data = path.read_bytes()
    except OSError as error:
        note(f"{path}: left out: {error.strerror or error}")
        return None
    if hashlib.sha256(data).hexdigest() != sha256:
        note(f"{path}: left out: it is not the picture that was compared")
        return None
    return data
