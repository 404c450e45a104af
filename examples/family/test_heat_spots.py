"""The family on outputs made by hand: what it finds, what it refuses. No graph, no service."""

from __future__ import annotations

import numpy as np
import pytest
from heat_spots import Spots

from okawari import BadManifest, Geometry, ModelConfig, ModelFailed, Options

#: A picture of 640x320, stretched to an input of 64x64.
STRETCHED = Geometry((0.0, 0.0, 1.0, 1.0), (0, 0, 64, 64), 64, 64, (640, 320))


def spots(**parameters: int) -> Spots:
    """The family as a config sets it up."""
    return Spots(
        ModelConfig.model_validate(
            {
                "task": "object-detection",
                "family": "spots",
                "input": {"width": 64, "height": 64},
                "labels": ["bright", "dark"],
                "thresholds": {"score": 0.5},
                "output": {"parameters": parameters},
            }
        )
    )


def heat(**cells: float) -> dict[str, np.ndarray]:
    """Maps of 4x8 cells that are cold but in some places, such as `bright_3_0` for row 3, column 0."""
    maps = np.zeros((2, 4, 8), np.float32)
    for place, value in cells.items():
        label, row, column = place.split("_")
        maps[["bright", "dark"].index(label), int(row), int(column)] = value
    return {"heat": maps}


def test_each_label_has_its_hottest_cell() -> None:
    found = spots().find(heat(bright_3_0=0.75, bright_1_1=0.5, dark_0_7=1.0), STRETCHED, Options())
    assert [(one.label, one.score, one.bbox) for one in found.detections] == [
        ("dark", 1.0, (0.875, 0.0, 1.0, 0.25)),
        ("bright", 0.75, (0.0, 0.75, 0.125, 1.0)),
    ]


def test_what_is_too_cold_is_not_found() -> None:
    outputs = heat(bright_0_0=0.4)
    assert spots().find(outputs, STRETCHED, Options()).detections == ()
    assert len(spots().find(outputs, STRETCHED, Options(threshold=0.3)).detections) == 1


def test_the_border_is_not_looked_at() -> None:
    found = spots(border=1).find(heat(bright_0_0=1.0, bright_1_1=0.5), STRETCHED, Options())
    assert [one.score for one in found.detections] == [0.5]


@pytest.mark.parametrize(("shape", "border"), [((3, 4, 8), 0), ((2, 4), 0), ((2, 4, 8), 2)])
def test_other_outputs_are_refused(shape: tuple[int, ...], border: int) -> None:
    with pytest.raises(ModelFailed):
        spots(border=border).check({"heat": np.zeros(shape)})


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(BadManifest, match="borders"):
        spots(borders=1)
