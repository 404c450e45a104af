"""gRPC's certificate is renewed on the real service, in every worker, while calls are made."""

from __future__ import annotations

import shutil
from pathlib import Path

import grpc
import pytest

from tests.api.grpc.handshakes import credentials, shown
from tests.e2e.certificates import Authority, Pair
from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.rpc_load import channel, infer, told
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_TOLD = "gRPC: who connects from now on gets the new certificate"


def _write(pair: Pair, folder: Path) -> dict[str, str]:
    shutil.copy(pair.certificate, folder / "tls.crt")
    shutil.copy(pair.key, folder / "tls.key")
    return {
        "OKAWARI_GRPC_TLS_CERT": str(folder / "tls.crt"),
        "OKAWARI_GRPC_TLS_KEY": str(folder / "tls.key"),
    }


def _workers_told(service: Service) -> int:
    return sum(_TOLD in line for line in service.lines())


def test_all_workers_take_a_renewed_certificate_and_no_connection_ends(
    make_service: Start, store: Store, tmp_path: Path
) -> None:
    store.add("v1", 1)
    ours = Authority(tmp_path / "ours")
    client = ours.vouch("client")
    settings = _write(ours.vouch("first"), tmp_path)
    settings["OKAWARI_GRPC_TLS_CLIENT_CA"] = str(ours.own.certificate)
    service = make_service(store.home, WORKERS="2", **settings).ready()
    lived: list[grpc.ChannelConnectivity] = []
    with channel(service, credentials(ours, client)) as one:
        one.subscribe(lived.append)
        assert told(infer(one)) == "v1"
        _write(ours.vouch("second"), tmp_path)
        until(lambda: _workers_told(service) == 2, "both workers have the new certificate")
        assert told(infer(one)) == "v1"
        assert lived[-1] is grpc.ChannelConnectivity.READY
        assert lived.count(grpc.ChannelConnectivity.READY) == 1
    names = {shown(service.grpc_port, ours, client) for _ in range(20)}
    assert names == {"second"}
