"""The protocol's rules for HTTP, R6 to R12 and R15: tensors asked about and answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import builders
from tests.api.open_inference.asking import document, failed, infer, outputs, pictures, pixels
from tests.api.open_inference.typed_model import CONSTANTS
from tests.e2e.harness import Service
from tests.e2e.pictures import picture
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_r6_tensors_are_answered_with_the_version_and_every_part_of_the_answer(v2: Service) -> None:
    found = document(infer(v2, pixels(2), id="mine", parameters={"anything": 1}))
    (scores,) = found.pop("outputs")
    digest = v2.states("m")["v2"]["digest"]
    assert found == {
        "model_name": "m",
        "model_version": "v2",
        "id": "mine",
        "parameters": {"digest": digest, "generation": 1},
    }
    assert {key: scores[key] for key in ("name", "datatype", "shape")} == {
        "name": "scores",
        "datatype": "FP32",
        "shape": [2, 2],
    }
    assert [builders.code_of(each) for each in scores["data"][::2]] == [2, 2]


def test_r6_what_metadata_tell_can_be_sent_as_it_is_told(v2: Service) -> None:
    (told,) = document(v2.get("/v2/models/shapes"))["inputs"]
    shape = [1 if side == -1 else side for side in told["shape"]]
    sent = {**told, "shape": shape, "data": np.zeros(shape).tolist()}
    given = {each["name"] for each in document(v2.get("/v2/models/shapes"))["outputs"]}
    assert set(outputs(infer(v2, sent, model="shapes"))) == given


def test_r7_the_version_used_is_told_whatever_was_asked_for(v2: Service) -> None:
    for version in (None, "2", "v2", "V2"):
        found = document(infer(v2, pixels(), version=version))
        assert (found["model_name"], found["model_version"]) == ("m", "v2")


def test_r8_the_id_comes_back_and_none_is_made_up(v2: Service) -> None:
    for name in ("", "x", "ä" * 1024):
        assert document(infer(v2, pixels(), id=name))["id"] == name
    assert "id" not in document(infer(v2, pixels()))
    for wrong in (7, ["x"], "x" * 1025):
        failed(infer(v2, pixels(), id=wrong), 400)


def test_r9_outputs_are_given_as_asked_for(v2: Service) -> None:
    everything = {"scores", *CONSTANTS} - {"nan", "fp16"}
    wanted = [{"name": name} for name in sorted(everything)]
    assert list(outputs(infer(v2, pixels(), model="types", outputs=wanted))) == sorted(everything)
    two = [{"name": "int8"}, {"name": "scores"}]
    assert list(outputs(infer(v2, pixels(), model="types", outputs=two))) == ["int8", "scores"]
    assert list(outputs(infer(v2, pixels(), outputs=[]))) == ["scores"]
    for wrong in ([{"name": "ghost"}], [{"name": "scores"}] * 2, [{}], ["scores"], {"name": "scores"}):
        failed(infer(v2, pixels(), outputs=wrong), 400)
    failed(infer(v2, pictures(picture()), outputs=[{"name": "boxes"}]), 400)


def test_r10_data_are_flat_or_nested(v2: Service) -> None:
    values = np.arange(2 * 3 * 32 * 32).reshape(2, 3, 32, 32) / 6144
    answers = [
        outputs(infer(v2, pixels(2) | {"data": data.tolist()})) for data in (values, values.reshape(-1))
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "change",
    [
        {"data": [0.5] * 3071},
        {"data": [0.5] * 3073},
        {"data": [[0.5] * 3072, [0.5] * 3072]},
        {"data": [[0.5] * 3071, 0.5]},
        {"data": [[[[0.5] * 32] * 32] * 2]},
        {"data": []},
        {"data": "0.5"},
        {"data": None},
        {"shape": [1, 3, 32, 33]},
        {"shape": [3072]},
        {"shape": [-1, 3, 32, 32]},
        {"shape": [1.0, 3, 32, 32]},
        {"shape": [True, 3, 32, 32]},
        {"shape": [2**62, 2**62], "data": []},
        {"shape": 3072},
        {"shape": None},
        {"datatype": "FP64"},
        {"datatype": "INT32", "data": [0] * 3072},
        {"datatype": "BOOL", "data": [True] * 3072},
        {"datatype": "float32"},
        {"datatype": None},
        {"name": "picture"},
        {"name": ""},
        {"name": "x" * 300},
        {"name": 7},
    ],
    ids=lambda change: f"{next(iter(change))}-{str(next(iter(change.values())))[:16]}",
)
def test_r10_what_does_not_fit_is_refused(v2: Service, change: dict[str, Any]) -> None:
    failed(infer(v2, pixels() | change), 400)


@pytest.mark.parametrize("value", [True, "0.5", None, [], {}, 1e39, 2**200])
def test_r11_an_element_of_another_kind_is_refused(v2: Service, value: Any) -> None:
    failed(infer(v2, pixels() | {"data": [value] * 3072}), 400)
    failed(infer(v2, pixels() | {"data": [0.5] * 3071 + [value]}), 400)


def test_r11_every_datatype_is_told_in_json(v2: Service) -> None:
    names = [name for name in CONSTANTS if name not in ("nan", "fp16")]
    found = document(infer(v2, pixels(), model="types", outputs=[{"name": name} for name in names]))
    for each in found["outputs"]:
        value = CONSTANTS[each["name"]]
        assert each["shape"] == list(value.shape)
        assert np.array(each["data"], value.dtype).reshape(value.shape).tolist() == value.tolist()


def test_r11_what_json_cannot_tell_is_refused_and_says_how_to_get_it(v2: Service) -> None:
    for name in ("fp16", "nan"):
        message = failed(infer(v2, pixels(), model="types", outputs=[{"name": name}]), 400)
        assert "binary tensor data" in message
    failed(infer(v2, pixels(), model="types"), 400)
    for datatype in ("FP16", "BF16"):
        assert "binary" in failed(infer(v2, pixels() | {"datatype": datatype}), 400)


@pytest.mark.parametrize("value", [None, [], {}, ["x"]])
def test_r12_a_parameter_is_a_string_a_number_or_a_boolean(v2: Service, value: Any) -> None:
    failed(infer(v2, pixels(), parameters={"x": value}), 400)
    failed(infer(v2, pixels() | {"parameters": {"x": value}}), 400)
    failed(infer(v2, pixels(), outputs=[{"name": "scores", "parameters": {"x": value}}]), 400)
    failed(infer(v2, pixels(), parameters=[1]), 400)


def test_r12_what_nobody_here_gives_is_not_silently_left_out(v2: Service) -> None:
    wanted = [{"name": "scores", "parameters": {"classification": 2}}]
    assert "classification" in failed(infer(v2, pixels(), outputs=wanted), 400)
    shared = pixels() | {"parameters": {"shared_memory_region": "x"}}
    assert "shared_memory_region" in failed(infer(v2, shared), 400)


def test_r15_an_unknown_version_is_an_error_and_never_another_version(v2: Service) -> None:
    for version in ("v20", "20", "latest", "v1.0", "0"):
        failed(infer(v2, pixels(), version=version), 404)
