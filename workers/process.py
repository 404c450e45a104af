"""The process of a worker: its command line, its limits, its end."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from workers.listener import Listener

#: Seconds in which a worker that ends still hears who has connected to it, before it hangs up.
_LAST_WORDS = 0.2
#: Of glibc's mallopt(3): the most heaps ("arenas").
_ARENA_MAX = -8
#: Descriptors that are no connections', at least; and connections that there is room for, whatever the limit.
_RESERVE = 64
_LEAST_CONNECTIONS = 16


def worker_number() -> int:
    """The number of this worker as its command line names it; 1 where it names none."""
    try:
        return int(sys.argv[sys.argv.index("--worker-id") + 1])
    except (ValueError, IndexError):
        return 1


def is_worker() -> bool:
    """Whether this is a worker, and not the master that reads the same settings."""
    return "--worker-id" in sys.argv


def listening_socket() -> socket.socket | None:
    """The socket that this worker takes connections from, as its command line names it."""
    try:
        number = int(sys.argv[sys.argv.index("--fd") + 1])
        return socket.socket(fileno=os.dup(number))
    except (ValueError, IndexError, OSError):
        return None


def host_of(listener: socket.socket | None) -> str:
    """Where HTTP listens; loopback where that is no address."""
    address = None if listener is None else listener.getsockname()
    return str(address[0]) if isinstance(address, tuple) else "127.0.0.1"


def speaks_tls() -> bool:
    """Whether HTTP goes over TLS, as the worker's command line says."""
    return "--ssl-certfile" in sys.argv


def allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one: connections and models each take some."""
    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def share_heaps() -> None:
    """Let threads share as many heaps as there are cores, two at least (glibc; elsewhere nothing happens).

    By default each of up to eight times as many threads has a heap of its own, and keeps in it what it once
    needed: a service with sixty threads grows for days.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_ARENA_MAX, max(2, len(os.sched_getaffinity(0))))


def room_for_connections() -> int | None:
    """How many connections this process may have open beside what it has open now; None: any number.

    Some descriptors are left for a swap: the store, a model's files, logs.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return None
    return max(_LEAST_CONNECTIONS, limit - max(_RESERVE, limit // 8) - _open_files())


def _open_files() -> int:
    try:
        return sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError:
        return 0


def end_with_parent() -> None:
    """Drain and end when the master dies, even by SIGKILL: an orphan would hold the port (Linux)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def watch_for_the_end(listening: Listener, begun: Callable[[], None], drain: Callable[[], None]) -> None:
    """At SIGTERM and SIGINT call `begun` at once and `drain` in the event loop; then end as before.

    New connections are left to the other workers first. Call it in the event loop.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def end(received: int, _frame: FrameType | None, then: Any = before) -> None:
            begun()
            loop.call_soon_threadsafe(drain)
            if callable(then):
                loop.call_soon_threadsafe(_hand_over, listening, then, received)

        with suppress(ValueError):  # not in the main thread: somebody else's process, as in a test
            signal.signal(number, end)


def _hand_over(listening: Listener, then: Callable[[int, None], None], received: int) -> None:
    """Leave new connections to the other workers, and hear out those taken a moment ago."""
    listening.hand_over()
    asyncio.get_running_loop().call_later(_LAST_WORDS, then, received, None)
