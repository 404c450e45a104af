"""`okawari status` tells the addresses that really answer, and `okawari predict` uses them."""

from __future__ import annotations

import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.grpc.handshakes import shown
from tests.e2e.certificates import Authority
from tests.e2e.harness import BIN, ROOT, Service, environment
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def _okawari(service: Service, *words: object) -> str:
    done = subprocess.run(
        [BIN / "okawari", *map(str, words)],
        env=environment(service.store, service.home),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _status(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_okawari(service, "status", "--json"))
    return found


def test_without_tls_both_addresses_answer(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    until(lambda: _status(service)["grpc"] is not None, "gRPC is told")
    found = _status(service)
    assert found["http"] == {"url": service.url, "everywhere": False}
    assert (found["grpc"]["address"], found["grpc"]["tls"]) == (service.grpc_address, False)
    assert f"gRPC     {service.grpc_address}, plain text\n" in _okawari(service, "status")


def test_with_tls_on_both_wires_the_addresses_say_so_and_pictures_are_asked_about(
    make_service: Start, store: Store, tmp_path: Path
) -> None:
    store.add("v1", 1)
    ours = Authority(tmp_path / "ours")
    server, client = ours.vouch("server"), ours.vouch("client")
    https = f'exec "$0" "$@" --ssl-certfile {server.certificate} --ssl-keyfile {server.key}'
    service = make_service(
        store.home,
        through=("sh", "-c", https),
        OKAWARI_GRPC_TLS_CERT=str(server.certificate),
        OKAWARI_GRPC_TLS_KEY=str(server.key),
        OKAWARI_GRPC_TLS_CLIENT_CA=str(ours.own.certificate),
    ).launch()
    until(lambda: _status(service)["grpc"] is not None, "gRPC is told")
    found = _status(service)
    trusted = ssl.create_default_context(cafile=ours.own.certificate)
    url = found["http"]["url"]
    until(lambda: httpx.get(f"{url}/readyz", verify=trusted, trust_env=False).status_code == 200, "ready")
    assert url.startswith("https://127.0.0.1:")
    assert (found["grpc"]["tls"], found["grpc"]["client_certificates"]) == (True, True)
    assert shown(int(found["grpc"]["address"].rpartition(":")[2]), ours, client) == "server"
    (tmp_path / "x.jpg").write_bytes(picture())
    told = json.loads(_okawari(service, "predict", tmp_path / "x.jpg", "--json"))
    assert told["model_version"] == "v1"


def test_a_certificate_that_https_cannot_use_ends_the_start_with_one_line(
    make_service: Start, store: Store, tmp_path: Path
) -> None:
    ours = Authority(tmp_path / "ours")
    server, other = ours.vouch("server"), ours.vouch("other")
    https = f'exec "$0" "$@" --ssl-certfile {server.certificate} --ssl-keyfile {other.key}'
    service = make_service(store.home, through=("sh", "-c", https)).launch()
    assert service.ended() == 1
    (line,) = [line for line in service.lines() if line.startswith("okawari: ")]
    assert str(server.certificate) in line
    assert not any("Traceback" in line for line in service.lines())


def test_where_grpc_is_off_no_address_is_told(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, GRPC_PORT="0").ready()
    assert _status(service)["grpc"] is None
    assert "gRPC     -\n" in _okawari(service, "status")
