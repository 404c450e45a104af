"""The types of models: a short word for each task, and the task's own where none fits."""

from __future__ import annotations

from typing import get_args

import pytest

from manifest.version_manifest import Task
from registry.providers import ModelType, model_type, provider_of


def test_every_task_has_a_type_or_stands_for_itself() -> None:
    without = {task for task in get_args(Task) if model_type(task) not in get_args(ModelType)}
    assert without == {"custom", "tensors"}
    assert model_type("tensors") == "tensors"


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("object-detection", "detection"),
        ("zero-shot-classification", "classification"),
        ("image-embedding", "embedding"),
        ("instance-segmentation", "segmentation"),
    ],
)
def test_types_are_those_of_registries(task: str, kind: str) -> None:
    assert model_type(task) == kind


def test_a_family_has_a_provider_by_the_rule_in_the_spelling_of_the_table() -> None:
    names = [provider_of(family) for family in ("clip", "sam", "grounding-dino", "yolov8-seg", "embedder")]
    assert names == [
        "ClipProvider",
        "SAMProvider",
        "GroundingDINOProvider",
        "YOLOv8SegProvider",
        "EmbedderProvider",
    ]
