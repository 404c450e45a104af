"""Profiles: what an operator declares of models beside their manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from manifest.version_manifest import ModelConfig

#: The reason of a model that is declared and not stored.
MISSING = "missing: the list of models declares it, but the store lacks it; import it"


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """One model. None: nothing is declared.

    `memory_bytes` is an estimate that counts where nothing was measured. `preload` brings the model into
    memory at start; `warm_up_samples` 0 means that its warm-up is left out, and `warms_up` that it takes
    place also where the service leaves out those of others. `families` and `tasks` are those that fit
    `provider` and `type`; empty: any.
    """

    name: str
    type: str | None = None
    provider: str | None = None
    memory_bytes: int | None = None
    gpu_required: bool = False
    cpu_threads: int | None = None
    warm_up_samples: int | None = None
    warms_up: bool = False
    preload: bool = False
    device: str | None = None
    threshold: float | None = None
    nms_threshold: float | None = None
    families: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()

    def misfit(self, config: ModelConfig) -> str | None:
        """What a version is other than declared; None if nothing. It serves as its config says."""
        if self.families and config.family not in self.families:
            return f"declared with {self.provider}, but its family is {config.family}, which holds"
        if self.tasks and config.answers_as not in self.tasks:
            return f"declared as {self.type}, but it does {config.answers_as}, which holds"
        return None

    def laid_over(self, config: ModelConfig) -> ModelConfig:
        """The config of a version with what is declared in place of what it says."""
        scores = {"score": self.threshold, "nms_iou": self.nms_threshold}
        declared = {name: value for name, value in scores.items() if value is not None}
        changes: dict[str, object] = {}
        if declared:
            changes["thresholds"] = config.thresholds.model_copy(update=declared)
        if self.warm_up_samples is not None:
            changes["warm_up"] = config.warm_up.model_copy(update={"runs": self.warm_up_samples})
        if self.cpu_threads is not None:
            threads = min(config.resources.threads, self.cpu_threads)
            changes["resources"] = config.resources.model_copy(update={"threads": threads})
        return config.model_copy(update=changes) if changes else config


#: The profiles that hold now, by model.
Profiles = Callable[[], Mapping[str, ModelProfile]]


def no_profiles() -> Mapping[str, ModelProfile]:
    """Nothing is declared of any model."""
    return {}
