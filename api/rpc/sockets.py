"""Sockets that the library opened and shows nobody, as the system lists them: Linux alone does."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import quote

#: Where `tcpi_bytes_received` lies in `struct tcp_info` (linux/tcp.h), of which nothing ever moved.
_BYTES_RECEIVED, _UPTO = struct.Struct("=Q"), 128


def descriptors() -> list[int]:
    """Of this process; none where the system does not list them."""
    with suppress(OSError):
        return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - numbers, not paths
    return []


@contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A descriptor of somebody else's as a socket; OSError if it is none."""
    found = socket.socket(fileno=descriptor)
    try:
        yield found
    finally:
        found.detach()


def received(peers: Iterable[str]) -> dict[str, int]:
    """Bytes that have come on the connections with these callers, as the library names them.

    Those whose connection is not found, or does not tell, are left out.
    """
    wanted = set(peers)
    found: dict[str, int] = {}
    for descriptor in descriptors() if wanted else ():
        with suppress(OSError), borrowed(descriptor) as candidate:
            peer = _peer(candidate)
            if peer in wanted:
                found[peer] = _received(candidate)
    return found


def _peer(candidate: socket.socket) -> str:
    """The caller's name as the library gives it: a URI, IPv4 as itself on whatever socket it comes."""
    if candidate.type != socket.SOCK_STREAM or candidate.family not in (socket.AF_INET, socket.AF_INET6):
        return ""
    host, port = candidate.getpeername()[:2]
    host = host.removeprefix("::ffff:") if "." in host else host
    return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _received(connection: socket.socket) -> int:
    size = _UPTO + _BYTES_RECEIVED.size
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    if len(told) < size:
        raise OSError
    return int(_BYTES_RECEIVED.unpack_from(told, _UPTO)[0])
