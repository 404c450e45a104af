"""A first config for graphs with prompts, masks or several forms: the family and the form by the graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from models_import.errors import ImportRefused
from tests.models_import.exports import ULTRALYTICS
from tests.models_import.test_inferred_config import ROWS, infer

SEGMENT = ULTRALYTICS | {"task": "segment"}


@pytest.mark.parametrize("shape", [(1, 7 + 32, ROWS), (1, ROWS, 7 + 32), (1, 300, 6 + 32)])
def test_an_ultralytics_segmenter_in_each_form(tmp_path: Path, shape: tuple[int, ...]) -> None:
    outputs = {"output0": (shape, ["Concat"]), "output1": ((1, 32, 16, 16), ["Mul"])}
    config = infer(tmp_path, outputs, metadata=SEGMENT).config
    assert (config.family, config.task, len(config.labels)) == ("yolov8-seg", "instance-segmentation", 3)
    assert (config.input.resize.mode, config.input.pad) == ("letterbox_centre", 114)
    with pytest.raises(ImportRefused):
        infer(tmp_path, outputs)  # nothing says where it is from
