"""A graph that was optimised and saved answers bit by bit as the plain one; real models on real pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from common.process_memory import mapped_bytes
from runners.optimised_graph import open_optimised, save_optimised
from runners.placed_graph import open_session
from runners.recorded_answers import answer_digest
from tests import data
from tests.builders import graph

_DATA = data.test_data()
MODELS = sorted(_DATA.glob("models/*/*.onnx")) if _DATA else []


@pytest.mark.slow
@pytest.mark.parametrize("weights", MODELS, ids=lambda path: path.stem)
def test_every_real_model_answers_as_before(weights: Path, tmp_path: Path) -> None:
    images = data.need_data() / "images" / "coco"
    target = tmp_path / "graph.onnx"
    save_optimised(weights, 1, target)
    plain, optimised = open_session(weights, 1, ()), open_optimised(target, 1)
    pictures = sorted(images.glob("*.jpg"))[:4]
    assert pictures
    for picture in pictures:
        asked = {plain.get_inputs()[0].name: _tensor(picture, plain.get_inputs()[0])}
        assert answer_digest(optimised.run(None, asked)) == answer_digest(plain.run(None, asked))


def test_the_saved_weights_are_mapped_and_the_graph_looks_the_same(tmp_path: Path) -> None:
    weights, target = tmp_path / "weights.onnx", tmp_path / "out" / "graph.onnx"
    target.parent.mkdir()
    weights.write_bytes(graph(7, bytes_of_ballast=4 << 20).SerializeToString())
    save_optimised(weights, 1, target)
    plain, optimised = open_session(weights, 1, ()), open_optimised(target, 1)
    assert (mapped_bytes(target.parent) or 0) >= 4 << 20
    assert _looks(optimised) == _looks(plain)


def _looks(session: Any) -> list[tuple[str, str, list[Any]]]:
    return [(each.name, each.type, each.shape) for each in (*session.get_inputs(), *session.get_outputs())]


def _tensor(picture: Path, spec: Any) -> NDArray[Any]:
    """The picture as the input takes it; an open side is 1 at the front, else 320."""
    sides = [side if isinstance(side, int) else (320 if at else 1) for at, side in enumerate(spec.shape)]
    channels_last = sides[-1] == 3
    height, width = sides[1:3] if channels_last else sides[2:]
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB").resize((width, height)))
    array = pixels if channels_last else pixels.transpose(2, 0, 1)
    floats = array[None].astype(np.float32) / 255
    return array[None] if spec.type == "tensor(uint8)" else floats.astype(np.float32)
