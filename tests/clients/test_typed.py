"""Clients that were generated from the protocol's specifications: they parse, and so check, every answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.json_format import MessageToDict

from api.protos import inference_pb2
from tests.builders import score_of
from tests.clients.conftest import PICTURE, Served, told_by

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Told = dict[str, Any]


@pytest.fixture(scope="module")
def over_http(served: Served) -> Told:
    """What the REST client was answered."""
    return told_by("typed", "typed_http.py", served.http)


@pytest.fixture(scope="module")
def over_grpc(served: Served) -> Told:
    """What the gRPC stub was answered."""
    return told_by("typed", "typed_grpc.py", served.grpc, PICTURE)


@pytest.fixture(params=["sync", "async"])
def rest(request: pytest.FixtureRequest, over_http: Told) -> Told:
    """The REST client's answers by one of its two ways."""
    way = f"{request.param} "
    return {name.removeprefix(way): told for name, told in over_http.items() if name.startswith(way)}


@pytest.mark.parametrize("question", ["live", "ready", "model ready", "version ready"])
def test_r1_r2_r3_health(rest: Told, question: str) -> None:
    assert rest[question] is None


def test_r3_a_model_that_is_not_there(rest: Told) -> None:
    assert rest["unknown model ready"]["raised"] == "NotFoundError"


def test_r4_r5_metadata(rest: Told) -> None:
    assert set(rest["server metadata"]) == {"name", "version", "extensions"}
    assert rest["model metadata"] == rest["version metadata"]
    assert rest["model metadata"]["inputs"] == [
        {"name": "image", "datatype": "FP32", "shape": [-1, 3, 32, 32]}
    ]
    assert rest["picture metadata"]["properties"]["picture_input"] == "image"


def test_r6_r7_r8_r10_infer_with_nested_numbers(rest: Told) -> None:
    assert (rest["infer"]["model_version"], rest["infer"]["id"]) == ("v2", "eight")
    (output,) = rest["infer"]["outputs"]
    assert (output["name"], output["shape"], output["datatype"]) == ("scores", [1, 2], "FP32")
    assert rest["infer version"]["outputs"][0]["data"] == output["data"]


def test_r12_r13_errors(rest: Told) -> None:
    assert rest["unknown model"]["status"] == "404"
    assert "nobody" in rest["unknown model"]["message"]["error"]
    assert rest["bad parameters"]["raised"] == "BadRequestError"


def test_g1_every_call_of_the_specification_is_answered(over_grpc: Told) -> None:
    assert over_grpc["live"] == {"live": True}
    assert [over_grpc[each] for each in ("ready", "model ready", "version ready")] == [{"ready": True}] * 3
    assert set(over_grpc["server metadata"]) == {"name", "version", "extensions"}
    assert over_grpc["model metadata"]["inputs"][0]["shape"] == ["-1", "3", "32", "32"]
    assert over_grpc["picture metadata"]["properties"]["picture_input"] == "image"


def test_g2_g3_g4_g5_no_answer_has_a_field_that_the_specification_lacks(over_grpc: Told) -> None:
    assert over_grpc["unknown"] == []


def test_g3_g4_infer_with_typed_contents(over_grpc: Told) -> None:
    found = over_grpc["infer"]
    assert (found["model_name"], found["model_version"], found["id"]) == ("m", "v2", "nine")
    (output,) = found["outputs"]
    assert (output["name"], output["shape"], output["datatype"]) == ("scores", ["1", "2"], "FP32")
    assert output["contents"]["fp32_contents"] == pytest.approx([score_of(2), 0.0])


def test_g5_pictures_in_typed_contents_and_their_parameters(over_grpc: Told, served: Served) -> None:
    for way, most in (("pictures", len(served.detections())), ("pictures few", 1)):
        outputs = {each["name"]: each for each in over_grpc[way]["outputs"]}
        assert outputs["num_detections"]["contents"]["int_contents"] == [most]


def test_g6_g7_errors_are_status_codes(over_grpc: Told) -> None:
    assert over_grpc["mixed contents"]["status"] == "StatusCode.INVALID_ARGUMENT"
    for question in ("unknown model", "unknown metadata"):
        assert over_grpc[question]["status"] == "StatusCode.NOT_FOUND"
        assert "nobody" in over_grpc[question]["message"]


def on_the_wire(listed: list[Told]) -> dict[str, Told]:
    """Messages or services by name, without what the wire does not carry: presence, and names in JSON."""
    return {each["name"]: each for each in json.loads(json.dumps(listed), object_hook=_without_presence)}


def _without_presence(found: Told) -> Told:
    if found.get("proto3Optional"):
        found.pop("oneofIndex")
    oneofs = [each for each in found.pop("oneofDecl", ()) if not each["name"].startswith("_")]
    dropped = {"jsonName", "proto3Optional"} | ({"options"} if found.get("options") == {} else set())
    kept = {name: each for name, each in found.items() if name not in dropped}
    return kept | ({"oneofDecl": oneofs} if oneofs else {})


def test_g9_our_proto_says_what_the_specifications_says(over_grpc: Told) -> None:
    """Every message with all its names, numbers and types, and every method; ours has more of both."""
    made = FileDescriptorProto()
    inference_pb2.DESCRIPTOR.CopyToProto(made)
    theirs, ours = over_grpc["specification"], MessageToDict(made)
    assert theirs["package"] == ours["package"] == "inference"
    messages, kept = on_the_wire(theirs["messageType"]), on_the_wire(ours["messageType"])
    assert len(messages) == 14
    assert {name: kept[name] for name in messages} == messages
    (specified,), (service,) = theirs["service"], ours["service"]
    methods, offered = on_the_wire(specified["method"]), on_the_wire(service["method"])
    assert service["name"] == specified["name"]
    assert {name: offered[name] for name in methods} == methods
