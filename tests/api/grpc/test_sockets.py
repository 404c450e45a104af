"""What has come on a connection: on the right one, whoever else has the caller's port."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import ExitStack

import pytest

from api.grpc.flow_control import Connections

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what came on a connection")


def listener(stack: ExitStack, host: str, port: int = 0) -> socket.socket:
    """Takes connections."""
    found = stack.enter_context(socket.socket())
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((host, port))
    found.listen()
    return found


def connected(stack: ExitStack, to: socket.socket, own: int = 0) -> tuple[socket.socket, socket.socket, str]:
    """A caller from a port of its own, its other end, and its name."""
    caller = stack.enter_context(socket.socket())
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    caller.bind(("127.0.0.1", own))
    caller.connect(to.getsockname())
    return caller, stack.enter_context(to.accept()[0]), f"ipv4:127.0.0.1:{caller.getsockname()[1]}"


def heard(taken: socket.socket, count: int) -> bool:
    """Wait until so many bytes have come."""
    left = count
    while left:
        left -= len(taken.recv(left))
    return True


def sends(stack: ExitStack, to: socket.socket, count: int, own: int = 0) -> int:
    """Send so many bytes from a port of its own; that port."""
    caller, taken, _ = connected(stack, to, own)
    caller.sendall(bytes(count))
    heard(taken, count)
    return int(caller.getsockname()[1])


def came(port: int, peer: str) -> dict[str, int]:
    """By who asks for the first time."""
    return Connections(lambda: port).received([peer])


def test_what_comes_is_counted_on_and_a_successor_of_the_same_name_is_another() -> None:
    with ExitStack() as stack:
        grpc = listener(stack, "127.0.0.1")
        port = grpc.getsockname()[1]
        connections = Connections(lambda: port)
        caller, taken, peer = connected(stack, grpc)
        caller.sendall(bytes(1_000))
        assert heard(taken, 1_000)
        assert connections.received([peer, "ipv4:127.0.0.1:1"]) == {peer: 1_000}
        caller.sendall(bytes(500))
        assert heard(taken, 500)
        assert connections.received([peer]) == {peer: 1_500}
        own = caller.getsockname()[1]
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.close()
        taken.close()
        assert connections.received([peer]) == {}
        successor, taken, again = connected(stack, grpc, own)
        assert again == peer
        successor.sendall(bytes(7))
        assert heard(taken, 7)
        assert connections.received([peer]) == {peer: 7}


def test_a_caller_with_the_same_port_at_http_is_another_connection() -> None:
    with ExitStack() as stack:
        grpc, http = listener(stack, "127.0.0.1"), listener(stack, "127.0.0.1")
        own = sends(stack, grpc, 1_000)
        sends(stack, http, 5, own)
        port = grpc.getsockname()[1]
        peer = f"ipv4:127.0.0.1:{own}"
        assert came(port, peer) == {peer: 1_000}


def test_a_caller_with_the_same_port_at_another_address_is_added() -> None:
    with ExitStack() as stack:
        one = listener(stack, "127.0.0.1")
        port = one.getsockname()[1]
        own = sends(stack, one, 1_000)
        sends(stack, listener(stack, "127.0.0.2", port), 5, own)
        peer = f"ipv4:127.0.0.1:{own}"
        assert came(port, peer) == {peer: 1_005}


def test_a_system_that_counts_nothing_does_not_tell() -> None:
    with ExitStack() as stack:
        grpc = listener(stack, "127.0.0.1")
        peer = f"ipv4:127.0.0.1:{sends(stack, grpc, 0)}"
        assert came(grpc.getsockname()[1], peer) == {}
