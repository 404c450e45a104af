"""The protocol's rules for gRPC on the real service: G1 and what describes models."""

from __future__ import annotations

import pytest

from api.protos import inference_pb2 as pb
from tests.api.grpc.oip_client import (
    JPEG,
    Client,
    Code,
    pictures,
)
from tests.e2e.harness import Service
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_g1_the_service_lives_and_is_ready(rpc: Client) -> None:
    assert rpc.ServerLive(pb.ServerLiveRequest()).live
    assert rpc.ServerReady(pb.ServerReadyRequest()).ready


def test_g1_a_model_and_a_version_are_ready_or_not(rpc: Client) -> None:
    def ready(name: str, version: str = "") -> bool:
        return bool(rpc.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready)

    assert [ready("m"), ready("m", "v2"), ready("m", "2")] == [True] * 3
    assert [ready("m", "1"), ready("bad")] == [False] * 2


def test_g10_what_is_not_there_is_not_ready_whatever_its_name(rpc: Client) -> None:
    odd = ["nobody", "", "m" * 5000, "a b", "../m", "m/versions/1", "é\u202e", "m\0", "M"]
    asked = [(name, "") for name in odd] + [("m", version) for version in ("v10", "10", "-1", "x" * 5000)]
    for name, version in asked:
        assert not rpc.ModelReady(pb.ModelReadyRequest(name=name, version=version)).ready, (name, version)


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
