"""Sockets that the library opened and shows nobody, as the system lists them: Linux alone does."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
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


class Connections:
    """Connections to a port of ours, by their callers as the library names them.

    A caller may have the same port of its own connected to another one of ours, such as HTTP's, or to the
    same at another of our addresses, which the name does not tell: those are added up.
    """

    def __init__(self, port: Callable[[], int]) -> None:
        self._port = port
        self._known: dict[str, list[int]] = {}

    def received(self, peers: Iterable[str]) -> dict[str, int]:
        """Bytes that have come from these callers.

        Those whose connection is not found, or does not tell, are left out. Every descriptor of the process
        is looked at (some microseconds each) where one is asked about for the first time, or has gone.
        """
        found = {peer: self._count(peer) for peer in peers}
        new = {peer for peer, count in found.items() if count is None}
        if new:
            self._find(new)
            found |= {peer: self._count(peer) for peer in new}
        return {peer: count for peer, count in found.items() if count is not None}

    def forget(self, peer: str) -> None:
        """Nobody asks about this caller any more."""
        self._known.pop(peer, None)

    def _find(self, peers: set[str]) -> None:
        for peer in peers:
            self._known.pop(peer, None)
        for descriptor in descriptors():
            with suppress(OSError), borrowed(descriptor) as candidate:
                if (peer := self._peer(candidate)) in peers:
                    self._known.setdefault(peer, []).append(descriptor)

    def _count(self, peer: str) -> int | None:
        total = 0
        for descriptor in self._known.get(peer, ()):
            with suppress(OSError), borrowed(descriptor) as candidate:
                if self._peer(candidate) == peer:
                    total += _received(candidate)
                    continue
            return None
        # A caller has sent its preface at least: zero is what a system tells that counts nothing.
        return total or None

    def _peer(self, candidate: socket.socket) -> str:
        return _name(candidate) if _is_tcp(candidate) and candidate.getsockname()[1] == self._port() else ""


def _is_tcp(candidate: socket.socket) -> bool:
    return candidate.type == socket.SOCK_STREAM and candidate.family in (socket.AF_INET, socket.AF_INET6)


def _name(candidate: socket.socket) -> str:
    """A URI; IPv4 as itself on whatever socket it comes, an address of one link by the link's number."""
    host, port, *more = candidate.getpeername()
    host = host.removeprefix("::ffff:") if "." in host else host
    if more and more[1]:
        host = f"{host.partition('%')[0]}%{more[1]}"
    return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _received(connection: socket.socket) -> int:
    size = _UPTO + _BYTES_RECEIVED.size
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    if len(told) < size:
        raise OSError
    return int(_BYTES_RECEIVED.unpack_from(told, _UPTO)[0])
