"""The options of a prediction, as values of any wire."""

from __future__ import annotations

from typing import Any

import pytest

from api import options as predict_options
from api.options import LONGEST_PROMPT, MOST_PROMPTS, NAMES, mask_format, options, schema
from hotswap.errors import BadRequest
from hotswap.predictions import Options


def test_what_is_left_out_is_the_models_own() -> None:
    assert options({}) == options(dict.fromkeys(NAMES)) == options(dict.fromkeys(NAMES, "")) == Options()
    assert mask_format({}) == mask_format({"mask_format": None}) == "rle"


def test_every_option_is_read() -> None:
    values = {
        "box_threshold": "0.25",
        "max_detections": 7.0,
        "text_prompt": "bird .",
        "text_threshold": 0.5,
        "nms_threshold": 1,
        "points": [[0.5, 1, 1], [0, 0, 0]],
        "boxes": "[[0, 0.25, 0.5, 1]]",
        "top_k": "3",
    }
    assert options(values) == Options(
        0.25, 7, "bird .", 0.5, 1.0, ((0.5, 1.0, 1), (0.0, 0.0, 0)), ((0.0, 0.25, 0.5, 1.0),), 3
    )
    assert mask_format({"mask_format": "png"}) == "png"


def test_one_threshold_has_two_names() -> None:
    assert options({"threshold": 0.5, "box_threshold": "0.5"}).threshold == 0.5
    assert options({"threshold": 0.0}).threshold == options({"box_threshold": 0.0}).threshold == 0.0
    with pytest.raises(BadRequest, match="box_threshold: another name of threshold"):
        options({"threshold": 0.5, "box_threshold": 0.4})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text_prompt", "x" * (LONGEST_PROMPT + 1)),
        ("text_prompt", 7),
        ("text_threshold", "NaN"),
        ("nms_threshold", -0.1),
        ("top_k", 0),
        ("top_k", 1.5),
        ("points", "[[0.5, 0.5"),
        ("points", {"x": 1}),
        ("points", [[0.5, 0.5]]),
        ("points", [[0.5, 1.01, 1]]),
        ("points", [[0.5, float("nan"), 1]]),
        ("points", [[0.5, 0.5, 2]]),
        ("points", [[0.5, 0.5, 0.5]]),
        ("points", [[0.5, 0.5, 1]] * (MOST_PROMPTS + 1)),
        ("points", 5),
        ("boxes", [[0, 0, 1]]),
        ("boxes", [[0.5, 0, 0.5, 1]]),
        ("boxes", [[0, 0, 1, float("inf")]]),
        ("boxes", [[0, 0, 640, 480]]),
        ("boxes", [None]),
    ],
)
def test_what_is_wrong_is_named(name: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=f"^{name}: "):
        options({name: value})


def test_a_mask_has_one_of_two_formats() -> None:
    with pytest.raises(BadRequest, match="mask_format: 'gif' is not rle or png"):
        mask_format({"mask_format": "gif"})


def test_every_option_has_a_schema() -> None:
    assert tuple(schema()) == NAMES == predict_options.NAMES
