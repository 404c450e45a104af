"""The model registry for programs: register, list, promote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters.registries import open_registry
from registry.entries import By, RegistryEntry

_BY = By(actor="python")


class ModelRegistryService:
    """The registry in a file, or behind a URL: sqlite:///… or postgresql://…, after `okawari db upgrade`.

    Versions may be given as 3, "3" or "v3". All errors are `ServingError`s, whose `code` tells them apart:
    `invalid_argument`, `model_not_found`, `version_not_found`, `conflict`, `registry_unavailable`.
    """

    def __init__(self, registry_path: str | Path = "models/registry.json") -> None:
        """The file is created, with no models, where it is absent."""
        self.registry = open_registry(registry_path)

    def register_model(
        self, model_name: str, version: str | int, path: str, metadata: Mapping[str, Any] | None = None
    ) -> RegistryEntry:
        """Add a version as `staging`; `path` is relative to the folder that holds `models/`."""
        return self.registry.register(model_name, version, path, metadata, by=_BY).entry

    def list_models(self, model_name: str | None = None) -> tuple[RegistryEntry, ...]:
        """All versions, or those of one model."""
        return self.registry.list(model_name)

    def activate_model_version(self, model_name: str, version: str | int) -> RegistryEntry:
        """Make a version production; what was production becomes `staging`."""
        return self.registry.activate(model_name, version, _BY).entry

    def get_production_model(self, model_name: str) -> RegistryEntry | None:
        """The production version; None where a registered model has none."""
        return self.registry.production(model_name)
