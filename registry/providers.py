"""Providers: the names by which a list of models says what kind each is, and the families that they mean.

The rule: a family's name in one word with `Provider` behind it, such as `GroundingDinoProvider`; upper and
lower case mean the same. Beside the rule some models have providers by their own names.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

ModelType = Literal["embedding", "segmentation", "detection", "classification"]

_SUFFIX = "Provider"
_SIMILARITY = 0.5
#: Task of a family → the types that a model of it may be declared as.
_TYPES: Mapping[str, tuple[ModelType, ...]] = {
    "object-detection": ("detection",),
    "open-vocabulary-detection": ("detection",),
    "image-classification": ("classification",),
    "zero-shot-classification": ("classification",),
    "image-embedding": ("embedding",),
    "semantic-segmentation": ("segmentation",),
    "instance-segmentation": ("segmentation", "detection"),
    "prompted-segmentation": ("segmentation",),
    "tensors": get_args(ModelType),
    "custom": get_args(ModelType),
}
#: Providers by the names of models, and families whose names are written otherwise.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "ClipProvider": ("clip", "embedder"),  # the whole model, or its tower for pictures
    "DETRProvider": ("detr",),
    "DINOv2Provider": ("embedder",),
    "FastestDetProvider": ("fastestdet",),
    "GroundingDINOProvider": ("grounding-dino",),
    "NanoDetProvider": ("nanodet",),
    "OWLv2Provider": ("owlv2",),
    "RTDETRProvider": ("rtdetr",),
    "SAMProvider": ("sam",),
    "SegFormerProvider": ("segmenter",),
    "UltraFaceProvider": ("ultraface",),
    "ViTProvider": ("classifier",),
    "YOLOv5Provider": ("yolov5",),
    "YOLOv8Provider": ("yolov8", "yolov8-seg"),
    "YOLOv8SegProvider": ("yolov8-seg",),
    "YOLOXProvider": ("yolox",),
}


@dataclass(frozen=True, slots=True)
class ModelProvider:
    """A provider: the families that it means, and the types that their models may be declared as."""

    name: str
    families: tuple[str, ...]
    types: tuple[str, ...]


class Providers:
    """The providers that there are, for the families that there are."""

    def __init__(self, tasks: Mapping[str, str]) -> None:
        """`tasks` is the task of each family, by the family's name."""
        named = {
            name: families for name, families in _NAMES.items() if all(each in tasks for each in families)
        }
        taken = {name.casefold() for name in named}
        for family in tasks:
            if (name := _name(family)).casefold() not in taken:
                named[name] = (family,)
        self._known = {
            name.casefold(): ModelProvider(name, families, _types(tasks[each] for each in families))
            for name, families in sorted(named.items(), key=lambda item: item[0].casefold())
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all, sorted."""
        return tuple(each.name for each in self._known.values())

    def named(self, name: str) -> ModelProvider:
        """The provider of a name. Raises `ValueError`, listing those that there are."""
        found = self._known.get(name.casefold())
        if found is not None:
            return found
        near = difflib.get_close_matches(name.casefold(), self._known, 1, _SIMILARITY)
        hint = f"did you mean {self._known[near[0]].name}? " if near else ""
        raise ValueError(f"unknown provider; {hint}known are {', '.join(self.names)}")


def provider_of(family: str) -> str:
    """The provider of a family by the rule, as the table spells it."""
    name = _name(family)
    return next((known for known in _NAMES if known.casefold() == name.casefold()), name)


def model_type(task: str) -> str:
    """The type of a task; the task's own word where none fits, such as `tensors`."""
    types = _TYPES.get(task, ())
    return task if len(types) == len(get_args(ModelType)) or not types else types[0]


def tasks_of(kind: str | None) -> tuple[str, ...]:
    """The tasks of models that may be declared as a type; none for no type."""
    return tuple(task for task, types in _TYPES.items() if kind in types)


def _name(family: str) -> str:
    """A family's provider by the rule."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[-_.]", family)) + _SUFFIX


def _types(tasks: Iterable[str]) -> tuple[str, ...]:
    """The types of several tasks, each once."""
    return tuple(dict.fromkeys(kind for task in tasks for kind in _TYPES.get(task, ())))
