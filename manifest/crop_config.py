"""`crop_with` of a classifier: the detector whose boxes it is asked about."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from manifest.config_part import ConfigPart, Label, Unit

#: Tasks whose answers are labels of a whole picture, which may as well be of a crop.
CLASSIFIES = ("image-classification", "zero-shot-classification")
#: Tasks whose answers have boxes to crop.
FINDS_BOXES = ("object-detection", "open-vocabulary-detection", "instance-segmentation")


class CropConfig(ConfigPart):
    """The detector whose boxes a classifier is asked about, each cropped from the picture."""

    model: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="the detector, a model of the same service; the version that serves answers"
    )
    labels: list[Label] = Field(
        default=[], max_length=1000, description="labels of the detector to crop; left out: all"
    )
    margin: float = Field(
        default=0.1, ge=0, le=2, description="widens a box on each side, in parts of its own sides"
    )
    threshold: Unit | None = Field(
        default=None, description="least score of a box; left out: the detector's own"
    )
    text_prompt: Annotated[str, Field(min_length=1, max_length=20_000)] | None = Field(
        default=None, description="what a detector with text prompts is asked for"
    )
