"""Infers a first `config.json` from an ONNX file, and says of each field where its value comes from.

The graph is parsed, never loaded or run. What neither the graph nor its metadata say is assumed as the
family's published exports do, and listed under `inferred` in the config for a person to check.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from common.text import plain
from hotswap.errors import VersionFailed
from manifest.config_part import MOST_LABELS
from manifest.version_manifest import BadManifest, ModelConfig, parse_config
from models_import.assumed_input import preprocessing, thresholds
from models_import.errors import ImportRefused
from models_import.export_metadata import (
    ExportMetadata,
    InferredValue,
    read_labels,
    read_metadata,
)
from models_import.external_data import beside, check_data
from models_import.family_evidence import Export, Match
from models_import.family_match import RULES, match_chosen, match_family, misfit
from models_import.file_kinds import by_bytes, is_onnx, kind_of
from models_import.layout import WEIGHTS_FILE
from models_import.onnx_graph import BadGraph, OnnxGraph, read_graph, text_of
from models_import.picture_input import PictureInput, check_takes_pictures, picture_input
from models_import.store import check_family
from runners.families.index import FAMILIES
from runners.graph_check import check_input

_TOKENIZER = "tokenizer.json"
#: Most graphs in a folder that are read beside the one.
_MOST_OTHERS = 8


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller knows; it overrides the metadata. `size` is width and height."""

    family: str | None = None
    size: tuple[int, int] | None = None
    labels: Path | None = None


@dataclass(frozen=True, slots=True)
class InferredConfig:
    """A config that fits the graph and its family, with the origin of each field.

    The fields in `assumptions` are guesses that are not checked.
    """

    path: Path
    config: ModelConfig
    findings: tuple[InferredValue, ...]

    @property
    def assumptions(self) -> Mapping[str, str]:
        """The assumed fields, each with the reason."""
        return self.config.inferred

    def text(self) -> str:
        """The content of `config.json`."""
        return json.dumps(_document(self.findings), indent=1, ensure_ascii=False) + "\n"


_NOTHING = Given()


def infer_config(path: Path, given: Given = _NOTHING) -> InferredConfig:
    """A first config of an ONNX file, from its graph, its metadata and the files beside it.

    Raises `ImportRefused`, saying what was found and what to do, for a file that is not ONNX, missing
    external data, a graph that fits no family, and what the config needs but is not found.
    """
    graph, others = _read(path), _others(path)
    check_takes_pictures(graph, path, others)
    picture = picture_input(graph, path)
    metadata = read_metadata(graph, path)
    size = list(_size(picture, metadata, given))
    export = Export(graph, metadata, _sides(size), file=path.name, beside=others)
    match = _match(export, given, path)
    if len(size) < 2 and match.size is not None:
        size = [
            InferredValue(f"input.{name}", side, "assumption", f"as all exports of {match.family}")
            for name, side in zip(("width", "height"), match.size, strict=True)
        ]
    if len(size) < 2:
        raise ImportRefused(
            f"{path}: input {text_of(picture.tensor)} leaves width or height open, and the metadata do not "
            "tell the size: add --size WIDTHxHEIGHT"
        )
    findings = (
        *_head(match, metadata),
        *(*picture.findings, *size, *preprocessing(match, picture, metadata, (size[0].value, size[1].value))),
        *match.findings[1:],
        _labels(match, metadata, given, path),
        _tokenizer(match, path),
        *thresholds(match.family),
    )
    return _checked(path, picture, tuple(finding for finding in findings if finding is not None))


def _read(path: Path) -> OnnxGraph:
    """The graph of an ONNX file whose data are complete. Raises `ImportRefused`."""
    kind = by_bytes(path) if is_onnx(path.name) else kind_of(path)
    if kind is not None:
        raise ImportRefused(f"{path}: {kind.sentence('it')}")
    try:
        graph = read_graph(path)
    except BadGraph as error:
        raise ImportRefused(
            f"{path} cannot be read as an ONNX model: {error}; copy the file again, or export it again"
        ) from None
    check_data({WEIGHTS_FILE: path, **beside(path)}, WEIGHTS_FILE, path)
    return graph


def _others(path: Path) -> dict[str, OnnxGraph]:
    """The other graphs in the folder that can be read, few of many."""
    graphs = {}
    for file in islice(
        (each for each in sorted(path.parent.glob("*.onnx")) if each.name != path.name), _MOST_OTHERS
    ):
        with suppress(BadGraph, OSError):
            graphs[file.name] = read_graph(file)
    return graphs


def _size(picture: PictureInput, metadata: ExportMetadata, given: Given) -> Iterator[InferredValue]:
    """Width and height, as far as known: the graph's, else the caller's, else those of the metadata."""
    wanted = given.size or (None, None)
    for name, side, chosen in zip(("width", "height"), (picture.width, picture.height), wanted, strict=True):
        field = f"input.{name}"
        if isinstance(side, int):
            yield InferredValue(field, side, "graph", f"input {text_of(picture.tensor)}")
        elif chosen is not None:
            yield InferredValue(field, chosen, "given", "chosen by the caller")
        elif field in metadata.findings:
            yield metadata.findings[field]


def _sides(size: Sequence[InferredValue]) -> tuple[int, int] | None:
    return (size[0].value, size[1].value) if len(size) == 2 else None


def _match(export: Export, given: Given, path: Path) -> Match:
    """The family that fits. Raises `ImportRefused` with what was found and the families there are."""
    if given.family in FAMILIES and given.family not in RULES:
        raise ImportRefused(
            f"--family: nothing is known of exports for {given.family}: write config.json by hand "
            "(`okawari schema` describes it)"
        )
    if given.family is not None and given.family not in RULES:
        raise ImportRefused(f"--family: allowed are {', '.join(RULES)}, found {plain(given.family, 80)!r}")
    match = match_chosen(export, given.family) if given.family else match_family(export)
    if match is not None:
        return match
    raise ImportRefused(f"{path}: {misfit(export, given.family)}")


def _head(match: Match, metadata: ExportMetadata) -> Iterator[InferredValue]:
    task = FAMILIES[match.family].task
    yield InferredValue("task", task, match.findings[0].source, f"what family {match.family} does")
    yield match.findings[0]
    for field in ("description", "licence"):
        if field in metadata.findings:
            yield metadata.findings[field]


def _labels(match: Match, metadata: ExportMetadata, given: Given, path: Path) -> InferredValue | None:
    """The labels: the caller's, else those of the metadata, else of the family, else only numbers."""
    if not FAMILIES[match.family].labelled:
        return None
    count = match.label_count
    if given.labels is not None:
        labels = read_labels(given.labels)
        if count not in (None, len(labels)):
            raise ImportRefused(f"{given.labels}: the graph has {count} labels, found {len(labels)}")
        return InferredValue("labels", labels, "given", f"{given.labels}")
    declared = metadata.findings.get("labels")
    if declared is not None and count in (None, len(declared.value)):
        return declared
    if match.labels:
        return InferredValue("labels", list(match.labels), "assumption", f"as all exports of {match.family}")
    if count is None:
        raise ImportRefused(f"{path}: neither the graph nor its metadata tell the labels: add --labels FILE")
    if count > MOST_LABELS:
        raise ImportRefused(f"{path}: the graph has {count} labels; {MOST_LABELS} are allowed")
    why = "no names in the graph's metadata, and no labels.txt beside it"
    if declared is not None:
        why = f"{declared.why}: {len(declared.value)} labels, but the graph has {count}"
    return InferredValue("labels", [f"class {number}" for number in range(count)], "assumption", why)


def _tokenizer(match: Match, path: Path) -> InferredValue | None:
    """The tokenizer beside the graph, for a family that needs one. Raises `ImportRefused` without."""
    if not FAMILIES[match.family].tokenized:
        return None
    if not (path.parent / _TOKENIZER).is_file():
        raise ImportRefused(
            f"{path}: family {match.family} needs the model's {_TOKENIZER}: put it beside the graph"
        )
    return InferredValue("tokenizer", _TOKENIZER, "metadata", "beside the graph")


def _checked(path: Path, picture: PictureInput, findings: tuple[InferredValue, ...]) -> InferredConfig:
    """The config, as it would be read. Raises `ImportRefused` if the graph or its family does not take it."""
    try:
        config = parse_config(json.dumps(_document(findings)))
        check_family(config)
        check_input(picture.tensor, config.input)
    except BadManifest as error:
        raise ImportRefused(f"{path}: what was found makes no config: {error}") from None
    except VersionFailed as error:
        raise ImportRefused(f"{path}: {plain(error.message, 500)}") from None
    return InferredConfig(path, config, findings)


def _document(findings: Sequence[InferredValue]) -> dict[str, Any]:
    """The config as a document: what is None or a default is left out."""
    document: dict[str, Any] = {"format": 1}
    for finding in findings:
        if finding.value is None:
            continue
        *above, name = finding.field.split(".")
        place = document
        for part in above:
            place = place.setdefault(part, {})
        place[name] = finding.value
    guesses = {finding.field: finding.why for finding in findings if finding.source == "assumption"}
    return document | ({"inferred": guesses} if guesses else {})
