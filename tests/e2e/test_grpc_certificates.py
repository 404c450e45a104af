"""gRPC over TLS on the real service: who is let in, and certificates that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.e2e.certificates import Authority, Pair
from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.rpc_load import channel, infer, told
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def _tls(pair: Pair, **more: Path) -> dict[str, str]:
    files = {"OKAWARI_GRPC_TLS_CERT": pair.certificate, "OKAWARI_GRPC_TLS_KEY": pair.key, **more}
    return {name: str(file) for name, file in files.items()}


def _asks(service: Service, roots: Authority | None, own: Pair | None = None) -> bool:
    """Whether a client that trusts `roots` (None: speaks plain text) is answered."""
    key, chain = own.read() if own else (None, None)
    trusted = roots.own.certificate.read_bytes() if roots else None
    credentials = grpc.ssl_channel_credentials(trusted, key, chain) if roots else None
    with channel(service, credentials) as one:
        try:
            return told(infer(one, timeout=10)) == "v1"
        except grpc.RpcError as error:
            refused: Any = error
            assert refused.code() is grpc.StatusCode.UNAVAILABLE
            return False


def test_with_a_certificate_only_tls_is_spoken(make_service: Start, store: Store, tmp_path: Path) -> None:
    store.add("v1", 1)
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    service = make_service(store.home, **_tls(ours.vouch("server"))).ready()
    assert _asks(service, ours)
    assert not _asks(service, others)
    assert not _asks(service, None)
    assert service.version() == "v1"


def test_with_a_client_authority_only_its_clients_are_let_in(
    make_service: Start, store: Store, tmp_path: Path
) -> None:
    store.add("v1", 1)
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    mutual = {"OKAWARI_GRPC_TLS_CLIENT_CA": ours.own.certificate}
    service = make_service(store.home, **_tls(ours.vouch("server"), **mutual)).ready()
    assert _asks(service, ours, ours.vouch("client"))
    assert not _asks(service, ours)
    assert not _asks(service, ours, others.vouch("client"))


@pytest.mark.parametrize("what", ["no file", "another key", "no PEM", "encrypted", "no authority"])
def test_certificates_that_cannot_be_used_end_the_start_with_one_line(
    make_service: Start, store: Store, tmp_path: Path, what: str
) -> None:
    ours = Authority(tmp_path / "ours")
    pair, other = ours.vouch("server"), ours.vouch("other")
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("-----BEGIN NOTHING-----\n")
    settings = {
        "no file": _tls(Pair(tmp_path / "missing.pem", pair.key)),
        "another key": _tls(Pair(pair.certificate, other.key)),
        "no PEM": _tls(Pair(wrong, pair.key)),
        "encrypted": _tls(Pair(pair.certificate, ours.locked(pair.key))),
        "no authority": _tls(pair, OKAWARI_GRPC_TLS_CLIENT_CA=wrong),
    }[what]
    service = make_service(store.home, **settings).launch()
    assert service.ended() == 1
    (line,) = [line for line in service.lines() if line.startswith("okawari: ")]
    assert str(tmp_path) in line
    assert not any("Traceback" in line for line in service.lines())
