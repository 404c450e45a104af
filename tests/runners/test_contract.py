"""A graph that its config does not describe is refused with what the config should say."""

from __future__ import annotations

from typing import Any

import pytest

from hotswap.errors import VersionFailed
from manifest.version_manifest import InputConfig
from runners.graph_check import GraphTensor, batch_of, check_input, check_outputs, choose_input

GOOD = GraphTensor("image", "tensor(float)", (1, 3, 48, 64))


def _config(**changes: Any) -> InputConfig:
    return InputConfig.model_validate({"width": 64, "height": 48} | changes)


@pytest.mark.parametrize(
    ("tensor", "changes"),
    [
        (GOOD, {}),
        (GOOD, {"name": "image"}),
        (GraphTensor("image", "tensor(float)", ("N", 3, "height", None)), {}),
        (GraphTensor("image", "tensor(uint8)", ("N", 48, 64, 3)), {"layout": "NHWC", "dtype": "uint8"}),
        (GraphTensor("image", "tensor(float)", ("N", "c", "h", "w")), {}),
    ],
)
def test_what_fits_passes(tensor, changes):
    config = _config(**changes)
    check_input(choose_input([tensor], config), config)


@pytest.mark.parametrize(
    ("tensor", "changes", "words"),
    [
        (GOOD, {"width": 32}, ["should say input.width 64, found 32"]),
        (GOOD, {"height": 32}, ["should say input.height 48, found 32"]),
        (GOOD, {"width": 48, "height": 64}, ["input.width 64, found 48", "input.height 48, found 64"]),
        (GOOD, {"layout": "NHWC"}, ["should say input.layout 'NCHW', found 'NHWC'"]),
        (GOOD, {"dtype": "uint8"}, ["should say input.dtype 'float32', found 'uint8'"]),
        (GOOD, {"name": "x"}, ["should say input.name 'image'", "found 'x'"]),
        (
            GraphTensor("image", "tensor(double)", GOOD.shape),
            {},
            ["tensor(double) is not supported", "float32"],
        ),
        (GraphTensor("image", "tensor(float)", (3, 48, 64)), {}, ["4 axes"]),
        (GraphTensor("image", "tensor(float)", (1, 1, 48, 64)), {}, ["1 channels"]),
        (GraphTensor("image", "tensor(float)", (8, 3, 48, 64)), {}, ["fixed to 8"]),
    ],
)
def test_the_reason_says_what_the_config_should_say(tensor, changes, words):
    config = _config(**changes)
    with pytest.raises(VersionFailed) as caught:
        check_input(choose_input([tensor], config), config)
    assert all(word in caught.value.message for word in words), caught.value.message


def test_one_picture_is_all_that_can_be_fed():
    with pytest.raises(VersionFailed, match=r"2 inputs \(image, text\)"):
        choose_input([GOOD, GraphTensor("text", "tensor(int64)", (1, 9))], _config())


def test_what_the_family_feeds_is_not_the_pictures_input():
    text = GraphTensor("text", "tensor(int64)", (1, 9))
    assert choose_input([text, GOOD], _config(), fed=("text",)) == GOOD
    with pytest.raises(VersionFailed, match="2 inputs"):
        choose_input([text, GOOD], _config(), fed=("words",))


def test_outputs_are_named_as_the_graph_has_them():
    check_outputs(["a", "b"], ["b"], "output.names")
    with pytest.raises(VersionFailed, match=r"output\.names: the graph has a, b, found c"):
        check_outputs(["a", "b"], ["b", "c"], "output.names")


@pytest.mark.parametrize(("first", "batch"), [(1, 1), ("N", None), (None, None), (-1, None), (0, None)])
def test_an_open_batch_has_no_number(first, batch):
    assert batch_of(GraphTensor("image", "tensor(float)", (first, 3, 48, 64))) == batch
