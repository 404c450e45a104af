"""Leaving new connections to other workers before the port is closed; Linux alone knows how.

Whoever has just connected to a socket that is closed is reset, and a client's channel then fails its calls
until it tries again. The workers' sockets of one port are chosen by hash, and none can be taken from the
choice while it is open. So this one stops hearing who begins: the sender repeats itself after a second (RFC
6298, section 2.1), and then another worker hears it. Those connected already notice nothing.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from contextlib import suppress

from api.grpc.flow_control import borrowed, descriptors

#: SO_ATTACH_FILTER of asm-generic/socket.h, which takes a `struct sock_fprog`; Python does not name it.
_ATTACH_FILTER = 26
#: Code, jump if true, jump if false, operand (linux/filter.h). A socket of TCP is given the TCP header first;
#: its byte 13 holds the flags, and 0x02 is SYN, without which no connection begins (RFC 9293, section 3.1).
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the flags
    (0x45, 0, 1, 0x02),  # is it SYN?
    (0x06, 0, 0, 0),  # then take nothing of it
    (0x06, 0, 0, 0xFFFFFFFF),  # else all
)


def take_no_more(port: int) -> int:
    """Hear no new connection on `port`; how many sockets of this process could be told so."""
    return sum(_drop_syn(descriptor) for descriptor in descriptors() if _listens(descriptor, port))


def _listens(descriptor: int, port: int) -> bool:
    with suppress(OSError), borrowed(descriptor) as candidate:
        if candidate.family in (socket.AF_INET, socket.AF_INET6) and candidate.type == socket.SOCK_STREAM:
            accepts = candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            return bool(accepts) and candidate.getsockname()[1] == port
    return False


def _drop_syn(descriptor: int) -> bool:
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _DROP_SYN))
    program = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(code))
    with suppress(OSError), borrowed(descriptor) as listener:
        listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        return True
    return False
