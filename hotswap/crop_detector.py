"""The detector of a model that crops: whether it fits, and its lease for a request."""

from __future__ import annotations

from collections.abc import Callable

from hotswap.errors import ModelNotReady, ServingError, VersionFailed
from hotswap.generation import Lease
from hotswap.slot import NotResident, NotSwitched
from manifest.crop_config import FINDS_BOXES, CropConfig
from manifest.tags import ModelTag
from manifest.version_manifest import ModelConfig


def misfit(crop: CropConfig, classifier: str, detector: ModelTag, config: ModelConfig) -> str | None:
    """The field of `crop_with` of a model that a detector does not fit, and why; None when it fits."""
    if crop.model == classifier:
        return f"crop_with.model: {classifier} names itself; name a detector"
    if config.task not in FINDS_BOXES:
        allowed = ", ".join(FINDS_BOXES)
        return f"crop_with.model: {detector} is a model for {config.task}; allowed are {allowed}"
    prompted = config.task == "open-vocabulary-detection"
    if prompted and crop.text_prompt is None:
        return f"crop_with.text_prompt: missing; {detector} must be told what to find"
    if not prompted and crop.text_prompt is not None:
        return f"crop_with.text_prompt: {detector} takes none"
    # A detector with prompts names what it is asked for; of a family without labels they are unknown.
    unknown = set(crop.labels).difference(config.labels) if config.labels and not prompted else set()
    first = next((label for label in crop.labels if label in unknown), None)
    return None if first is None else f"crop_with.labels: {detector} has no label {first!r}"


def absence(crop: CropConfig, known: bool) -> str:
    """What to say where no version of the detector serves; `known`: there is such a model."""
    if known:
        return f"crop_with.model: no version of {crop.model} serves"
    return f"crop_with.model: there is no model {crop.model!r}"


def lease_detector(crop: CropConfig, classifier: ModelTag, lease: Callable[[str], Lease]) -> Lease:
    """Lease the detector that serves, by `lease`.

    Raises `ModelNotReady`, or `VersionFailed` for one that does not fit, since it is not the caller who named
    it; and `NotSwitched` and `NotResident`, for which waiting helps.
    """
    try:
        borrowed = lease(crop.model)
    except (NotSwitched, NotResident):
        raise
    except ServingError as error:
        raise ModelNotReady(f"{classifier} crops with {crop.model}: {error.message}") from None
    artifact = borrowed.generation.artifact
    if problem := misfit(crop, classifier.name, artifact.tag, artifact.config):
        borrowed.release()
        raise VersionFailed(f"{classifier}: {problem}")
    return borrowed
