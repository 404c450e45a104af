"""Types of models: the short words by which registries and dashboards sort tasks."""

from __future__ import annotations

from collections.abc import Mapping

from hotswap.manifest import Task

EMBEDDING, SEGMENTATION, DETECTION, CLASSIFICATION = (
    "embedding",
    "segmentation",
    "detection",
    "classification",
)
TYPES: Mapping[Task, str] = {
    "object-detection": DETECTION,
    "open-vocabulary-detection": DETECTION,
    "image-classification": CLASSIFICATION,
    "zero-shot-classification": CLASSIFICATION,
    "image-embedding": EMBEDDING,
    "semantic-segmentation": SEGMENTATION,
    "instance-segmentation": SEGMENTATION,
    "prompted-segmentation": SEGMENTATION,
}


def model_type(task: str) -> str:
    """The type of a task; the task's own word where none fits, such as `tensors`."""
    return next((kind for known, kind in TYPES.items() if known == task), task)
