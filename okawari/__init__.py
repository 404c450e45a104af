"""The public names of Okawari: what model families from outside and scripts import.

Names in here keep their meaning from release to release; all other modules may change. They are loaded when
they are first used, so that `import okawari` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hotswap.errors import BadRequest, ModelFailed, ServingError, VersionFailed
    from hotswap.predictions import Box, Detection, Mask, Options, Picture, Prediction
    from manifest.tags import ModelTag
    from manifest.version_manifest import BadManifest, ModelConfig, Thresholds
    from okawari.model_registry_service import ModelRegistryService
    from registry.entries import RegistryEntry
    from runners.boxes import as_detections, best_boxes, from_centres
    from runners.families.base import Family, Found, Outputs, Parameters, expect, only
    from runners.geometry import Geometry
    from runners.interpolate import bilinear
    from runners.mask_runs import box_of, mask_of
    from runners.named_outputs import NamedOutputs
    from runners.scores import sigmoid, softmax
    from runners.session import Session
    from runners.text_prompt import LabelTokenizer, PhraseTokenizer

_HOMES = {
    "hotswap.errors": ("BadRequest", "ModelFailed", "ServingError", "VersionFailed"),
    "manifest.version_manifest": ("BadManifest", "ModelConfig", "Thresholds"),
    "hotswap.predictions": ("Box", "Detection", "Mask", "Options", "Picture", "Prediction"),
    "manifest.tags": ("ModelTag",),
    "okawari.model_registry_service": ("ModelRegistryService",),
    "registry.entries": ("RegistryEntry",),
    "runners.boxes": ("as_detections", "best_boxes", "from_centres"),
    "runners.families.base": ("Family", "Found", "Outputs", "Parameters", "expect", "only"),
    "runners.geometry": ("Geometry",),
    "runners.interpolate": ("bilinear",),
    "runners.mask_runs": ("box_of", "mask_of"),
    "runners.named_outputs": ("NamedOutputs",),
    "runners.scores": ("sigmoid", "softmax"),
    "runners.session": ("Session",),
    "runners.text_prompt": ("LabelTokenizer", "PhraseTokenizer"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BadManifest",
    "BadRequest",
    "Box",
    "Detection",
    "Family",
    "Found",
    "Geometry",
    "LabelTokenizer",
    "Mask",
    "ModelConfig",
    "ModelFailed",
    "ModelRegistryService",
    "ModelTag",
    "NamedOutputs",
    "Options",
    "Outputs",
    "Parameters",
    "PhraseTokenizer",
    "Picture",
    "Prediction",
    "RegistryEntry",
    "ServingError",
    "Session",
    "Thresholds",
    "VersionFailed",
    "as_detections",
    "best_boxes",
    "bilinear",
    "box_of",
    "expect",
    "from_centres",
    "mask_of",
    "only",
    "sigmoid",
    "softmax",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'okawari' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
