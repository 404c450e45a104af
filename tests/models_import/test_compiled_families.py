"""Versions of several graphs, with prompts and tokenizers, answer compiled as they do plainly."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from hotswap.predictions import Picture
from runners.loader import OnnxLoader
from runners.onnx_runner import OnnxRunner
from tests.data import need_data, need_reference
from tests.runners import test_clip, test_grounding_dino, test_sam
from tests.support.compiled import Cache, settled

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

VERSIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "sam": (("vision_encoder.onnx", "prompt_encoder_mask_decoder.onnx"), test_sam.CONFIG),
    "clip": (("vision_model.onnx", "text_model.onnx", "tokenizer.json"), test_clip.TWO_GRAPHS),
    "grounding_dino": (("model.onnx", "tokenizer.json"), test_grounding_dino.CONFIG),
}


@pytest.mark.parametrize(
    "name", ["clip", *(pytest.param(name, marks=pytest.mark.full) for name in ("sam", "grounding_dino"))]
)
def test_a_version_of_several_graphs_answers_as_before(name: str, tmp_path: Path) -> None:
    files, config = VERSIONS[name]
    folder = tmp_path / name / "v1"
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(need_reference(name) / file, folder)
    (folder / "config.json").write_text(json.dumps(config | {"warm_up": {"runs": 1}}))
    artifact = settled(folder, files[0])
    cache = Cache(tmp_path / "compiled")
    assert cache.compile(artifact) == "compiled"
    graphs = [file for file in files if file.endswith(".onnx")]
    entry = cache.graphs.entry(artifact.digest)
    assert entry is not None
    assert set(entry.graphs) == set(graphs)
    compiled, plain = cache.load(artifact), OnnxLoader(max_pixels=10**8, thread_cap=1).load(artifact)
    assert cache.outcomes == ["hit"] * len(graphs)
    assert isinstance(compiled, OnnxRunner)
    assert isinstance(plain, OnnxRunner)
    plain.check()  # it finds out whether several pictures may go in one run
    pictures = [_photograph(number) for number in range(2)]
    options = plain.check_options()
    answers = [pickle.dumps(runner.predict(pictures, options).items) for runner in (compiled, plain)]
    assert answers[0] == answers[1]


def _photograph(number: int) -> Picture:
    photographs = sorted((need_data() / "images" / "coco").glob("*.jpg"))
    return Picture(encoded=photographs[number].read_bytes())
