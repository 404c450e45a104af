"""A socket that is about to close leaves who connects now to the other sockets of its port."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from api.grpc.quiet import take_no_more
from tests.api.grpc.served import served

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has filters for sockets"),
]
_CALLERS = 40

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two sockets that share a port."""
    host = str(request.param)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if ":" in host and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with socket.socket(family) as one, socket.socket(family) as other:
        for each in (one, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((host, 0))
        one.listen(_CALLERS)
        other.bind((host, one.getsockname()[1]))
        yield one, other


def _connect(port: int, host: str) -> socket.socket:
    return socket.create_connection((host, port), timeout=20)


def _accept(listener: socket.socket) -> socket.socket:
    listener.settimeout(20)
    return listener.accept()[0]


def test_who_connects_now_comes_to_the_other_socket(pair: Pair) -> None:
    quiet, other = pair
    host, port = quiet.getsockname()[:2]
    with _connect(port, host) as before:
        assert take_no_more(port) == 1
        other.listen(_CALLERS)
        threads = [threading.Thread(target=lambda: _connect(port, host).close()) for _ in range(_CALLERS)]
        for thread in threads:
            thread.start()
        with _accept(quiet) as called:  # who was connected before is there, and nobody else
            assert called.getpeername() == before.getsockname()
        quiet.settimeout(0.2)
        with pytest.raises(TimeoutError):
            quiet.accept()
    quiet.close()
    for _ in range(_CALLERS):
        _accept(other).close()
    for thread in threads:
        thread.join()


def test_who_is_connected_goes_on(pair: Pair) -> None:
    quiet, _ = pair
    host, port = quiet.getsockname()[:2]
    with _connect(port, host) as caller, _accept(quiet) as called:
        assert take_no_more(port) == 1
        caller.sendall(b"still there")
        assert called.recv(20) == b"still there"


def test_other_ports_and_connections_are_left_alone(pair: Pair) -> None:
    quiet, other = pair
    host, port = quiet.getsockname()[:2]
    with _connect(port, host) as caller, _accept(quiet):
        assert take_no_more(caller.getsockname()[1]) == 0
    quiet.close()
    assert take_no_more(port) == 0  # the other is bound, yet does not listen
    assert other.getsockname()[1] == port


@pytest.mark.parametrize("heirs", [True, False])
def test_a_server_that_ends_is_quiet_if_another_is_there(heirs: bool) -> None:
    async def ending() -> int:
        async with served("m:v1", heirs=heirs) as running:
            await running.predict()
            # Its loop runs none of the end before the next `await`: the port is open all the while.
            running.server.drain()
            with socket.socket() as caller:
                caller.settimeout(0.15)
                return caller.connect_ex(("127.0.0.1", running.port))

    assert (asyncio.run(ending()) != 0) is heirs
