"""The service with a configuration file: its metrics' own port, its lines for people, its refusals."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.harness import Service, free_port
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
Make = Callable[..., Service]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def _metrics(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).raise_for_status().text


def _holder(service: Service, port: int) -> int | None:
    """The worker that listens on the metrics' port."""
    for pid in service.pids():
        with suppress(psutil.NoSuchProcess):  # killed a moment ago
            found = psutil.Process(pid).net_connections("tcp")
            if any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in found):
                return pid
    return None


def test_metrics_have_a_port_of_their_own_which_outlives_the_worker_that_has_it(
    make_service: Make, store: Store, config: Path
) -> None:
    port = free_port()
    config.write_text(
        f"server: {{workers: 2}}\nobservability: {{metrics: {{port: {port}}}, logging: {{format: text}}}}\n"
    )
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2", OKAWARI_CONFIG=str(config))
    service._settings["WORKERS"] = ""  # so many as the file says
    service.ready()
    until(lambda: _holder(service, port), "a worker has the port")
    assert "http_requests_total" in _metrics(port)
    assert _metrics(port).count("\n") > 100
    first = _holder(service, port)
    assert first is not None
    psutil.Process(first).kill()
    until(lambda: _holder(service, port) not in (None, first), "another worker has the port")
    assert "http_requests_total" in _metrics(port)
    assert not any("connections are not spread" in line for line in service.lines())
    assert any("okawari.service: worker" in line and not line.startswith("{") for line in service.lines())


def test_without_a_file_metrics_have_no_port_of_their_own(make_service: Make, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    assert _holder(service, 9090) is None


def test_a_port_that_is_taken_ends_the_start_with_one_line(
    make_service: Make, store: Store, config: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.write_text(f"observability: {{metrics: {{port: {port}}}}}")
        service = make_service(store.home, OKAWARI_CONFIG=str(config)).launch()
        assert service.ended() != 0
    (line,) = [line for line in service.lines() if line.startswith("okawari: ")]
    assert f"metrics cannot listen on 127.0.0.1:{port}" in line
    assert "observability.metrics.port" in line


def test_a_file_that_cannot_be_used_ends_the_start_with_a_line_for_each_finding(
    make_service: Make, store: Store, config: Path
) -> None:
    config.write_text("server: {prt: 1}\nobservability: {tracing: {enabled: perhaps}}\n")
    service = make_service(store.home, OKAWARI_CONFIG=str(config)).launch()
    assert service.ended() != 0
    lines = [line for line in service.lines() if line.startswith("okawari: ")]
    assert [line.split(": ")[2] for line in lines] == ["server.prt", "observability.tracing.enabled"]
    assert not any("Traceback" in line for line in service.lines())
