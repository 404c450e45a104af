"""Clients over TLS, as chapter 6 writes them: each shows a certificate, and who shows none is not let in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.conftest import PICTURE, home_of, run
from tests.clients.showing import EXAMPLES, answer_of
from tests.clients.test_browser import served_page, shown_by
from tests.e2e.certificates import Authority, Pair
from tests.e2e.harness import ROOT, Service
from tests.e2e.reporting import services
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@dataclass
class Secret:
    """A service that speaks TLS alone, over HTTP as well; over gRPC clients show who they are."""

    service: Service
    authority: Path
    client: Pair

    @property
    def https(self) -> str:
        """Where it answers."""
        return self.service.url.replace("http:", "https:")

    @property
    def flags(self) -> list[str]:
        """What grpcurl is told."""
        return [
            "-cacert",
            str(self.authority),
            "-cert",
            str(self.client.certificate),
            "-key",
            str(self.client.key),
        ]


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secret]:
    """The one service of these tests."""
    folder = tmp_path_factory.mktemp("tls")
    store, ours = Store(folder / "home", folder), Authority(folder / "ours")
    store.take(ROOT / "examples" / "models" / "shapes" / "v2")
    server = ours.vouch("server")
    https = f'exec "$0" "$@" --ssl-certfile {server.certificate} --ssl-keyfile {server.key}'
    settings = {
        "OKAWARI_GRPC_TLS_CERT": str(server.certificate),
        "OKAWARI_GRPC_TLS_KEY": str(server.key),
        "OKAWARI_GRPC_TLS_CLIENT_CA": str(ours.own.certificate),
    }
    makers = services()
    try:
        service = next(makers)(store.home, through=("sh", "-c", https), **settings).launch()
        until(lambda: [each for each in service.workers() if each.grpc and each.ready], "it is ready")
        service.port = service.workers()[0].port or 0
        yield Secret(service, ours.own.certificate, ours.vouch("client"))
    finally:
        makers.close()


def test_python_over_grpc(secret: Secret) -> None:
    ask = (sys.executable, "-m", "examples.clients.over_grpc", PICTURE, secret.service.grpc_address)
    own = ("--cert", secret.client.certificate, "--key", secret.client.key)
    assert answer_of(*ask, "--ca", secret.authority, *own, cwd=ROOT)["model_version"] == "v2"
    for less in (("--ca", secret.authority), ()):
        with pytest.raises(AssertionError, match="UNAVAILABLE: "):
            run(*ask, *less, cwd=ROOT)
    with pytest.raises(AssertionError, match="need each other"):
        run(*ask, *own, cwd=ROOT)


def test_grpcurl(secret: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home_of("grpcurl") / "bin"
    address = secret.service.grpc_address
    assert "okawari.v1.Predictor" in run(folder / "grpcurl", *secret.flags, address, "list").stdout
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    environment = {"GRPCURL_TLS": " ".join(secret.flags)}
    assert answer_of(EXAMPLES / "over_grpc.sh", PICTURE, address, env=environment)["model_version"] == "v2"


def test_tritonclient(secret: Secret) -> None:
    program = (
        "import sys, tritonclient.grpc as triton\n"
        "address, roots, chain, key = sys.argv[1:]\n"
        "with triton.InferenceServerClient(address, ssl=True, root_certificates=roots,"
        " certificate_chain=chain, private_key=key) as client:\n"
        "    print(client.is_server_ready(), client.is_model_ready('shapes'))"
    )
    files = (secret.authority, secret.client.certificate, secret.client.key)
    python = home_of("triton") / "bin" / "python"
    assert run(python, "-c", program, secret.service.grpc_address, *files).stdout == "True True\n"


def test_over_https(secret: Secret) -> None:
    trusts = {"SSL_CERT_FILE": str(secret.authority)}
    python = (sys.executable, EXAMPLES / "over_http.py", PICTURE, secret.https)
    assert answer_of(*python, env=trusts)["model_version"] == "v2"
    with pytest.raises(AssertionError, match="CERTIFICATE_VERIFY_FAILED"):
        run(*python)
    okawari = (Path(sys.executable).parent / "okawari", "predict", PICTURE, "--url", secret.https)
    assert "shapes:v2" in run(*okawari, env=trusts).stdout


def test_the_page_before_a_service_over_https(
    secret: Secret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secret.authority))
    with served_page(secret.https) as page:
        (shown,) = shown_by(page, tmp_path / "page.png", PICTURE)
    assert shown["told"].startswith("shapes:v2 found ")


def test_the_page_wants_to_know_the_wire() -> None:
    serve = EXAMPLES / "browser" / "serve.py"
    with pytest.raises(AssertionError, match="write http://HOST:PORT"):
        run(sys.executable, serve, "--port", "0", "--service", "127.0.0.1:3000")
