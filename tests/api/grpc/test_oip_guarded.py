"""Changing calls of the model repository are guarded, over HTTP and gRPC: one service answers for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from api.protos import inference_pb2 as pb
from tests.api.grpc.oip_client import Client, Code, pixels
from tests.api.open_inference.asking import document, failed, infer
from tests.api.open_inference.asking import pixels as pixels_of_http
from tests.e2e.harness import Service
from tests.e2e.reporting import services
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

UNLOAD = pb.RepositoryModelUnloadRequest(model_name="m")
LOAD = pb.RepositoryModelLoadRequest(model_name="m")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a token; who unloads loads again."""
    folder = tmp_path_factory.mktemp("guarded")
    made = Store(folder / "home", folder)
    made.add("v1", 1)
    with contextmanager(services)() as make:
        yield make(made.home, OKAWARI_ADMIN_TOKEN="secret").ready()


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without a token that other machines reach."""
    folder = tmp_path_factory.mktemp("exposed")
    made = Store(folder / "home", folder)
    made.add("v1", 1)
    everywhere = {"host": "0.0.0.0"}  # noqa: S104 - that is what is tested
    with contextmanager(services)() as make:
        yield make(made.home, **everywhere).ready()


def test_m2_m3_changing_calls_need_the_admin_token(guarded: Service) -> None:
    def ask(what: str, **headers: str) -> Any:
        return guarded.client.post(f"/v2/repository/models/m/{what}", headers=headers)

    for what in ("unload", "load"):
        answer = ask(what)
        failed(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        failed(ask(what, authorization="Bearer wrong"), 403)
    assert document(infer(guarded, pixels_of_http()))["model_version"] == "v1"
    (entry,) = guarded.client.post("/v2/repository/index").json()
    assert entry["state"] == "READY"
    for what in ("unload", "load"):
        assert document(ask(what, authorization="Bearer secret")) == {}


def test_m5_changing_calls_need_the_admin_token(guarded: Service) -> None:
    client = Client(guarded.grpc_address)

    def call(method: Any, request: Any, authorization: str) -> Any:
        return method(request, metadata=(("authorization", authorization),))

    with client.channel:
        for method, request in ((client.RepositoryModelUnload, UNLOAD), (client.RepositoryModelLoad, LOAD)):
            client.fails(Code.UNAUTHENTICATED, lambda method=method, request=request: method(request))
            client.fails(
                Code.PERMISSION_DENIED,
                lambda method=method, request=request: call(method, request, "Bearer wrong"),
            )
        assert client.infer(pixels()).model_version == "v1"
        call(client.RepositoryModelUnload, UNLOAD, "Bearer secret")
        call(client.RepositoryModelLoad, LOAD, "bearer secret")
        assert len(client.RepositoryIndex(pb.RepositoryIndexRequest()).models) == 1


def test_m2_m3_m5_a_service_beyond_loopback_without_a_token_changes_nothing(exposed: Service) -> None:
    failed(exposed.client.post("/v2/repository/models/m/unload"), 403)
    assert document(infer(exposed, pixels_of_http()))["model_version"] == "v1"
    client = Client(exposed.grpc_address)
    with client.channel:
        client.fails(Code.PERMISSION_DENIED, lambda: client.RepositoryModelUnload(UNLOAD))
        assert client.infer(pixels()).model_version == "v1"
