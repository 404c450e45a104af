"""Every task has a type, or is one."""

from __future__ import annotations

from typing import get_args

from hotswap.manifest import Task
from registry.model_types import CLASSIFICATION, DETECTION, EMBEDDING, SEGMENTATION, TYPES, model_type
from registry.providers import provider_of


def test_every_task_but_tensors_is_of_one_of_four_types() -> None:
    assert set(TYPES) == set(get_args(Task)) - {"tensors"}
    assert set(TYPES.values()) == {EMBEDDING, SEGMENTATION, DETECTION, CLASSIFICATION}
    assert model_type("open-vocabulary-detection") == "detection"
    assert model_type("tensors") == "tensors"


def test_a_family_has_a_provider_by_the_rule_in_the_spelling_of_the_table() -> None:
    names = [provider_of(family) for family in ("clip", "sam", "grounding-dino", "yolov8-seg", "embedder")]
    assert names == [
        "ClipProvider",
        "SAMProvider",
        "GroundingDINOProvider",
        "YOLOv8SegProvider",
        "EmbedderProvider",
    ]
