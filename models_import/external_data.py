"""The files beside a graph that it reads weights from: brought along by their names, and missed by them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from common.text import shown
from hotswap.manifest import CONFIG_FILE
from models_import.errors import ImportRefused
from models_import.file_kinds import POINTERS, by_bytes
from models_import.layout import MODEL_YAML, NOTE, WEIGHTS_FILE
from runners.external_data import external_locations, leads_out

#: Names that a version's own files have.
_TAKEN = (WEIGHTS_FILE, CONFIG_FILE, MODEL_YAML, NOTE)


def beside(graph: Path) -> dict[str, Path]:
    """The files that a graph by itself names, as far as they are there, by their paths from its folder.

    They lie beside the graph, or beside what it is a link to; else `ImportRefused` is raised.
    """
    places = dict.fromkeys((graph.parent.resolve(), graph.resolve().parent))
    found: dict[str, Path] = {}
    for location in external_locations(graph):
        name = _name(location, "", graph)
        if name in _TAKEN:
            raise ImportRefused(
                f"{graph}: it reads weights from {name!r}: export it with another name for them"
            )
        there = [place / name for place in places if (place / name).is_file()]
        if not there:
            continue
        if not any(there[0].resolve().is_relative_to(place) for place in places):
            raise ImportRefused(
                f"{graph}: {name} is a link that leads out of its folder: put there what it leads to, "
                "as `cp -L` does, or import a folder that holds both"
            )
        found[name] = there[0]
    return found


def check_data(files: Mapping[str, Path], weights: str, origin: Path) -> None:
    """Raise `ImportRefused` unless all files that the graph `weights` names are among a version's files."""
    place = origin.parent if origin.is_file() else origin
    for location in external_locations(files[weights]):
        name = _name(location, posixpath.dirname(weights), origin)
        if name not in files:
            raise ImportRefused(
                f"{origin}: the graph reads weights from {shown(location)}, and {place / name} is not there: "
                "put it there; or import the folder that holds both, with weights.onnx and config.json"
            )
        kind = by_bytes(files[name])
        if kind is not None and kind in POINTERS:
            raise ImportRefused(
                f"{origin}: the graph reads weights from {name}, which is {kind.what}: {kind.mend}"
            )


def _name(location: str, folder: str, origin: Path) -> str:
    if leads_out(location):
        raise ImportRefused(
            f"{origin}: the graph reads weights from {shown(location)}, outside its own folder: "
            "put the file beside the graph, and export it so (`onnx.save_model(…, location=NAME)`)"
        )
    return posixpath.normpath(posixpath.join(folder, location))
