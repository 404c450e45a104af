"""Loading a version: weights, config and threads; what is wrong with one is said, never thrown raw."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from hotswap.errors import VersionFailed
from hotswap.predictions import Options
from runners.loader import OnnxLoader
from tests.runners.graphs import CLASSIFIER, artifact, constant_graph, load
from tests.runners.runs import PICTURE, SCORES


@pytest.mark.parametrize("content", [b"", b"not a graph", constant_graph(SCORES).SerializeToString()[:-100]])
def test_weights_that_are_broken_fail_the_version_quietly(tmp_path, content, capfd):
    with pytest.raises(VersionFailed, match=r"weights\.onnx cannot be loaded"):
        load(tmp_path, content, CLASSIFIER)
    assert capfd.readouterr() == ("", "")


def test_weights_that_are_gone_fail_the_version(tmp_path):
    found = artifact(tmp_path, constant_graph(SCORES), CLASSIFIER)
    found.weights.unlink()
    with pytest.raises(VersionFailed, match=r"weights\.onnx cannot be loaded"):
        OnnxLoader(max_pixels=1000, thread_cap=1).load(found)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (CLASSIFIER | {"family": "yolo9000"}, "family: allowed are"),
        (CLASSIFIER | {"input": {"width": 16, "height": 8}}, "input.width 8, found 16"),
        (CLASSIFIER | {"output": {"names": ["score"]}}, "output.names: the graph has scores, found score"),
        (CLASSIFIER | {"output": {"parameters": {"scores": "x"}}}, "the graph has scores, found 'x'"),
    ],
)
def test_a_config_that_does_not_fit_fails_the_version(tmp_path, document, words):
    with pytest.raises(VersionFailed) as caught:
        load(tmp_path, constant_graph(SCORES), document)
    assert words in caught.value.message


@pytest.mark.parametrize(("asked", "cap", "given"), [(1, 4, 1), (8, 2, 2), (3, 3, 3), (2, 0, 1)])
def test_threads_are_what_the_config_asks_up_to_the_cap(tmp_path, asked, cap, given):
    document = CLASSIFIER | {"resources": {"threads": asked}}
    loader = OnnxLoader(max_pixels=1000, thread_cap=cap)
    runner = loader.load(artifact(tmp_path, constant_graph(SCORES), document))
    options = runner._graphs.picture._graph.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (given, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def _external(location: str) -> bytes:
    """A classifier whose weights lie in another file."""
    model = constant_graph(SCORES)
    (weight,) = [one for one in model.graph.initializer if one.name == "scores.value"]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "12")):
        weight.external_data.add(key=key, value=value)
    return model.SerializeToString()


def test_weights_beside_the_graph_are_read(tmp_path):
    (tmp_path / "more.bin").write_bytes(np.array([0.5, 0.25, 0.125], np.float32).tobytes())
    (prediction,) = load(tmp_path, _external("more.bin"), CLASSIFIER).predict([PICTURE], Options()).items
    assert prediction.scores == (0.5, 0.25, 0.125)


@pytest.mark.parametrize(
    "way", ["../more.bin", "{folder}/more.bin", "a/" * 70 + "../" * 71 + "more.bin", "link.bin"]
)
def test_weights_outside_the_folder_are_refused(tmp_path, way):
    outside, inside = tmp_path / "more.bin", tmp_path / "version"
    inside.mkdir()
    outside.write_bytes(np.array([0.5, 0.25, 0.125], np.float32).tobytes())
    (inside / "link.bin").symlink_to(outside)
    with pytest.raises(VersionFailed, match="weights from outside its folder"):
        load(inside, _external(way.format(folder=tmp_path)), CLASSIFIER)
