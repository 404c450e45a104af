"""The interface of an ONNX file, read without an ONNX library; any bytes give it or `BadGraph`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models_import import onnx_graph
from models_import.onnx_graph import BadGraph, OnnxGraph, read_graph
from tests import data as test_folder
from tests.builders import graph as code_graph
from tests.models_import.exports import export


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_graph_as_the_library_reads_it(tmp_path: Path) -> None:
    picture = ("batch", 3, None, 480)
    outputs = {"scores": ((1, 10), ["Softmax", "Gemm"])}
    path = export(tmp_path / "m.onnx", outputs, picture=picture, metadata={"a": "b"}, producer_name="p")
    read = read_graph(path)
    assert (read.name, read.producer, read.metadata) == ("main_graph", "p", {"a": "b"})
    (given_input,), (scores,) = read.inputs, read.outputs
    assert (given_input.name, given_input.type, given_input.shape) == ("images", "tensor(float)", picture)
    assert (scores.name, scores.shape) == ("scores", (1, 10))
    assert read.makers["scores"].type == "Softmax"
    assert read.has("Gemm")
    assert not read.has("Exp")


def test_every_real_model_is_read_as_the_library_reads_it() -> None:
    for path in sorted((test_folder.need_data() / "models").rglob("*.onnx")):
        read, whole = read_graph(path), onnx.load(path).graph
        weights = {weight.name for weight in whole.initializer}
        assert [tensor.name for tensor in read.inputs] == [
            tensor.name for tensor in whole.input if tensor.name not in weights
        ]
        assert [tensor.name for tensor in read.outputs] == [tensor.name for tensor in whole.output]
        assert {operator.type for operator in read.makers.values()} == {node.op_type for node in whole.node}


def test_weights_among_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    model = code_graph(1)
    model.graph.input.append(helper.make_tensor_value_info("nothing", TensorProto.FLOAT, []))
    read = read_graph(_write(tmp_path / "m.onnx", model.SerializeToString()))
    assert [tensor.name for tensor in read.inputs] == ["image"]


def test_an_output_is_seen_through_reshapes(tmp_path: Path) -> None:
    path = export(tmp_path / "m.onnx", {"out": ((1, 2), ["Flatten", "Identity", "Sigmoid", "Conv"])})
    operator = read_graph(path).operator_of("out")
    assert operator is not None
    assert operator.type == "Sigmoid"


def test_a_circle_of_operators_ends(tmp_path: Path) -> None:
    path = export(tmp_path / "m.onnx", {"out": ((1, 2), ["Identity"])})
    model = onnx.load(path)
    model.graph.node[0].input[:] = ["out"]
    assert read_graph(_write(path, model.SerializeToString())).operator_of("out") is None


def test_what_is_no_tensor_is_told(tmp_path: Path) -> None:
    path = export(tmp_path / "m.onnx", {"out": ((1, 2), ["Identity"])})
    model = onnx.load(path)
    model.graph.output[0].type.CopyFrom(onnx.TypeProto(sequence_type=onnx.TypeProto.Sequence()))
    (output,) = read_graph(_write(path, model.SerializeToString())).outputs
    assert (output.type, output.shape) == ("not a tensor", ())


def test_no_part_of_a_file_breaks_the_reader(tmp_path: Path) -> None:
    data = code_graph(1).SerializeToString()
    path = tmp_path / "m.onnx"
    whole = 0
    for end in range(len(data)):
        _write(path, data[:end])
        with suppress(BadGraph):
            whole += isinstance(read_graph(path), OnnxGraph)
    # Only what follows the graph may be missing.
    assert whole < 20


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_bytes_break_the_reader(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int
) -> None:
    data = code_graph(1).SerializeToString()
    path = tmp_path_factory.mktemp("noise") / "m.onnx"
    for crafted in (noise, data[:place] + noise + data[place + len(noise) :]):
        with suppress(BadGraph):
            assert read_graph(_write(path, crafted)).outputs


@pytest.mark.parametrize(
    ("limit", "value"), [("_MOST_FIELDS", 20), ("_MOST_NAME", 3), ("_MOST_METADATA", 5), ("_MOST_TEXT", 20)]
)
def test_what_is_read_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    path = export(tmp_path / "m.onnx", {"out": ((1, 2), ["Identity"])}, metadata={"key": "value" * 2})
    assert read_graph(path).metadata == {"key": "valuevalue"}
    export(path, {"out": ((1, 2), ["Identity"])}, metadata={"a": "1234", "b": "5678"})
    monkeypatch.setattr(onnx_graph, limit, value)
    with pytest.raises(BadGraph, match=r"are allowed|more than"):
        read_graph(path)


def test_weights_are_not_read(tmp_path: Path) -> None:
    """Bytes of weights that look like fields do not count."""
    model = code_graph(1)
    model.graph.initializer.append(numpy_helper.from_array(onnx.numpy_helper.np.zeros(2_000_000, "i1"), "w"))
    path = _write(tmp_path / "m.onnx", model.SerializeToString())
    reader = onnx_graph._Reader(path.read_bytes())  # type: ignore[arg-type]
    reader.model()
    assert onnx_graph._MOST_FIELDS - reader.fields_left < 1000
