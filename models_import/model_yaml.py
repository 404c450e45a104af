"""`model.yaml`: read and written in BentoML's own format, without BentoML."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hotswap.manifest import MANIFEST_KEY, BadManifest, Manifest, as_utc, parse_manifest
from models_import.layout import MODEL_YAML, check_manifest

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


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
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, the fast one if there is one
    except yaml.YAMLError as error:
        raise BadManifest(f"{MODEL_YAML} is not YAML: {_first_line(error)}") from None
    if not isinstance(document, dict):
        raise BadManifest(f"{MODEL_YAML} is empty or no mapping")
    return _understood(document)


def read(folder: Path) -> ModelYaml:
    """Read a version folder's `model.yaml`; raise `BadManifest`, or `OSError` when it cannot be opened."""
    return parse((folder / MODEL_YAML).read_bytes())


def _understood(document: dict[str, Any]) -> ModelYaml:
    name, version = document.get("name"), document.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        raise BadManifest(f"{MODEL_YAML} lacks name or version")
    return ModelYaml(name, version, _moment(document.get("creation_time")), _manifest(document), document)


def _moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return as_utc(value)
    try:
        return as_utc(datetime.fromisoformat(str(value)))
    except ValueError:
        raise BadManifest(f"{MODEL_YAML}: creation_time: {value!r} is no time in ISO 8601") from None


def _manifest(document: Mapping[str, Any]) -> Manifest | None:
    metadata = document.get("metadata") or {}
    if not isinstance(metadata, dict) or MANIFEST_KEY not in metadata:
        return None
    manifest = parse_manifest(metadata[MANIFEST_KEY])
    check_manifest(manifest)
    return manifest


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


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
