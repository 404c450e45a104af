"""A version is registered by the path of its files, whatever the service does meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotswap.repository import ModelInfo, VersionInfo
from manifest.tags import ModelTag
from registry.entries import By
from registry.errors import AlreadyRegistered
from registry.model_registry import ModelRegistry
from registry.registration import Registrations
from tests.support.registry_memory import RegistryMemory

DIGEST = "sha256:" + "1" * 64
ANN = By(actor="ann")


def _registrations(folder: Path, registry: ModelRegistry, *, races: bool) -> Registrations:
    """`races`: the service sees the version in its store and registers it before the caller's turn comes."""
    (folder / "deliveries").mkdir()

    def bring(_path: Path, tag: ModelTag) -> None:
        if races:
            registry.register_each([(tag, f"models/{tag.name}/{tag.version}", DIGEST)])

    found = {"m": ModelInfo("m", "v2", {"v2": VersionInfo("v2", DIGEST)})}
    return Registrations(registry, lambda: found, base=folder, roots=(folder / "deliveries",), bring=bring)


@pytest.mark.parametrize("races", [False, True])
def test_what_the_caller_says_of_a_version_is_kept(tmp_path: Path, races: bool) -> None:
    registry = ModelRegistry(RegistryMemory())  # type: ignore[arg-type]
    registrations = _registrations(tmp_path, registry, races=races)
    said = {"metrics": {"accuracy": 0.5}}
    entry = registrations.register("m", 2, "deliveries", said, ANN)
    assert (entry.digest, entry.metadata.metrics) == (DIGEST, {"accuracy": 0.5})
    with pytest.raises(AlreadyRegistered):
        registrations.register("m", 2, "deliveries", said, ANN)
