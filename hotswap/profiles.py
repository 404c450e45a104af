"""Profiles: what an operator declares of models beside their manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """One model. None: nothing is declared.

    `memory_bytes` is an estimate that counts where nothing was measured. `preload` brings the model into
    memory at start; `warm_up_samples` 0 means that its warm-up is left out.
    """

    name: str
    type: str | None = None
    provider: str | None = None
    memory_bytes: int | None = None
    gpu_required: bool = False
    cpu_threads: int | None = None
    warm_up_samples: int | None = None
    preload: bool = False


#: The profiles that hold now, by model.
Profiles = Callable[[], Mapping[str, ModelProfile]]


def no_profiles() -> Mapping[str, ModelProfile]:
    """Nothing is declared of any model."""
    return {}
