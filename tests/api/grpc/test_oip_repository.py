"""The protocol's rules for gRPC on the real service: the model repository, M5."""

from __future__ import annotations

from typing import Any

import pytest

from api.protos import inference_pb2 as pb
from tests.api.grpc.oip_client import (
    Client,
    Code,
    pixels,
)
from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_m5_the_index_tells_states_by_their_words(rpc: Client, v2: Service) -> None:
    def index(**more: Any) -> list[Any]:
        return list(rpc.RepositoryIndex(pb.RepositoryIndexRequest(**more)).models)

    def same() -> bool:
        found = [
            {"name": each.name, "version": each.version, "state": each.state, "reason": each.reason}
            for each in index()
        ]
        return found == v2.client.post("/v2/repository/index").json()

    until(same, "both wires tell the same, but while `bad` is tried again")
    assert {each.state for each in index()} - {"LOADING"} == {"READY", "UNAVAILABLE"}
    assert {each.state for each in index(ready=True)} == {"READY"}
    rpc.fails(Code.INVALID_ARGUMENT, lambda: index(repository_name="elsewhere"))


def test_m5_load_and_unload_change_what_is_served(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    client = Client(make_service(store.home).ready().grpc_address)
    with client.channel:
        client.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="m"))
        client.refused(Code.UNAVAILABLE, pixels())

        def unloaded() -> bool:
            (entry,) = client.RepositoryIndex(pb.RepositoryIndexRequest()).models
            return (entry.state, entry.reason) == ("UNAVAILABLE", "unloaded")

        until(unloaded, "what answered before has left")
        client.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="m"))
        assert client.infer(pixels()).model_version == "v1"
        wrong = pb.RepositoryModelLoadRequest(model_name="m")
        wrong.parameters["config"].string_param = "{}"
        assert "config" in client.fails(Code.INVALID_ARGUMENT, lambda: client.RepositoryModelLoad(wrong))
        unknown = pb.RepositoryModelLoadRequest(model_name="nobody")
        client.fails(Code.NOT_FOUND, lambda: client.RepositoryModelLoad(unknown))
