"""Graphs of any kind on the running service: tensors over every wire of the Open Inference Protocol."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest

from api.protos import inference_pb2 as pb
from api.protos.predictor_pb2 import PredictRequest
from api.protos.predictor_pb2_grpc import PredictorStub
from models_import.candidates import Candidate, Wanted
from models_import.importer import Importer
from tests.api.grpc.oip_client import Client, Code, Input
from tests.api.grpc.oip_client import outputs as typed
from tests.api.open_inference.asking import binary, failed, infer, infer_binary, outputs, pictures
from tests.e2e.harness import Service
from tests.e2e.pictures import picture
from tests.e2e.reporting import services
from tests.e2e.rpc_load import channel
from tests.e2e.sizes import LIMIT
from tests.e2e.waiting import until
from tests.runners.graphs import constant_graph
from tests.runners.pictures import encode, smooth
from tests.runners.tensor_graphs import GENERIC, PICTURED, bright_places, looping, mixed, one_node, sequence

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * LIMIT)]

#: Seconds that a request has.
TIME = 3
MODELS: dict[str, tuple[onnx.ModelProto, dict[str, Any]]] = {
    "mixed": (mixed(), GENERIC),
    "looping": (looping(), GENERIC),
    "parts": (sequence(), GENERIC),
    "inverse": (one_node("Reciprocal", ["N"]), GENERIC),
    "any": (one_node("Neg", None), GENERIC),
    "pictured": (constant_graph({"scores": np.array([0.5, 0.25])}), PICTURED),
    "places": (bright_places(), PICTURED),
}
A = {"name": "a", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]}
K = {"name": "k", "datatype": "INT64", "shape": [2], "data": [7, -7]}
FLAG = {"name": "flag", "datatype": "BOOL", "shape": [1], "data": [True]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with all graphs; each was tried out when it was imported."""
    folder = tmp_path_factory.mktemp("generic")
    for name, (model, config) in MODELS.items():
        _import(folder, name, model, config)
    with contextmanager(services)() as make:
        yield make(
            folder / "home",
            OKAWARI_SERVE=",".join(f"{name}:latest" for name in MODELS),
            OKAWARI_REQUEST_TIMEOUT=str(TIME),
        ).ready()


def _import(folder: Path, name: str, model: onnx.ModelProto, config: dict[str, Any]) -> None:
    version = folder / name / "v1"
    version.mkdir(parents=True)
    (version / "weights.onnx").write_bytes(model.SerializeToString())
    (version / "config.json").write_text(json.dumps(config))
    Importer(folder / "home").run(Candidate(version, Wanted(), named=True))


@pytest.fixture
def rpc(service: Service) -> Iterator[Client]:
    """A client over gRPC."""
    client = Client(service.grpc_address)
    yield client
    client.channel.close()


def test_tensors_are_answered_in_json_and_in_binary_form(service: Service) -> None:
    found = outputs(infer(service, A, K, FLAG, model="mixed"))
    assert found == {"sum": [2, 3, 4, 5], "twice": [14, -14], "neither": [False]}
    raw = [
        binary("k", "INT64", [1], np.array([2**60], "<i8").tobytes()),
        binary("a", "FP32", [1, 2], np.array([0.5, 1.5], "<f4").tobytes()),
        binary("flag", "BOOL", [2], b"\0\1"),
    ]
    asked = [{"name": name, "parameters": {"binary_data": True}} for name in ("twice", "neither")]
    answer = outputs(infer_binary(service, *raw, model="mixed", outputs=asked))
    assert {name: array.tolist() for name, array in answer.items()} == {
        "twice": [2**61],
        "neither": [True, False],
    }


def test_tensors_are_answered_over_grpc_typed_and_raw(rpc: Client) -> None:
    contents = pb.InferTensorContents
    sent = [
        Input(name="a", datatype="FP32", shape=[1, 2], contents=contents(fp32_contents=[1, 2])),
        Input(name="k", datatype="INT64", shape=[1], contents=contents(int64_contents=[2**60])),
        Input(name="flag", datatype="BOOL", shape=[1], contents=contents(bool_contents=[True])),
    ]
    found = typed(rpc.infer(*sent, model="mixed"))
    assert {name: array.tolist() for name, array in found.items()} == {
        "sum": [[2, 3]],
        "twice": [2**61],
        "neither": [False],
    }
    bare = [Input(name=each.name, datatype=each.datatype, shape=each.shape) for each in sent]
    raw = [np.array([1, 2], "<f4").tobytes(), np.array([3], "<i8").tobytes(), b"\1"]
    answer = rpc.infer(*bare, model="mixed", raw_input_contents=raw)
    assert np.frombuffer(answer.raw_output_contents[1], "<i8").tolist() == [6]
    assert (answer.model_version, len(answer.outputs)) == ("v1", 3)


def test_metadata_are_those_of_the_graph(service: Service) -> None:
    told = service.get("/v2/models/mixed").json()
    assert [(each["name"], each["datatype"], each["shape"]) for each in told["inputs"]] == [
        ("a", "FP32", [-1, 2]),
        ("k", "INT64", [-1]),
        ("flag", "BOOL", [-1]),
    ]
    assert told["properties"].keys() == {"task", "digest"}
    properties = service.get("/v2/models/pictured").json()["properties"]
    assert (properties["task"], properties["picture_outputs"]) == ("tensors", "scores")


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (A | {"name": "b"}, "no input 'b'"),
        (A | {"shape": [2, 3], "data": [0] * 6}, "takes [-1, 2], found [2, 3]"),
        (A | {"shape": [4], "data": [0] * 4}, "takes [-1, 2], found [4]"),
        (A | {"datatype": "FP64"}, "takes FP32, found float64"),
        (A | {"datatype": "INT32"}, "takes FP32, found int32"),
        (A | {"datatype": "FP8"}, "datatype: allowed are"),
        (A | {"data": [1, 2, 3]}, "has 4 elements, found 3"),
        (A | {"data": [1, 2, 3, "x"]}, "FP32 takes"),
        (A | {"data": [1, 2, 3, None]}, "FP32 takes"),
        (A | {"shape": [-2, -2]}, "shape: must be"),
        (A | {"shape": [2**40, 2**40]}, "shape: must be"),
        (A | {"datatype": "BYTES", "shape": [1], "data": ["x"]}, "no graph accepts BYTES"),
        (A | {"data": [[1, 2], [3, 1e39]]}, "out of the range of FP32"),
    ],
)
def test_what_does_not_fit_the_graph_is_told(service: Service, changed: dict[str, Any], word: str) -> None:
    assert word in failed(infer(service, changed, K, FLAG, model="mixed"), 400)
    assert service.get("/readyz").status_code == 200


def test_what_the_whole_request_lacks_is_told(service: Service, rpc: Client) -> None:
    assert "k missing" in failed(infer(service, A, FLAG, model="mixed"), 400)
    asked = {"outputs": [{"name": "boxes"}]}
    assert "no output 'boxes'" in failed(infer(service, A, K, FLAG, model="mixed", **asked), 400)
    short = binary("a", "FP32", [2, 2], bytes(15)), binary("k", "INT64", [2], bytes(16))
    assert "takes 16 bytes, found 15" in failed(infer_binary(service, *short, model="mixed"), 400)
    about = Input(name="x", datatype="FP32", shape=[2])
    message = rpc.refused(Code.INVALID_ARGUMENT, about, model="inverse", raw_input_contents=[bytes(7)])
    assert "takes 8 bytes, found 7" in message
    long = Input(name="x", datatype="FP32", shape=[1, 1])
    message = rpc.refused(Code.INVALID_ARGUMENT, long, model="inverse", raw_input_contents=[bytes(4)])
    assert "takes [-1], found [1, 1]" in message


def test_pictures_go_to_graphs_that_take_them_alone(service: Service, rpc: Client) -> None:
    answer = service.predict(model="pictured")
    assert answer.json()["tensors"] == {"scores": {"shape": [2], "data": [0.5, 0.25]}}
    asked = {"outputs": [{"name": "scores"}]}
    found = infer(service, pictures(picture(), picture()), model="pictured", **asked)
    assert outputs(found) == {"scores": [0.5, 0.25, 0.5, 0.25]}
    refused = service.predict(model="mixed")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_argument")
    assert "mixed:v1 takes no pictures" in refused.json()["error"]["message"]
    assert (
        service.client.post("/predict/annotated", params={"model": "mixed"}, content=picture()).status_code
        == 400
    )
    assert "takes no pictures" in failed(infer(service, pictures(picture()), model="mixed"), 400)
    rpc.refused(
        Code.INVALID_ARGUMENT,
        Input(
            name="image", datatype="BYTES", shape=[1], contents=pb.InferTensorContents(bytes_contents=[b"x"])
        ),
        model="mixed",
    )
    unknown = {"outputs": [{"name": "boxes"}]}
    assert "no output 'boxes'" in failed(
        infer(service, pictures(picture()), model="pictured", **unknown), 400
    )


def test_every_wire_of_pictures_carries_the_outputs(service: Service) -> None:
    def row(image: bytes) -> dict[str, Any]:
        return {"b64": base64.b64encode(image).decode()}

    answer = service.client.post("/v1/models/pictured:predict", json={"instances": [row(picture())]})
    assert answer.json()["predictions"][0]["tensors"] == {"scores": {"shape": [2], "data": [0.5, 0.25]}}
    columns = service.client.post("/v1/models/pictured:predict", json={"inputs": [row(picture())]})
    assert columns.json()["outputs"] == [[0.5, 0.25]]
    refused = service.client.post("/v1/models/mixed:predict", json={"instances": [row(picture())]})
    assert "takes no pictures" in failed(refused, 400)
    with channel(service) as one:
        stub: Any = PredictorStub(one)
        reply = stub.Predict(PredictRequest(image=picture(), model="pictured"), timeout=LIMIT)
        assert (list(reply.tensors["scores"].shape), list(reply.tensors["scores"].data)) == ([2], [0.5, 0.25])
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(PredictRequest(image=picture(), model="mixed"), timeout=LIMIT)
        why: Any = error.value
        assert why.code() is Code.INVALID_ARGUMENT
    drawn = service.client.post(
        "/predict/annotated",
        params={"model": "pictured"},
        content=picture(),
        headers={"content-type": "image/jpeg"},
    )
    assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/jpeg")


def test_outputs_whose_shape_depends_on_the_picture_are_answered_one_by_one(service: Service) -> None:
    black, bright = encode(np.zeros((8, 8, 3), np.uint8), "PNG"), encode(smooth(8, 8) // 2 + 100, "PNG")
    assert service.predict(black, model="places").json()["tensors"]["places"]["shape"] == [4, 0]
    assert service.predict(bright, model="places").json()["tensors"]["places"]["shape"] == [4, 192]
    assert outputs(infer(service, pictures(black, black), model="places")) == {"places": []}
    refused = failed(infer(service, pictures(black, bright), model="places"), 400)
    assert "output places: its shape differs" in refused


def test_loops_and_branches_answer_and_an_endless_one_gives_its_thread_back(service: Service) -> None:
    def turns(count: int) -> dict[str, Any]:
        return {"name": "n", "datatype": "INT64", "shape": [], "data": [count]}

    assert outputs(infer(service, turns(1000), model="looping")) == {"total": [1000]}
    assert outputs(infer(service, turns(-1), model="looping")) == {"total": [-1]}
    answer = infer(service, turns(2**60), model="looping")
    assert answer.status_code == 504, answer.text
    until(lambda: service.figure("model_leases", model="looping") == 0, "the loop has ended")
    assert outputs(infer(service, turns(2), model="looping")) == {"total": [2]}


def test_what_json_cannot_carry_is_refused_and_given_in_binary_form(service: Service) -> None:
    zero = {"name": "x", "datatype": "FP32", "shape": [1], "data": [0]}
    assert "request binary" in failed(infer(service, zero, model="inverse"), 400)
    asked = {"parameters": {"binary_data_output": True}}
    assert outputs(infer(service, zero, model="inverse", **asked))["y"].tolist() == [np.inf]


def test_sequences_are_refused_until_tensors_alone_are_asked_for(service: Service) -> None:
    x = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    assert "parts: not a tensor" in failed(infer(service, x, model="parts"), 400)
    assert outputs(infer(service, x, model="parts", outputs=[{"name": "whole"}])) == {"whole": [1, 2]}


def test_tensors_of_any_rank_where_the_graph_declares_none(service: Service) -> None:
    for shape in ([], [3], [1, 2, 1], [0, 4], [1] * 32):
        x = {"name": "x", "datatype": "FP32", "shape": shape, "data": [1] * int(np.prod(shape))}
        answer = infer(service, x, model="any")
        assert answer.status_code in (200, 400), answer.text
        assert answer.status_code == 200 or len(shape) == 32


def test_requests_of_many_shapes_hold_no_memory(service: Service) -> None:
    """Good and refused ones in turn: what is held after some stays as it is."""

    def ask(count: int) -> None:
        for rows in itertools.islice(itertools.cycle(range(1, 60)), count):
            x = binary("x", "FP32", [rows, 1000], np.ones(rows * 1000, "<f4").tobytes())
            assert (
                infer_binary(service, x, model="any", parameters={"binary_data_output": True}).status_code
                == 200
            )
            assert infer(service, A | {"shape": [rows, 3]}, K, model="mixed").status_code == 400

    ask(300)
    before = service.resident()
    ask(300)
    assert service.resident() - before < 8e6
