"""Labels in a file of a version: one a line, or JSON as `id2label` of transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.text import plain
from manifest.config_part import LONGEST_LABEL, MOST_LABELS
from manifest.version_manifest import BadManifest, ModelConfig

_LARGEST_BYTES = 25_000_000


def with_labels(config: ModelConfig, folder: Path) -> ModelConfig:
    """The config with the labels of the file that it names, in a version's folder. Raises `BadManifest`."""
    if config.labels_file is None:
        return config
    return config.model_copy(update={"labels": read_label_file(folder / config.labels_file)})


def read_label_file(path: Path) -> list[str]:
    """The labels, in the order of their numbers. Raises `BadManifest`, saying what is expected."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_BYTES:
            raise BadManifest(f"{path.name}: no regular file of at most {_LARGEST_BYTES} bytes")
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadManifest(f"{path.name}: {error}; one label a line in UTF-8 is expected") from None
    labels = _of_json(text, path.name) if path.suffix.lower() == ".json" else _of_lines(text)
    return checked_labels(labels, path.name)


def checked_labels(labels: list[str], where: str) -> list[str]:
    """The labels. Raises `BadManifest` for too many, or too long ones."""
    longest = max(map(len, labels), default=0)
    if longest > LONGEST_LABEL or len(labels) > MOST_LABELS:
        raise BadManifest(
            f"{where}: {len(labels)} labels of up to {longest} characters; allowed are {MOST_LABELS} labels "
            f"of {LONGEST_LABEL}"
        )
    return labels


def labels_by_number(names: Mapping[str, Any], where: str) -> list[str]:
    """The labels by the numbers 0, 1, 2 … of their keys. Raises `BadManifest`."""
    labels = [names.get(str(number)) for number in range(len(names))]
    if not all(isinstance(label, str) for label in labels):
        raise BadManifest(f"{where}: the keys should be 0 to {len(names) - 1}, each with a text")
    return checked_labels([str(label) for label in labels], where)


def _of_lines(text: str) -> list[str]:
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _of_json(text: str, where: str) -> list[str]:
    """A list of labels, a dict of them by number, or a document with such a dict as `id2label`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"{where}: {plain(str(error), 200)}; JSON is expected") from None
    if isinstance(document, dict):
        named = document.get("id2label", document)
        document = labels_by_number(named, where) if isinstance(named, dict) else None
    if not isinstance(document, list) or not all(isinstance(label, str) for label in document):
        raise BadManifest(f"{where}: a list of labels, or an object of them by number, is expected")
    return document
