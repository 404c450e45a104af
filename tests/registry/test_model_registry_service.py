"""The public Python face of the registry, over each of its stores."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

import okawari
from hotswap.errors import Conflict, ModelNotFound, VersionNotFound
from okawari import ModelRegistryService
from registry.errors import InvalidEntry

METADATA = {"description": "boxes on streets", "metrics": {"accuracy": 0.85, "latency_ms": 45}}
PRE_POPULATED = {
    "models": [
        {
            "model_name": "yolov8n-coco",
            "version": 1,
            "path": "models/yolov8n-coco/v1/model.onnx",
            "status": "production",
            "creation_timestamp": "2025-01-15T10:30:00Z",
            "metadata": METADATA,
        },
        {
            "model_name": "yolov8n-coco",
            "version": 2,
            "path": "models/yolov8n-coco/v2/model.onnx",
            "status": "staging",
            "creation_timestamp": "2025-01-20T10:30:00",
            "metadata": {"description": "", "metrics": {}},
        },
    ]
}
REGISTRATIONS = 15


@pytest.fixture
def service(where: str) -> Iterator[ModelRegistryService]:
    made = okawari.ModelRegistryService(where)
    yield made
    made.registry.close()


def _register(service: ModelRegistryService, name: str, *versions: int | str) -> None:
    for version in versions:
        service.register_model(name, version, f"models/{name}/{version}/model.onnx", METADATA)


def test_register_new_model(service: ModelRegistryService) -> None:
    entry = service.register_model("shapes", 1, "models/shapes/v1/model.onnx", METADATA)

    shown = entry.model_dump(mode="json")
    moment = shown.pop("creation_timestamp")
    assert shown == {
        "model_name": "shapes",
        "version": 1,
        "path": "models/shapes/v1/model.onnx",
        "status": "staging",
        "metadata": METADATA,
        "digest": None,
        "aliases": [],
        "tags": {},
    }
    assert moment.endswith("Z")
    assert service.list_models() == (entry,)


def test_register_duplicate_version_fails(service: ModelRegistryService) -> None:
    _register(service, "shapes", 1)
    for same in (1, "1", "v1"):
        with pytest.raises(Conflict) as refused:
            _register(service, "shapes", same)
        assert refused.value.code == "conflict"
    assert len(service.list_models()) == 1


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("model_name", ("No Such Name", 1, "models/x", None)),
        ("version", ("shapes", -1, "models/x", None)),
        ("version", ("shapes", "latest", "models/x", None)),
        ("path", ("shapes", 1, "/etc/passwd", None)),
        ("path", ("shapes", 1, "models/../../x", None)),
        ("metadata.metrics.accuracy", ("shapes", 1, "models/x", {"metrics": {"accuracy": "high"}})),
        ("metadata.metrics.accuracy", ("shapes", 1, "models/x", {"metrics": {"accuracy": float("nan")}})),
        ("metadata.metrics.good", ("shapes", 1, "models/x", {"metrics": {"good": True}})),
        ("metadata.colour", ("shapes", 1, "models/x", {"colour": "red"})),
        ("metadata.description", ("shapes", 1, "models/x", {"description": "x" * 2_001})),
        ("metadata.description", ("shapes", 1, "models/x", {"description": "x\0"})),
        ("metadata.metrics", ("shapes", 1, "models/x", {"metrics": {f"m{n}": n for n in range(101)}})),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, field: str, fields: tuple[str, str, str, None]) -> None:
    service = ModelRegistryService(tmp_path / "registry.json")
    with pytest.raises(InvalidEntry) as refused:
        service.register_model(*fields)
    assert refused.value.code == "invalid_argument"
    assert f"{field}" in refused.value.message
    assert service.list_models() == ()


def test_list_models(service: ModelRegistryService) -> None:
    assert service.list_models() == ()
    _register(service, "shapes", 10, 2, "nightly")
    _register(service, "faces", "v1")
    found = [(one.model_name, one.version) for one in service.list_models()]
    assert found == [("faces", "v1"), ("shapes", "nightly"), ("shapes", "v2"), ("shapes", "v10")]


def test_list_models_by_name(service: ModelRegistryService) -> None:
    _register(service, "shapes", 1, 2)
    _register(service, "faces", 1)
    assert [one.version for one in service.list_models("shapes")] == ["v1", "v2"]
    assert service.list_models(model_name="none") == ()


def test_activate_model(service: ModelRegistryService) -> None:
    _register(service, "shapes", 1, 2)
    assert service.activate_model_version("shapes", "1").status == "production"
    assert [one.status for one in service.list_models("shapes")] == ["production", "staging"]
    with pytest.raises(VersionNotFound):
        service.activate_model_version("shapes", 3)
    with pytest.raises(ModelNotFound):
        service.activate_model_version("faces", 1)


def test_activate_demotes_old_production(service: ModelRegistryService) -> None:
    _register(service, "shapes", 1, 2)
    _register(service, "faces", 1)
    for name, version in (("faces", 1), ("shapes", 1), ("shapes", 2)):
        service.activate_model_version(name, version)
    statuses = {(one.model_name, one.version): one.status for one in service.list_models()}
    assert statuses == {
        ("faces", "v1"): "production",
        ("shapes", "v1"): "staging",
        ("shapes", "v2"): "production",
    }


def test_get_production_model(service: ModelRegistryService) -> None:
    _register(service, "shapes", 1, 2)
    assert service.get_production_model("shapes") is None
    service.activate_model_version("shapes", 2)
    production = service.get_production_model("shapes")
    assert production is not None
    assert (production.version, production.metadata.metrics) == ("v2", METADATA["metrics"])
    with pytest.raises(ModelNotFound):
        service.get_production_model("faces")


def register_on(where: str, name: str, start: Barrier) -> None:
    """What another process does."""
    service = ModelRegistryService(where)
    start.wait(30)
    for version in range(1, REGISTRATIONS + 1):
        _register(service, name, version)
        service.activate_model_version(name, version)


@pytest.mark.process
@pytest.mark.timeout(90)
def test_file_locking(where: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    names = ("faces", "shapes")
    others = [spawn.Process(target=register_on, args=(where, name, start)) for name in names]
    for other in others:
        other.start()
    for other in others:
        other.join(60)

    service = ModelRegistryService(where)
    assert [other.exitcode for other in others] == [0, 0]
    assert len(service.list_models()) == 2 * REGISTRATIONS
    numbers = [one.number for name in names for one in service.registry.history(name)]
    assert sorted(numbers) == list(range(1, 4 * REGISTRATIONS + 1))
    assert {service.get_production_model(name).version for name in names} == {f"v{REGISTRATIONS}"}
    service.registry.close()


def test_an_absent_file_is_created_without_models(tmp_path: Path) -> None:
    path = tmp_path / "models" / "registry.json"
    ModelRegistryService(path)
    assert json.loads(path.read_text()) == {"models": []}


def test_a_file_that_was_there_before_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "registry.json"
    path.write_text(json.dumps(PRE_POPULATED))
    service = ModelRegistryService(path)

    production = service.get_production_model("yolov8n-coco")
    assert production is not None
    assert (production.version, production.metadata.metrics["latency_ms"]) == ("v1", 45)
    assert json.loads(path.read_text()) == PRE_POPULATED

    service.activate_model_version("yolov8n-coco", 2)
    written = json.loads(path.read_text())["models"]
    assert [(one["version"], one["status"]) for one in written] == [(1, "staging"), (2, "production")]
    assert service.registry.rollback("yolov8n-coco").entry.version == "v1"
