"""Where gRPC listens on the real service, and what is said where it cannot."""

from __future__ import annotations

import os
import signal
import socket

import grpc
import pytest

from tests.e2e.harness import free_port
from tests.e2e.reporting import Start
from tests.e2e.rpc_load import infer, told
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_ends_the_start_with_one_line(
    make_service: Start, store: Store, workers: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = make_service(store.home, GRPC_PORT=str(port), WORKERS=workers).launch()
        assert service.ended() == 1
    (line,) = [line for line in service.lines() if line.startswith("okawari: ")]
    assert line == (
        f"okawari: gRPC cannot listen on 127.0.0.1:{port}: Address already in use; "
        "set GRPC_PORT to another port, or to 0 for none"
    )
    assert not any("Traceback" in line for line in service.lines())


def test_a_worker_that_cannot_have_the_port_does_not_serve_half(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="1").ready()
    os.kill(service.worker(), signal.SIGKILL)
    with _stolen(service.grpc_port):
        assert service.ended() != 0
    assert any(f"gRPC cannot listen on 127.0.0.1:{service.grpc_port}" in line for line in service.lines())
    until(service.gone, "no worker is left")


def _stolen(port: int) -> socket.socket:
    """The port, as soon as its owner has gone."""
    thief = socket.socket()
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def take() -> bool:
        try:
            thief.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

    until(take, "the port is free")
    thief.listen()
    return thief


def test_without_a_port_there_is_http_alone(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, GRPC_PORT="0").ready()
    assert service.version() == "v1"
    assert service.stop() == 0


def test_grpc_listens_where_http_listens(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, host="127.0.0.2", GRPC_PORT=str(free_port("127.0.0.2"))).launch()
    until(lambda: len(service.workers()) == service.count, "it is up")

    def answers(host: str) -> bool:
        with grpc.insecure_channel(f"{host}:{service.grpc_port}") as one:
            try:
                return told(infer(one, timeout=5)) == "v1"
            except grpc.RpcError:
                return False

    until(lambda: answers("127.0.0.2"), "it answers")
    assert not answers("127.0.0.1")
