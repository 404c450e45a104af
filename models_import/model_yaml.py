"""`model.yaml`: read and written in BentoML's own format, without BentoML."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from common.text import plain, shown
from manifest.version_manifest import MANIFEST_KEY, BadManifest, Manifest, as_utc, parse_manifest
from models_import.layout import MODEL_YAML, check_manifest
from models_import.small_files import read_small

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

#: What the largest file of an honest model stays below. Depth, directives and long numbers take the square
#: of their count to read, and hold up every other thread meanwhile.
_DEEPEST = 50
_MOST_NODES = 100_000
_MOST_PERCENT_SIGNS = 1000
_LONGEST_SCALAR = 20_000


@dataclass(frozen=True, slots=True)
class ModelYaml:
    """What a `model.yaml` says. `manifest` is None for a foreign model, which carries none of ours."""

    name: str
    version: str
    created: datetime
    manifest: Manifest | None
    document: Mapping[str, Any] = field(repr=False)


def parse(text: bytes) -> ModelYaml:
    """Read a `model.yaml`; raise `BadManifest` saying what is wrong."""
    try:
        _check_shape(text)
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, the fast one if there is one
    except BadManifest:
        raise
    except Exception as error:  # noqa: BLE001 - the loader lets through what its conversions raise
        raise BadManifest(f"{MODEL_YAML} is not YAML: {_first_line(error)}") from None
    if not isinstance(document, dict):
        raise BadManifest(f"{MODEL_YAML} is empty or no mapping")
    return _understood(document)


def _check_shape(text: bytes) -> None:
    """Raise `BadManifest` for what grows when it is loaded, or kills the loader."""
    if text.count(b"%") > _MOST_PERCENT_SIGNS:
        raise BadManifest(f"{MODEL_YAML} holds more than {_MOST_PERCENT_SIGNS} percent signs (%)")
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.AliasEvent):
            raise BadManifest(
                f"{MODEL_YAML}: aliases (*{plain(str(event.anchor), 20)}) are refused: write it out"
            )
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _LONGEST_SCALAR:
            raise BadManifest(
                f"{MODEL_YAML}: {shown(event.value)} is longer than {_LONGEST_SCALAR} characters"
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST or number > _MOST_NODES:
            raise BadManifest(f"{MODEL_YAML} has more than {_MOST_NODES} parts or {_DEEPEST} levels")


def read(folder: Path) -> ModelYaml:
    """Read a version folder's `model.yaml`; raise `BadManifest`, or `OSError` when it cannot be opened."""
    return parse(read_small(folder / MODEL_YAML))


def _understood(document: dict[str, Any]) -> ModelYaml:
    name, version = document.get("name"), document.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        raise BadManifest(f"{MODEL_YAML} lacks name or version")
    return ModelYaml(name, version, _moment(document.get("creation_time")), _manifest(document), document)


def _moment(value: object) -> datetime:
    try:
        if isinstance(value, datetime):
            return as_utc(value)
        if isinstance(value, str | date):
            return as_utc(datetime.fromisoformat(str(value)))
    except BadManifest as error:
        raise BadManifest(f"{MODEL_YAML}: creation_time: {error}") from None
    except ValueError:
        pass
    raise BadManifest(f"{MODEL_YAML}: creation_time: {shown(value)} is no time in ISO 8601")


def _manifest(document: Mapping[str, Any]) -> Manifest | None:
    metadata = document.get("metadata") or {}
    if not isinstance(metadata, dict) or MANIFEST_KEY not in metadata:
        return None
    manifest = parse_manifest(metadata[MANIFEST_KEY])
    check_manifest(manifest)
    return manifest


def _first_line(error: Exception) -> str:
    said = str(error).partition("\n")[0]
    return plain(said if isinstance(error, yaml.YAMLError) else f"{type(error).__name__}: {said}", 200)


def render(
    name: str, version: str, created: datetime, manifest: Manifest, base: Mapping[str, Any] | None = None
) -> bytes:
    """The `model.yaml` of a version as BentoML writes it; what a foreign `base` says besides is kept."""
    document = _blank() | dict(base or {})
    # BentoML refuses None anywhere in the metadata.
    ours = manifest.model_dump(mode="json", exclude_none=True)
    document |= {
        "name": name,
        "version": version,
        "metadata": {**(document.get("metadata") or {}), MANIFEST_KEY: ours},
        "creation_time": created.astimezone(UTC).isoformat(),
    }
    ordered = {key: document[key] for key in (*_blank(), *document)}
    return yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, encoding="utf-8", allow_unicode=True)


def _blank() -> dict[str, Any]:
    """The keys in BentoML's order, with what it writes for a model of no framework."""
    return {
        "name": "",
        "version": "",
        "module": "",
        "labels": {},
        "options": {},
        "metadata": {},
        "context": {
            "framework_name": "",
            "framework_versions": {},
            "bentoml_version": _bentoml_version(),
            "python_version": platform.python_version(),
        },
        "signatures": {},
        "api_version": "v1",
        "creation_time": "",
    }


@cache
def _bentoml_version() -> str:
    # Asked of the package's metadata: importing BentoML takes a second.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bentoml")
    except PackageNotFoundError:
        return "unknown"
