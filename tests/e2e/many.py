"""Many connections to a service of several workers, and who holds them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from tests.e2e.harness import Service
from tests.e2e.pictures import picture
from tests.e2e.waiting import until
from tests.e2e.wire import Wire
from workers.listener import AWAY
from workers.membership import WorkerTable


def all_listen(service: Service, workers: int) -> None:
    """Wait until so many workers take connections."""
    until(lambda: listening(service) == workers, f"{workers} workers take connections")


def listening(service: Service) -> int:
    """How many workers take connections, over HTTP and over gRPC; only several tell it each other."""
    seats = WorkerTable(service.run.board, 2 * service.count)
    counts = seats.connections()
    return sum(counts[seat] < AWAY for seat in seats.living() if seat in counts)


def all_gone(service: Service, workers: int) -> None:
    """Wait until no worker has a connection."""
    seats = WorkerTable(service.run.board, 2 * workers)
    until(
        lambda: not any(each for each in seats.connections().values() if each < AWAY), "nobody is connected"
    )


def held(service: Service, wires: Sequence[Wire]) -> dict[int, int]:
    """How many of these connections each worker has, by pid, as the kernel tells."""
    ports = {wire.port for wire in wires}
    return {state.pid: _held(state.pid, ports) for state in service.workers()}


def _held(pid: int, ports: set[int]) -> int:
    found = psutil.Process(pid).net_connections("tcp")
    return sum(1 for each in found if each.raddr and each.raddr.port in ports)


def shares(service: Service, wires: Sequence[Wire]) -> dict[int, int]:
    """As `held`, once every connection has been taken."""
    found: dict[int, int] = {}

    def taken() -> bool:
        found.update(held(service, wires))
        return sum(found.values()) == len(wires)

    until(taken, "all connections are taken")
    return found


@contextmanager
def wires(service: Service, count: int) -> Iterator[list[Wire]]:
    """So many connections, opened one after the other; the kernel makes them, taken or not."""
    with ExitStack() as stack:
        yield [stack.enter_context(Wire(service)) for _ in range(count)]


def ask(wire: Wire, image: bytes | None = None, model: str = "m") -> None:
    """Send a prediction's request and do not wait for its answer."""
    image = image or picture()
    kind = "image/bmp" if image.startswith(b"BM") else "image/jpeg"
    wire.head(f"/predict?model={model}", Content_Type=kind, Content_Length=len(image))
    wire.send(image)


def told_to_end(pid: int) -> bool:
    """Whether a SIGTERM waits for this process, which stands still."""
    status = Path(f"/proc/{pid}/status").read_text()
    waiting = next(line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(waiting, 16) >> (signal.SIGTERM - 1) & 1)


def _stands(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """These processes stand still, and go on afterwards unless they have been killed."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all(_stands(pid) for pid in pids), f"{pids} stand still")
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
