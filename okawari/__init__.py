"""The public names of Okawari: what model families from outside and scripts import.

Names in here keep their meaning from release to release; all other modules may change. They are loaded when
they are first used, so that `import okawari` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hotswap.errors import ModelFailed, ServingError, VersionFailed
    from hotswap.manifest import BadManifest, ModelConfig
    from hotswap.predictions import Box, Detection, Options, Picture, Prediction
    from hotswap.tags import ModelTag
    from okawari.model_registry_service import ModelRegistryService
    from registry.entries import RegistryEntry
    from runners.boxes import as_detections
    from runners.families.base import Family, Found, Outputs, Parameters, expect, only
    from runners.geometry import Geometry

_HOMES = {
    "hotswap.errors": ("ModelFailed", "ServingError", "VersionFailed"),
    "hotswap.manifest": ("BadManifest", "ModelConfig"),
    "hotswap.predictions": ("Box", "Detection", "Options", "Picture", "Prediction"),
    "hotswap.tags": ("ModelTag",),
    "okawari.model_registry_service": ("ModelRegistryService",),
    "registry.entries": ("RegistryEntry",),
    "runners.boxes": ("as_detections",),
    "runners.families.base": ("Family", "Found", "Outputs", "Parameters", "expect", "only"),
    "runners.geometry": ("Geometry",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BadManifest",
    "Box",
    "Detection",
    "Family",
    "Found",
    "Geometry",
    "ModelConfig",
    "ModelFailed",
    "ModelRegistryService",
    "ModelTag",
    "Options",
    "Outputs",
    "Parameters",
    "Picture",
    "Prediction",
    "RegistryEntry",
    "ServingError",
    "VersionFailed",
    "as_detections",
    "expect",
    "only",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'okawari' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
