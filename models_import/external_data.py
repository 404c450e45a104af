"""External data: the weight files that a graph names, imported with it and checked for completeness."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from common.text import shown
from manifest.version_manifest import CONFIG_FILE
from models_import.errors import ImportRefused
from models_import.file_kinds import POINTERS, by_bytes
from models_import.layout import MODEL_YAML, NOTE, WEIGHTS_FILE
from runners.external_data import external_locations, leads_out

#: Reserved names of a version's own files.
_TAKEN = (WEIGHTS_FILE, CONFIG_FILE, MODEL_YAML, NOTE)


def beside(graph: Path) -> dict[str, Path]:
    """The existing external data files of a single graph, by their paths relative to its folder.

    They must be beside the graph, or beside the target of its link. Raises `ImportRefused` otherwise.
    """
    places = dict.fromkeys((graph.parent.resolve(), graph.resolve().parent))
    files: dict[str, Path] = {}
    for location in external_locations(graph):
        name = _name(location, "", graph)
        if name in _TAKEN:
            raise ImportRefused(
                f"{graph}: it reads weights from the reserved name {name!r}: export it with another name"
            )
        there = [place / name for place in places if (place / name).is_file()]
        if not there:
            continue
        if not any(there[0].resolve().is_relative_to(place) for place in places):
            raise ImportRefused(
                f"{graph}: {name} is a link that leads out of its folder: replace it by its target, "
                "as `cp -L` does, or import a folder with both"
            )
        files[name] = there[0]
    return files


def check_data(files: Mapping[str, Path], weights: str, origin: Path) -> None:
    """Raise `ImportRefused` unless a version's files contain all external data of the graph `weights`."""
    place = origin.parent if origin.is_file() else origin
    for location in external_locations(files[weights]):
        name = _name(location, posixpath.dirname(weights), origin)
        if name not in files:
            raise ImportRefused(
                f"{origin}: the graph reads weights from {shown(location)}, but {place / name} is missing: "
                "put it there, or import a folder with both, weights.onnx and config.json"
            )
        kind = by_bytes(files[name])
        if kind is not None and kind in POINTERS:
            raise ImportRefused(
                f"{origin}: the graph reads weights from {name}, which is {kind.what}: {kind.fix}"
            )


def _name(location: str, folder: str, origin: Path) -> str:
    if leads_out(location):
        raise ImportRefused(
            f"{origin}: the graph reads weights from {shown(location)}, outside its own folder: "
            "put the file beside the graph and export with `onnx.save_model(…, location=NAME)`"
        )
    return posixpath.normpath(posixpath.join(folder, location))
