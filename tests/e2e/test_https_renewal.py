"""HTTPS takes a renewed certificate worker by worker, as chapter 6 says, and no request fails."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.api.grpc.handshakes import HOST, shown
from tests.e2e.certificates import Authority, Pair
from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, PAUSE
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def _write(pair: Pair, folder: Path) -> None:
    shutil.copy(pair.certificate, folder / "tls.crt")
    shutil.copy(pair.key, folder / "tls.key")


def _ready(service: Service) -> set[int]:
    return {each.pid for each in service.workers() if each.ready and each.grpc}


@contextmanager
def _load(port: int, authority: Authority) -> Iterator[list[int]]:
    """New connections with one request each, until the end; their statuses. What fails ends the test."""
    answered: list[int] = []
    failed: list[Exception] = []
    over = threading.Event()
    trusted = ssl.create_default_context(cafile=authority.own.certificate)

    def ask() -> None:
        while not over.wait(PAUSE):
            connection = http.client.HTTPSConnection(HOST, port, context=trusted, timeout=30)
            try:
                connection.request("GET", "/readyz")
                answered.append(connection.getresponse().status)
            except (OSError, http.client.HTTPException) as error:
                failed.append(error)
            finally:
                connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answered
    finally:
        over.set()
        thread.join()
    assert not failed, failed


def test_workers_that_end_one_after_the_other_bring_the_new_certificate(
    make_service: Start, store: Store, tmp_path: Path
) -> None:
    store.add("v1", 1)
    ours = Authority(tmp_path / "ours")
    client = ours.vouch("client")
    _write(ours.vouch("first"), tmp_path)
    https = f'exec "$0" "$@" --ssl-certfile {tmp_path}/tls.crt --ssl-keyfile {tmp_path}/tls.key'
    service = make_service(store.home, through=("sh", "-c", https), WORKERS="2").launch()
    until(lambda: len(_ready(service)) == 2, "both workers are ready")
    port = service.workers()[0].port or 0
    assert shown(port, ours, client) == "first"
    _write(ours.vouch("second"), tmp_path)
    with _load(port, ours) as answered:
        for pid in _ready(service):
            os.kill(pid, signal.SIGTERM)
            until(lambda old=pid: len(_ready(service) - {old}) == 2, "another has taken its place")
    assert set(answered) == {200}
    assert {shown(port, ours, client) for _ in range(20)} == {"second"}
