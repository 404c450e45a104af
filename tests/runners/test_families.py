"""A config that does not fit its family is refused with field, value and what is allowed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from examples.exposure_graph import config as exposure_config
from manifest.version_manifest import BadManifest, ModelConfig, parse_config
from runners.families.index import FAMILIES, check_config, json_schema
from tests.runners.graphs import CLASSIFIER, FASTESTDET, SHAPES


def _config(document: dict[str, Any]) -> ModelConfig:
    return parse_config(json.dumps(document))


@pytest.mark.parametrize("document", [CLASSIFIER, SHAPES, FASTESTDET, exposure_config()])
def test_good_configs_pass(document):
    check_config(_config(document))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            SHAPES | {"family": "yolo9000"},
            ["family", "yolo9000", ", ".join(FAMILIES)],
        ),
        (SHAPES | {"task": "image-classification"}, ["task", "object-detection", "image-classification"]),
        (SHAPES | {"output": {"parameters": {"speed": 3}}}, ["output.parameters", "speed", "3"]),
        (FASTESTDET | {"output": {}}, ["output.parameters", "objectness_exponent", "required"]),
        (
            FASTESTDET | {"output": {"parameters": {"objectness_exponent": -1, "class_exponent": 1}}},
            ["objectness_exponent", "greater than or equal to 0", "-1"],
        ),
        (CLASSIFIER | {"output": {"parameters": {"top_k": 0}}}, ["top_k", "greater than or equal to 1", "0"]),
        (CLASSIFIER | {"output": {"parameters": {"softmax": "maybe"}}}, ["softmax", "boolean", "maybe"]),
        (exposure_config() | {"labels": ["dark", "bright"]}, ["labels", "'normal'", "['dark', 'bright']"]),
        (
            CLASSIFIER | {"input": {"width": 8, "height": 8, "dtype": "uint8", "scale": 0.5}},
            ["input.scale", "uint8", "0.5"],
        ),
        (
            CLASSIFIER | {"input": {"width": 8, "height": 8, "dtype": "uint8", "mean": [1, 2, 3]}},
            ["input.mean", "not allowed", "[1.0, 2.0, 3.0]"],
        ),
    ],
)
def test_what_does_not_fit_is_named(document, words):
    with pytest.raises(BadManifest) as caught:
        check_config(_config(document))
    assert all(word in str(caught.value) for word in ["config.json", *words]), str(caught.value)


def test_every_family_stands_under_its_own_name():
    assert {name: family.name for name, family in FAMILIES.items()} == {name: name for name in FAMILIES}


def test_the_schema_holds_every_family_with_its_parameters():
    schema = json.loads(json.dumps(json_schema()))
    assert schema["properties"]["family"]["enum"] == list(FAMILIES)
    branches = {rule["if"]["properties"]["family"]["const"]: rule["then"] for rule in schema["allOf"]}
    assert set(branches) == set(FAMILIES)
    output = branches["fastestdet"]["properties"]["output"]
    parameters = output["properties"]["parameters"]
    assert set(parameters["required"]) == {"objectness_exponent", "class_exponent"}
    assert parameters["additionalProperties"] is False
    assert branches["fastestdet"]["required"] == ["input", "output", "labels"]
    assert output["required"] == ["parameters"]
    assert "required" not in branches["generic"]
    assert branches["shapes"]["required"] == ["input", "labels"]
    assert branches["embedder"]["required"] == ["input"]
    assert branches["exposure"]["properties"]["task"] == {"const": "image-classification"}
