"""What the documents say is held against the code: tables of settings, errors, metrics, the schema."""

from __future__ import annotations

import json
import re
from functools import reduce
from pathlib import Path

import grpc
import pytest
from prometheus_client import Counter, Gauge, Histogram

from api import errors as wire
from api.grpc import errors as rpc
from common.document_findings import paths
from config_file import Config
from hotswap import errors
from hotswap.errors import ServingError
from lineage import errors as lineage_errors
from registry import errors as registry_errors
from registry import model_list
from runners.families.index import json_schema
from settings import CONFIGURED, Settings
from telemetry.observers import Metrics

ROOT = Path(__file__).parent.parent
CHAPTER_8 = (ROOT / "docs" / "08-crosscutting-concepts.md").read_text()
CONFIG_FILE = (ROOT / "docs" / "guides" / "config-file.md").read_text()
SETTINGS = (ROOT / "docs" / "guides" / "settings.md").read_text()


def _rows(text: str, first: str) -> list[list[str]]:
    """The cells of all table rows whose first cell matches."""
    lines = (line for line in text.splitlines() if line.startswith("|"))
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [row for row in rows if re.fullmatch(first, row[0])]


def test_the_published_schema_is_the_one_that_configs_are_read_by() -> None:
    published = json.loads((ROOT / "docs" / "config.schema.json").read_text())
    assert published == json_schema(), "run: okawari schema > docs/config.schema.json"


def test_the_published_schema_of_the_list_of_models_is_the_one_that_it_is_read_by() -> None:
    published = json.loads((ROOT / "docs" / "model-registry.schema.json").read_text())
    assert published == model_list.json_schema()


def test_every_setting_stands_in_its_guide_and_nothing_else() -> None:
    plain = {name for name, field in Settings.model_fields.items() if field.validation_alias is not None}
    fields = {name.upper() if name in plain else f"OKAWARI_{name.upper()}" for name in Settings.model_fields}
    assert {row[0].strip("`") for row in _rows(SETTINGS, r"`[A-Z_]+`")} == fields


def test_every_key_of_the_configuration_file_stands_in_its_guide_with_its_default() -> None:
    rows = {row[0].strip("`"): row[1] for row in _rows(CONFIG_FILE, r"`\w+(\.\w+)+`") if len(row) == 3}
    assert list(rows) == list(paths(Config))
    for path, told in rows.items():
        default = reduce(getattr, path.split("."), Config())
        assert _plain(told) == _plain(default), path


def _plain(value: object) -> str:
    """A default as the guide writes it, without marks."""
    if value is None or value == {}:
        return "none"
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text.removesuffix(".0").replace("`", "").lower()


def test_every_key_that_is_a_setting_too_stands_in_the_guide() -> None:
    rows = {row[0].strip("`"): row[1].strip("`") for row in _rows(CONFIG_FILE, r"`[\w.]+`") if len(row) == 2}
    plain = {"port", "workers"}
    shared = {
        path: name.upper() if name in plain else f"OKAWARI_{name.upper()}"
        for name, path in CONFIGURED.items()
    }
    assert rows == {**shared, "database": "OKAWARI_DATABASE", "lakefs": "OKAWARI_PICTURES"}


def test_every_error_code_stands_in_chapter_8_with_its_status() -> None:
    documented = {
        (int(row[0]), code) for row in _rows(CHAPTER_8, r"\d{3}") for code in re.findall(r"`(\w+)`", row[1])
    }
    classes = [
        each for module in (errors, wire, registry_errors, lineage_errors) for each in vars(module).values()
    ]
    kinds = {each for each in classes if isinstance(each, type) and issubclass(each, ServingError)}
    made = {(wire.status_of(kind("")), kind.code) for kind in kinds}
    assert made <= documented
    framework = {(status, code) for status, (code, _) in wire.FRAMEWORK.items()}
    by_hand = {(500, "internal_error"), (503, "not_ready")}
    assert documented - made - framework - by_hand == set()


def test_every_error_code_stands_in_chapter_8_with_its_status_over_grpc() -> None:
    names = "|".join(code.name for code in grpc.StatusCode)
    rows = _rows(CHAPTER_8, rf"`({names})`")
    documented = {(row[0].strip("`"), code) for row in rows for code in re.findall(r"`([a-z_]+)`", row[1])}
    classes = [each for module in (errors, wire) for each in vars(module).values()]
    kinds = {each for each in classes if isinstance(each, type) and issubclass(each, ServingError)}
    # An unloaded model has the code of a version that is not loaded, and is told beside it.
    made = {(rpc.status_of(kind("")).name, kind.code) for kind in kinds - {errors.ModelNotLoaded}}
    assert made == documented


def test_every_metric_stands_in_chapter_8_with_its_type_and_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    documented = {
        row[0].strip("`"): (row[1], tuple(re.findall(r"`(\w+)`", row[2])))
        for row in _rows(CHAPTER_8, r"`\w+`")
        if row[1] in ("counter", "gauge", "histogram")
    }
    kinds = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
    made = {
        f"{metric._name}_total" if kind == "counter" else metric._name: (kind, metric._labelnames)
        for metric in vars(Metrics(tmp_path, {})).values()
        if (kind := kinds.get(type(metric)))
    }
    machine = {"system_memory_available_bytes", "gpu_memory_bytes", "service_info"}
    declared = {name: row for name, row in documented.items() if not name.startswith("modemora_")}
    assert {name: row for name, row in declared.items() if name not in machine} == made
    assert machine <= documented.keys()
