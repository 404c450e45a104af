"""onnxruntime's errors, cut to the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from hotswap.errors import VersionFailed
from runners.ort_errors import LONGEST, reason_of
from tests.runners.graphs import CLASSIFIER, load

SOURCE = "/onnxruntime_src/onnxruntime/core/graph/model.cc:256 "


def graph(*nodes: tuple[str, list[str], str], opset: int = 17, ir: int = 8, kind: int = 1) -> bytes:
    """A model of these nodes: operator, inputs, domain; the last one makes the output."""
    made = [
        helper.make_node(operator, inputs, ["y" if place == len(nodes) - 1 else f"v{place}"], domain=domain)
        for place, (operator, inputs, domain) in enumerate(nodes)
    ]
    body = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("image", kind, ["N", 3, 8, 16])],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.zeros((5, 7), np.float32), "five")],
    )
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("my.ops", 1)]
    model: ModelProto = helper.make_model(body, opset_imports=sets, ir_version=ir)
    return model.SerializeToString()


IDENTITY = ("Relu", ["image"], "")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (graph(IDENTITY, ir=99), ["IR version: 99", "max supported IR version: ", "ir_version"]),
        (graph(IDENTITY, opset=99), ["Opset 99", "ai.onnx is till opset ", "opset_version"]),
        (graph(("Foo", ["image"], "my.ops")), ["my.ops:Foo", "custom operators"]),
        (graph(("Nope", ["image"], "")), ["Nope"]),
        (graph(("MatMul", ["image", "five"], "")), ["Incompatible dimensions"]),
        (graph(("Conv", ["image", "five"], ""), kind=TensorProto.INT8), ["tensor(int8)", "float32"]),
        (graph(("Add", ["image", "nowhere"], "")), ["'nowhere'"]),
        (b"\x08nothing", ["Protobuf parsing failed", "copy it again"]),
    ],
)
def test_a_graph_that_cannot_be_loaded_says_why(tmp_path: Path, data: bytes, words: list[str]) -> None:
    with pytest.raises(VersionFailed) as caught:
        load(tmp_path, data, CLASSIFIER)
    told = caught.value.message
    assert [word for word in words if word not in told] == []
    assert not any(
        noise in told for noise in (str(tmp_path), "onnxruntime_src", "::Model", "ONNXRuntimeError")
    )


def test_what_is_there_to_be_upgraded_is_named() -> None:
    text = f"[ONNXRuntimeError] : 1 : FAIL : {SOURCE}a::B(int) Unsupported model IR version: 99, max 13"
    assert f"(onnxruntime {onnxruntime.__version__})" in reason_of(RuntimeError(text))


@pytest.mark.parametrize(
    "before",
    [
        "onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&) ",
        "void onnxruntime::f(const std::unordered_map<std::__cxx11::basic_string<char>, int>&, bool) const ",
        "static onnxruntime::common::Status onnxruntime::G<T>::H(int) [with T = float] ",
        "onnxruntime::A::B()::<lambda(int)> ",
        "onnxruntime::A::operator()(void (*)(int)) ",
        "",
    ],
)
def test_places_in_its_sources_are_left_out(before: str) -> None:
    found = reason_of(RuntimeError(f"running Add node. Status Message: {SOURCE}{before}too (much) wrong"))
    assert found.startswith("running Add node. Status Message: ")
    assert found.endswith("too (much) wrong")
    assert ".cc:" not in found
    assert "Model(" not in found


def test_of_a_long_one_the_end_is_kept() -> None:
    found = reason_of(RuntimeError("it began " + "x " * 5000 + "and that is why"))
    assert len(found) <= LONGEST
    assert found.startswith("it began ")
    assert found.endswith("and that is why")


def test_one_without_words_is_named() -> None:
    assert reason_of(MemoryError()) == "MemoryError"


def test_the_folder_is_left_out(tmp_path: Path) -> None:
    assert reason_of(OSError(f"no {tmp_path}/sub/x.data"), tmp_path) == "no sub/x.data"
