"""The protocol's rules for gRPC on the real service, numbered G1 to G8 and M5."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from api.protos import inference_pb2 as pb
from api.protos.inference_pb2_grpc import GRPCInferenceServiceStub
from tests import builders
from tests.api.oip import asking
from tests.api.oip.asking import packed
from tests.api.oip.conftest import MAX_BODY, v2
from tests.api.oip.typed_model import CONSTANTS
from tests.e2e.harness import ROOT, Service
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SOON
from tests.e2e.stores import Store

__all__ = ["v2"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

JPEG = picture()
SHAPES = sorted((ROOT / "examples/shapes/pictures").glob("*.jpg"))[:3]
Code = grpc.StatusCode
Input = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor


class Client:
    """One channel; every method with a limit."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.stub: Any = GRPCInferenceServiceStub(self.channel)

    def __getattr__(self, method: str) -> Any:
        def call(request: Any, **more: Any) -> Any:
            return getattr(self.stub, method)(request, **({"timeout": SOON} | more))

        return call

    def infer(self, *inputs: Any, model: str = "m", **more: Any) -> pb.ModelInferResponse:
        """One infer request."""
        return self.ModelInfer(pb.ModelInferRequest(model_name=model, inputs=inputs, **more))

    def refused(self, code: grpc.StatusCode, *inputs: Any, **more: Any) -> str:
        """Assert that an infer request is refused; the message."""
        return self.fails(code, lambda: self.infer(*inputs, **more))

    @staticmethod
    def fails(code: grpc.StatusCode, call: Any) -> str:
        """Assert that a call ends with this code and names its request; the message."""
        with pytest.raises(grpc.RpcError) as caught:
            call()
        error: Any = caught.value
        assert error.code() is code, error
        assert dict(error.trailing_metadata())["x-request-id"]
        assert error.details()
        assert "Traceback" not in error.details()
        return str(error.details())


@pytest.fixture
def rpc(v2: Service) -> Iterator[Client]:
    """A client of the service."""
    client = Client(v2.grpc_address)
    with client.channel:
        yield client


def pixels(rows: int = 1, **more: Any) -> Any:
    """The input of the graphs, typed."""
    contents = pb.InferTensorContents(fp32_contents=[0.5] * (rows * 3072))
    return Input(
        **({"name": "image", "datatype": "FP32", "shape": [rows, 3, 32, 32], "contents": contents} | more)
    )


def _two_fields() -> pb.InferTensorContents:
    return pb.InferTensorContents(fp32_contents=[0.5] * 3072, int_contents=[1])


def raw_pixels() -> tuple[Any, bytes]:
    """The same, raw."""
    about = Input(name="image", datatype="FP32", shape=[1, 3, 32, 32])
    return about, np.full(3072, 0.5, "<f4").tobytes()


def pictures(*images: bytes, name: str = "image") -> Any:
    """Pictures, typed."""
    contents = pb.InferTensorContents(bytes_contents=images)
    return Input(name=name, datatype="BYTES", shape=[len(images)], contents=contents)


def outputs(answer: pb.ModelInferResponse) -> dict[str, Any]:
    """Typed outputs by name."""
    found = {}
    for each in answer.outputs:
        ((_, values),) = each.contents.ListFields() or (("", ()),)
        found[each.name] = np.array(list(values)).reshape(tuple(each.shape))
    return found


def test_g1_the_service_lives_and_is_ready(rpc: Client, make_service: Start, store: Store) -> None:
    assert rpc.ServerLive(pb.ServerLiveRequest()).live
    assert rpc.ServerReady(pb.ServerReadyRequest()).ready
    empty = Client(make_service(store.home).start().grpc_address)
    with empty.channel:
        assert empty.ServerLive(pb.ServerLiveRequest()).live
        assert not empty.ServerReady(pb.ServerReadyRequest()).ready
        empty.refused(Code.NOT_FOUND, pixels())


def test_g1_a_model_and_a_version_are_ready_or_not(rpc: Client) -> None:
    def ready(name: str, version: str = "") -> bool:
        return bool(rpc.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready)

    assert [ready("m"), ready("m", "v2"), ready("m", "2")] == [True] * 3
    assert [ready("m", "1"), ready("bad")] == [False] * 2
    rpc.fails(Code.NOT_FOUND, lambda: ready("nobody"))
    rpc.fails(Code.NOT_FOUND, lambda: ready("m", "v10"))


def test_g1_metadata_is_the_same_as_over_http(rpc: Client, v2: Service) -> None:
    server = rpc.ServerMetadata(pb.ServerMetadataRequest())
    told = v2.get("/v2").json()
    assert (server.name, server.version, list(server.extensions)) == (
        told["name"],
        told["version"],
        told["extensions"],
    )
    for name in ("m", "shapes", "types", "embed"):
        found = rpc.ModelMetadata(pb.ModelMetadataRequest(name=name))
        told = v2.get(f"/v2/models/{name}").json()
        assert (found.name, found.platform, dict(found.properties)) == (
            told["name"],
            told["platform"],
            told["properties"],
        )
        assert list(found.versions) == told["versions"]
        for tensors, over_http in ((found.inputs, told["inputs"]), (found.outputs, told["outputs"])):
            assert [
                {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in tensors
            ] == over_http
    rpc.fails(Code.NOT_FOUND, lambda: rpc.ModelMetadata(pb.ModelMetadataRequest(name="nobody")))
    rpc.fails(
        Code.FAILED_PRECONDITION, lambda: rpc.ModelMetadata(pb.ModelMetadataRequest(name="m", version="1"))
    )


def test_g3_and_g4_an_answer_names_the_version_that_gave_it_and_the_request(rpc: Client) -> None:
    answer, call = rpc.stub.ModelInfer.with_call(
        pb.ModelInferRequest(model_name="m", id="mine", inputs=[pixels()]),
        timeout=SOON,
        metadata=(("x-request-id", "told-1"),),
    )
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "v2", "mine")
    assert answer.parameters["generation"].int64_param == 1
    assert answer.parameters["digest"].string_param.startswith("sha256:")
    assert dict(call.trailing_metadata()) == {"x-request-id": "told-1", "x-model-version": "v2"}
    assert builders.code_of(outputs(answer)["scores"].ravel()[0]) == 2
    for version in ("v2", "2"):
        assert rpc.infer(pixels(), model_version=version).model_version == "v2"


def test_g4_outputs_that_are_named_come_in_that_order_and_others_are_refused(rpc: Client) -> None:
    answer = rpc.infer(pixels(), model="types", outputs=[Output(name="int8"), Output(name="bool")])
    assert [each.name for each in answer.outputs] == ["int8", "bool"]
    assert "ghost" in rpc.refused(Code.INVALID_ARGUMENT, pixels(), outputs=[Output(name="ghost")])
    twice = [Output(name="bool"), Output(name="bool")]
    rpc.refused(Code.INVALID_ARGUMENT, pixels(), model="types", outputs=twice)


@pytest.mark.parametrize("name", [name for name in CONSTANTS if name not in ("fp16", "nan")])
def test_g5_every_datatype_has_its_own_field(rpc: Client, name: str) -> None:
    answer = rpc.infer(pixels(), model="types", outputs=[Output(name=name)])
    (told,) = answer.outputs
    ((field, values),) = told.contents.ListFields()
    expected = CONSTANTS[name]
    assert list(told.shape) == list(expected.shape)
    if name == "bytes":
        assert list(values) == [each.encode() for each in expected]
    else:
        assert np.array_equal(np.array(values, expected.dtype).reshape(expected.shape), expected)
    kinds = {"BOOL": "bool", "BYTES": "bytes", "FP32": "fp32", "FP64": "fp64"}
    kinds |= {"INT64": "int64", "UINT64": "uint64"}
    small = "uint" if told.datatype.startswith("U") else "int"
    assert field.name == f"{kinds.get(told.datatype, small)}_contents"
    assert not answer.raw_output_contents


@pytest.mark.parametrize("name", list(CONSTANTS))
def test_g6_raw_is_answered_raw_with_the_same_values(rpc: Client, name: str) -> None:
    about, data = raw_pixels()
    answer = rpc.infer(about, model="types", outputs=[Output(name=name)], raw_input_contents=[data])
    (told,), (found,) = answer.outputs, answer.raw_output_contents
    assert not told.HasField("contents")
    expected = CONSTANTS[name]
    if name == "bytes":
        assert found == packed(*(each.encode() for each in expected))
    else:
        little = np.frombuffer(found, expected.dtype.newbyteorder("<")).reshape(tuple(told.shape))
        assert np.array_equal(little, expected, equal_nan=expected.dtype.kind == "f")


def test_g6_what_has_no_field_comes_raw_with_all_others(rpc: Client) -> None:
    answer = rpc.infer(pixels(), model="types", outputs=[Output(name="int8"), Output(name="fp16")])
    assert [len(each) for each in answer.raw_output_contents] == [2, 4]
    assert not any(each.HasField("contents") for each in answer.outputs)


def test_g6_raw_and_typed_inputs_do_not_mix(rpc: Client) -> None:
    about, data = raw_pixels()
    for inputs, raw in (
        ([pixels()], [data]),
        ([about, pixels(name="other")], [data, data]),
        ([about], [data, data]),
        ([about, about], [data]),
        ([about], [data[:-1]]),
        ([about], [b""]),
        ([Input(name="image", datatype="FP16", shape=[1], contents=pb.InferTensorContents())], []),
        ([Input(name="i", datatype="BYTES", shape=[1])], [struct.pack("<I", 9) + b"x"]),
        ([Input(name="i", datatype="BYTES", shape=[1])], [packed(JPEG) + b"x"]),
    ):
        message = rpc.refused(Code.INVALID_ARGUMENT, *inputs, raw_input_contents=raw)
        assert "input" in message or "i:" in message


def test_g6_pictures_come_raw_or_typed_and_are_answered_alike(rpc: Client, v2: Service) -> None:
    images = [each.read_bytes() for each in SHAPES]
    typed = rpc.infer(pictures(*images), model="shapes")
    about = Input(name="anything", datatype="BYTES", shape=[len(images)])
    raw = rpc.infer(about, model="shapes", raw_input_contents=[packed(*images)])
    over_http = asking.outputs(asking.infer(v2, asking.pictures(*images), model="shapes"))
    found = outputs(typed)
    assert list(found) == [each.name for each in raw.outputs] == list(over_http)
    for name, bytes_ in zip(found, raw.raw_output_contents, strict=True):
        expected = np.array(over_http[name])
        if name == "labels":
            assert [each.decode() for each in found[name].ravel()] == expected.ravel().tolist()
            continue
        assert np.allclose(found[name].ravel(), expected.ravel(), atol=1e-6)
        dtype = "<i4" if name in ("num_detections", "label_ids") else "<f4"
        assert np.allclose(np.frombuffer(bytes_, dtype), expected.ravel(), atol=1e-6)
    assert found["num_detections"].min() > 0


def test_g3_parameters_of_pictures_are_read_and_unknown_extensions_refused(rpc: Client) -> None:
    def answer(**values: Any) -> int:
        parameters = {name: pb.InferParameter(**value) for name, value in values.items()}
        image = SHAPES[0].read_bytes()
        found = outputs(rpc.infer(pictures(image), model="shapes", parameters=parameters))
        return int(found["num_detections"][0])

    assert answer(threshold={"double_param": 0.999}) < answer(threshold={"double_param": 0.01})
    assert answer(max_detections={"int64_param": 1}) == 1
    assert answer(max_detections={"uint64_param": 1}) == 1
    for wrong in (
        {"threshold": {"double_param": 2.0}},
        {"threshold": {"string_param": "high"}},
        {"max_detections": {"int64_param": -1}},
        {"max_detections": {}},
        {"shared_memory_region": {"string_param": "r"}},
    ):
        rpc.fails(Code.INVALID_ARGUMENT, lambda wrong=wrong: answer(**wrong))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([], "at least one"),
        ([pixels(name="ghost")], "ghost"),
        ([pixels(datatype="FP99")], "datatype"),
        ([pixels(shape=[1, 3, 32])], "3072"),
        ([pixels(shape=[-1, 3, 32, 32])], "shape"),
        ([pixels(shape=[2**40, 2**40])], "shape"),
        ([pixels(datatype="FP64")], "fp64_contents"),
        ([pixels(contents=_two_fields())], "['int_contents', 'fp32_contents']"),
        ([pixels(), pixels()], "twice"),
        ([Input(name="image", datatype="FP32", shape=[1, 3, 32, 32])], "found 0"),
        ([pictures()], "pictures"),
        ([pictures(b"")], "empty"),
        ([pictures(b"no picture")], ""),
        ([pictures(JPEG[: len(JPEG) // 2])], ""),
        ([pictures(*[JPEG] * 40)], "pictures"),
    ],
)
def test_g7_what_is_wrong_with_a_request_is_told(rpc: Client, inputs: list[Any], said: str) -> None:
    assert said in rpc.refused(Code.INVALID_ARGUMENT, *inputs)
    assert rpc.infer(pixels()).model_version == "v2"


def test_g7_values_out_of_range_are_refused_and_not_wrapped(rpc: Client) -> None:
    for datatype, field, value in (
        ("INT8", "int_contents", 128),
        ("UINT16", "uint_contents", 2**16),
        ("INT16", "int_contents", -(2**15) - 1),
    ):
        contents = pb.InferTensorContents(**{field: [value]})
        wrong = Input(name="image", datatype=datatype, shape=[1], contents=contents)
        assert "range" in rpc.refused(Code.INVALID_ARGUMENT, wrong)


def test_g7_statuses_of_models_versions_sizes_and_methods(rpc: Client) -> None:
    rpc.refused(Code.NOT_FOUND, pixels(), model="nobody")
    rpc.refused(Code.NOT_FOUND, pixels(), model_version="v10")
    rpc.refused(Code.FAILED_PRECONDITION, pixels(), model_version="1")
    rpc.refused(Code.UNAVAILABLE, pixels(), model="bad")
    with pytest.raises(grpc.RpcError) as caught:
        rpc.infer(pictures(b"x" * MAX_BODY))
    error: Any = caught.value
    assert error.code() is Code.RESOURCE_EXHAUSTED
    missing = rpc.channel.unary_unary("/inference.GRPCInferenceService/ModelStreamInfer")
    with pytest.raises(grpc.RpcError) as caught:
        missing(b"", timeout=SOON)
    error = caught.value
    assert error.code() is Code.UNIMPLEMENTED


def test_g7_bytes_that_are_no_message_are_the_callers_fault(rpc: Client) -> None:
    send = rpc.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    assert "message" in rpc.fails(Code.INVALID_ARGUMENT, lambda: send(b"\xff\xff\xff", timeout=SOON))


def test_config_tells_what_load_generators_need(rpc: Client, v2: Service) -> None:
    found = rpc.ModelConfig(pb.ModelConfigRequest(name="types")).config
    told = v2.get("/v2/models/types/config").json()
    assert (found.name, found.platform, found.backend, found.max_batch_size) == (
        told["name"],
        told["platform"],
        told["backend"],
        0,
    )
    for tensors, over_http in ((found.input, told["input"]), (found.output, told["output"])):
        assert [
            {"name": each.name, "data_type": pb.DataType.Name(each.data_type), "dims": list(each.dims)}
            for each in tensors
        ] == over_http


def test_statistics_count_what_came_over_this_wire(rpc: Client) -> None:
    def count() -> int:
        (found,) = rpc.ModelStatistics(pb.ModelStatisticsRequest(name="embed")).model_stats
        assert found.inference_stats.success.count == found.inference_count
        return int(found.inference_count)

    before = count()
    rpc.infer(pictures(JPEG), model="embed")
    assert count() == before + 1
    names = {each.name for each in rpc.ModelStatistics(pb.ModelStatisticsRequest()).model_stats}
    assert {"m", "embed"} <= names
    rpc.fails(Code.NOT_FOUND, lambda: rpc.ModelStatistics(pb.ModelStatisticsRequest(name="nobody")))
    rpc.fails(Code.INVALID_ARGUMENT, lambda: rpc.ModelStatistics(pb.ModelStatisticsRequest(version="1")))


def test_m5_the_index_tells_states_by_their_words(rpc: Client, v2: Service) -> None:
    def index(**more: Any) -> list[Any]:
        return list(rpc.RepositoryIndex(pb.RepositoryIndexRequest(**more)).models)

    told = v2.client.post("/v2/repository/index").json()
    assert [
        {"name": each.name, "version": each.version, "state": each.state, "reason": each.reason}
        for each in index()
    ] == told
    assert {each.state for each in index()} == {"READY", "UNAVAILABLE"}
    assert {each.state for each in index(ready=True)} == {"READY"}
    rpc.fails(Code.INVALID_ARGUMENT, lambda: index(repository_name="elsewhere"))


def test_m5_load_and_unload_change_what_is_served(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    client = Client(make_service(store.home).ready().grpc_address)
    with client.channel:
        client.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="m"))
        client.refused(Code.UNAVAILABLE, pixels())
        (entry,) = client.RepositoryIndex(pb.RepositoryIndexRequest()).models
        assert (entry.state, entry.reason) == ("UNAVAILABLE", "unloaded")
        client.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="m"))
        assert client.infer(pixels()).model_version == "v1"
        wrong = pb.RepositoryModelLoadRequest(model_name="m")
        wrong.parameters["config"].string_param = "{}"
        assert "config" in client.fails(Code.INVALID_ARGUMENT, lambda: client.RepositoryModelLoad(wrong))
        unknown = pb.RepositoryModelLoadRequest(model_name="nobody")
        client.fails(Code.NOT_FOUND, lambda: client.RepositoryModelLoad(unknown))


def test_m5_changing_calls_need_the_admin_token(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    client = Client(make_service(store.home, OKAWARI_ADMIN_TOKEN="secret").ready().grpc_address)
    unload = pb.RepositoryModelUnloadRequest(model_name="m")
    load = pb.RepositoryModelLoadRequest(model_name="m")

    def call(method: Any, request: Any, authorization: str) -> Any:
        return method(request, metadata=(("authorization", authorization),))

    with client.channel:
        for method, request in (
            (client.RepositoryModelUnload, unload),
            (client.RepositoryModelLoad, load),
        ):
            client.fails(Code.UNAUTHENTICATED, lambda method=method, request=request: method(request))
            client.fails(
                Code.PERMISSION_DENIED,
                lambda method=method, request=request: call(method, request, "Bearer wrong"),
            )
        assert client.infer(pixels()).model_version == "v1"
        call(client.RepositoryModelUnload, unload, "Bearer secret")
        call(client.RepositoryModelLoad, load, "bearer secret")
        assert len(client.RepositoryIndex(pb.RepositoryIndexRequest()).models) == 1


def test_a_service_beyond_loopback_without_a_token_changes_nothing(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    everywhere = {"host": "0.0.0.0"}  # noqa: S104 - that is what is tested
    client = Client(make_service(store.home, **everywhere).ready().grpc_address)
    with client.channel:
        request = pb.RepositoryModelUnloadRequest(model_name="m")
        client.fails(Code.PERMISSION_DENIED, lambda: client.RepositoryModelUnload(request))
        assert client.infer(pixels()).model_version == "v1"
