"""A home on a disk that is full: requests are answered, hangups survived, workers replaced."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_MOUNT = ("mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run([*_MOUNT, folder], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(folder: Path) -> None:
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_home_fails_no_request_and_ends_no_process(
    make_service: Start, store: Store, small: Path
) -> None:
    store.add("v1", 1)
    service = make_service(small, store.home).ready()
    workers = service.pids()
    _fill(small)
    assert [service.predict().status_code for _ in range(20)] == [200] * 20
    service.signal(signal.SIGHUP)
    store.add("v2", 2)
    service.serves("v2")
    assert service.target("v1").json()["error"]["code"] == "state_unavailable"
    assert service.version() == "v2"
    assert service.figure("inference_requests_total", status="ok") >= 20
    assert (service.pids(), service.master.poll()) == (workers, None)


def test_a_worker_that_is_replaced_on_a_full_disk_answers(
    make_service: Start, store: Store, small: Path
) -> None:
    store.add("v1", 1)
    service = make_service(small, store.home, WORKERS="1").ready()
    before = service.worker()
    _fill(small)
    os.kill(before, signal.SIGKILL)
    answer = until(lambda: _asked(service), "an answer of the new worker")
    assert answer == 200


def _asked(service: Service) -> int | None:
    with suppress(httpx.TransportError):
        return service.predict().status_code
    return None
