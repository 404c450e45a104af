"""What the store holds with the aliases of the registry, and the registry with the versions of the store."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from adapters.registries import open_registry
from hotswap.errors import Conflict
from hotswap.repository import ModelInfo, VersionInfo
from registry.errors import RegistryUnavailable
from registry.model_registry import ModelRegistry
from registry.record_store import Pointers
from registry.registered_models import RETRY, RegisteredModels, StoreRegistrar
from registry.switches import SwitchRecorder
from tests.hotswap.fakes import FakeClock, FakeSource


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    """An empty registry in a file."""
    return open_registry(tmp_path / "registry.json")


@pytest.fixture
def store() -> FakeSource:
    """A store with two versions of one model."""
    source = FakeSource()
    source.add("m:v1")
    source.add("m:v2")
    return source


def test_aliases_stand_beside_what_the_store_holds(registry: ModelRegistry, store: FakeSource) -> None:
    registered = RegisteredModels(store, registry)
    StoreRegistrar(registry, lambda: store.look() or {}).register()
    assert _aliases(registered) == {}
    registry.activate("m", "v1")
    registry.set_alias("m", "canary", "v2")
    assert _aliases(registered) == {"production": "v1", "canary": "v2"}
    store.away = True
    assert registered.look() is None


def _aliases(registered: RegisteredModels) -> dict[str, str]:
    return dict((registered.look() or {})["m"].aliases)


def test_while_the_registry_is_away_the_last_aliases_hold_and_it_is_not_asked_all_the_time(
    registry: ModelRegistry,
    store: FakeSource,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    registered = RegisteredModels(store, registry, clock)
    registry.register("m", "v1", "models/m/v1")
    registry.activate("m", "v1")
    assert _aliases(registered) == {"production": "v1"}
    asked = []

    def away() -> Pointers:
        asked.append(clock())
        raise RegistryUnavailable("the database does not answer")

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(registry, "pointers", away)
        for _ in range(3):
            assert _aliases(registered) == {"production": "v1"}
        assert (registered.problem, len(asked)) == ("the database does not answer", 1)
        clock.now += RETRY
        registered.look()
        assert len(asked) == 2
    clock.now += RETRY
    registered.look()
    assert registered.problem is None
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_registrar_registers_each_servable_version_once(registry: ModelRegistry, store: FakeSource) -> None:
    first, second = (StoreRegistrar(registry, lambda: store.look() or {}) for _ in range(2))
    assert first.missing()
    first.register()
    second.register()
    assert not first.missing()
    assert not second.missing()
    found = [(one.version, one.status, one.path, one.digest) for one in registry.list("m")]
    assert found == [
        ("v1", "staging", "models/m/v1", "sha256:1"),
        ("v2", "staging", "models/m/v2", "sha256:1"),
    ]
    store.add("m:v3")
    assert first.missing()


def test_switches_wait_while_the_registry_is_away_and_none_is_kept_twice(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime, timedelta

    from hotswap.events import Swap

    recorders = [SwitchRecorder(registry, "here") for _ in range(2)]
    with monkeypatch.context() as broken:

        def away(_: object) -> None:
            raise RegistryUnavailable("away")

        broken.setattr(registry, "record_switch", away)
        for recorder in recorders:  # both workers say the same
            recorder.published(Swap("m", None, "v1", 1, "sha256:1"))
            recorder.write()
            assert recorder.waiting
    for recorder in recorders:
        recorder.write()
        assert not recorder.waiting
    later = datetime.now(UTC) + timedelta(seconds=1)
    assert [(one.version, one.digest) for one in registry.served_at("m", later)] == [("v1", "sha256:1")]


def test_a_version_that_is_refused_keeps_no_other_out(
    registry: ModelRegistry, store: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = registry.register_each

    def refusing(versions: Any, by: Any) -> int:
        if any(tag.version == "v1" for tag, _, _ in versions):
            raise Conflict("too many versions")
        return register(versions, by)

    monkeypatch.setattr(registry, "register_each", refusing)
    registrar = StoreRegistrar(registry, lambda: store.look() or {})
    registrar.register()
    assert [one.version for one in registry.list("m")] == ["v2"]
    assert not registrar.missing()


class _Counted(dict[str, VersionInfo]):
    """Versions of a model that count how often somebody walks through them."""

    walks = 0

    def values(self) -> Any:
        _Counted.walks += 1
        return super().values()


def test_a_registrar_walks_only_through_models_whose_versions_have_changed(registry: ModelRegistry) -> None:
    def versions(*names: str) -> _Counted:
        return _Counted({name: infos.setdefault(name, VersionInfo(name)) for name in names})

    infos: dict[str, VersionInfo] = {}
    models = {name: ModelInfo(name, None, versions("v1", "v2")) for name in ("a", "b", "c")}
    registrar = StoreRegistrar(registry, lambda: models)
    assert registrar.missing()
    registrar.register()
    assert len(registry.list()) == 6
    _Counted.walks = 0
    for _ in range(100):
        # Each look makes new objects, of the same versions.
        models = {name: ModelInfo(name, None, versions("v1", "v2")) for name in models}
        assert not registrar.missing()
    assert _Counted.walks == 0
    infos["v9"] = VersionInfo("v9", reason="half copied")
    models["b"] = ModelInfo("b", None, versions("v1", "v2", "v9"))
    assert not registrar.missing()
    del infos["v9"]
    models["b"] = ModelInfo("b", None, versions("v1", "v2", "v9"))
    assert registrar.missing()
    registrar.register()
    assert not registrar.missing()
    assert (_Counted.walks, len(registry.list())) == (2, 7)
