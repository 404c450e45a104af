"""A real service of two workers and a provider: tokens on both wires, the audit log, exact quotas."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec

from api.access import needs
from api.access.needs import Need
from api.protos import inference_pb2 as pb
from api.protos import predictor_pb2 as predictor
from cli.main import main
from streaming.http_client import HttpInference
from tests.api.grpc.calling import Code
from tests.api.shape import refused
from tests.e2e.cameras import picture_of
from tests.e2e.harness import Service
from tests.e2e.many import all_listen
from tests.e2e.pictures import picture
from tests.e2e.reporting import services
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.support.identity_server import AUDIENCE, IdentityServer, identity_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_QUOTA = 40
_CLIENTS = 50
_JPEG = picture()
#: Made once: it takes longer than a request.
_TLS = ssl.create_default_context()
_DEVICE_TOKEN = "token-of-camera-0"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityServer]:
    with identity_server() as server:
        yield server


@pytest.fixture(scope="module")
def service(provider: IdentityServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two workers with one model m; everybody needs a token, and has a quota."""
    folder = tmp_path_factory.mktemp("identity")
    store = Store(folder / "home", folder)
    store.add("v1", 1)
    store.add("v2", 2)
    settings = {
        "WORKERS": "2",
        "OKAWARI_OIDC_ISSUER": provider.issuer,
        "OKAWARI_OIDC_AUDIENCE": AUDIENCE,
        "OKAWARI_AUTH_REQUIRED_FOR_PREDICT": "true",
        "OKAWARI_ADMIN_TOKEN": "secret",
        "OKAWARI_QUOTA_SUBJECT": f"{_QUOTA}/day",
        "OKAWARI_QUOTA_DEVICE": "3/day",
        "DEVICE_000_TOKEN": _DEVICE_TOKEN,
    }
    with contextmanager(services)() as make:
        made = make(store.home, **settings).ready()
        all_listen(made, 2)
        yield made


def _bearer(provider: IdentityServer, **claims: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {provider.token(**claims)}"}


def _predicted(service: Service, headers: dict[str, str]) -> httpx.Response:
    """One picture over a connection of its own, which either worker may take."""
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False, verify=_TLS) as client:
        return client.post("/predict", content=_JPEG, headers={"content-type": "image/jpeg", **headers})


def _called(service: Service, headers: dict[str, str]) -> grpc.StatusCode:
    # Channels of one process share a connection unless they are told not to.
    options = (("grpc.use_local_subchannel_pool", 1),)
    with grpc.insecure_channel(service.grpc_address, options=options) as channel:
        send = channel.unary_unary(
            "/okawari.v1.Predictor/Predict",
            predictor.PredictRequest.SerializeToString,
            predictor.PredictResponse.FromString,
        )
        try:
            send(
                predictor.PredictRequest(image=_JPEG, model="m"), metadata=tuple(headers.items()), timeout=60
            )
        except grpc.RpcError as error:
            return error.code()
        return Code.OK


def test_what_is_documented_has_a_row_in_the_table(service: Service) -> None:
    paths = service.get("/docs.json").json()["paths"]
    assert {"/predict", "/schema.json", "/models/{name}/target"} <= set(paths)
    for path, operations in paths.items():
        for method, operation in operations.items():
            need = needs.http_need(method.upper(), re.sub(r"\{[^}]*\}", "v1", path))
            assert need is not None, (method, path)
            schemes = [name for each in operation.get("security", ()) for name in each]
            assert ("bearerToken" in schemes) == (need is not Need.OPEN), (method, path)


def test_a_change_is_recorded_with_its_user(service: Service, provider: IdentityServer) -> None:
    target = {"target": "v1", "reason": "older is better"}
    refused(service.client.put("/models/m/target", json=target), 401, "unauthorized")
    reader = _bearer(provider, scope="models:read")
    assert service.get("/models", headers=reader).status_code == 200
    refused(service.client.put("/models/m/target", json=target, headers=reader), 403, "insufficient_scope")
    writer = _bearer(provider, scope="models:write", preferred_username="ada")
    assert service.client.put("/models/m/target", json=target, headers=writer).status_code == 200
    refused(service.get("/api/v1/audit", headers=writer), 403, "insufficient_scope")
    for headers in (_bearer(provider, scope="admin"), {"authorization": "Bearer secret"}):
        records = service.get("/api/v1/audit", headers=headers).json()["records"]
        (record,) = (each for each in records if each["action"] == "target")
        assert (record["actor"], record["reason"]) == ("ada (3f2c)", "older is better")


def test_a_change_over_grpc_needs_the_scope_too(service: Service, provider: IdentityServer) -> None:
    request = pb.RepositoryModelLoadRequest(model_name="m").SerializeToString()
    with grpc.insecure_channel(service.grpc_address) as channel:
        load = channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")

        def code(headers: dict[str, str]) -> grpc.StatusCode:
            try:
                load(request, metadata=tuple(headers.items()), timeout=60)
            except grpc.RpcError as error:
                return error.code()
            return Code.OK

        assert code({}) is Code.UNAUTHENTICATED
        assert code(_bearer(provider, scope="predict")) is Code.PERMISSION_DENIED
        assert code(_bearer(provider, scope="models:write")) is Code.OK


def test_a_token_that_is_wrong_reads_no_body_and_stands_in_no_log(
    service: Service, provider: IdentityServer
) -> None:
    token = provider.token(scope="predict", exp=1)
    answer = _predicted(service, {"authorization": f"Bearer {token}"})
    refused(answer, 401, "invalid_token")
    assert "expired" in answer.headers["www-authenticate"]
    assert _called(service, {"authorization": f"Bearer {token}"}) is Code.UNAUTHENTICATED
    assert token not in service.log.read_text()
    assert service.get("/readyz").status_code == service.get("/metrics").status_code == 200


def test_a_new_key_is_taken_by_every_worker(service: Service, provider: IdentityServer) -> None:
    provider.keys["new"] = ec.generate_private_key(ec.SECP256R1())
    headers = _bearer(provider, name="new", scope="predict", sub="rotated")
    # Unknown names of keys before may make a worker wait for ten seconds.
    until(lambda: all(_predicted(service, headers).status_code == 200 for _ in range(4)), "both know it")


def test_of_many_clients_exactly_the_quota_is_answered(service: Service, provider: IdentityServer) -> None:
    headers = _bearer(provider, scope="predict", sub="many")

    def ask(number: int) -> str:
        if number % 2:
            return _called(service, headers).name
        answer = _predicted(service, headers)
        if answer.status_code == 429:
            refused(answer, 429, "quota_exceeded")
            assert 86_000 < int(answer.headers["retry-after"]) <= 86_400
        return str(answer.status_code)

    with ThreadPoolExecutor(_CLIENTS) as clients:
        told = Counter(clients.map(ask, range(2 * _CLIENTS)))
    assert told["200"] + told["OK"] == _QUOTA
    assert told["429"] + told["RESOURCE_EXHAUSTED"] == 2 * _CLIENTS - _QUOTA


def test_pictures_come_with_the_token_of_a_device_or_of_a_user(
    service: Service, provider: IdentityServer
) -> None:
    def hand_in(number: int, headers: dict[str, str]) -> httpx.Response:
        return service.client.post(
            "/api/v1/detect",
            files={"image": ("a.jpg", picture_of(0, number))},
            data={"device_id": "device-000", "timestamp": f"2026-11-29T12:00:{number:02}Z"},
            headers=headers,
        )

    device = {"X-API-Token": _DEVICE_TOKEN}
    assert hand_in(1, device).status_code == 200
    assert hand_in(2, _bearer(provider, scope="detect")).status_code == 200
    assert hand_in(3, {**device, "authorization": "Bearer of a proxy"}).status_code == 200
    refused(hand_in(4, device), 429, "quota_exceeded")
    refused(hand_in(5, {}), 401, "unauthorized")
    refused(hand_in(5, {"X-API-Token": "wrong"}), 401, "unauthorized")
    refused(hand_in(5, {"authorization": "Bearer wrong"}), 401, "invalid_token")
    refused(hand_in(5, _bearer(provider, scope="predict")), 403, "insufficient_scope")


def test_our_clients_send_the_token_of_their_environment(
    service: Service, provider: IdentityServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OKAWARI_HOME", "BENTOML_HOME"):
        monkeypatch.setenv(name, str(service.home))
    (tmp_path / "a.jpg").write_bytes(_JPEG)

    def predict(*more: str) -> Result:
        return CliRunner().invoke(main, ["predict", str(tmp_path / "a.jpg"), "--json", *more])

    assert (predict().exit_code, "unauthorized" in predict().stdout) == (1, True)
    monkeypatch.setenv("OKAWARI_ADMIN_TOKEN", "secret")
    assert predict().exit_code == 0
    # The admin token is for the own service alone.
    assert predict("--url", service.url).exit_code == 1
    monkeypatch.setenv("OKAWARI_TOKEN", provider.token(scope="predict", sub="shell"))
    assert predict("--url", service.url).exit_code == 0
    load = CliRunner().invoke(main, ["load", "m"])
    assert (load.exit_code, "models:write" in load.stderr) == (1, True)


async def _dispatched(service: Service, token: str | None) -> int:
    client = HttpInference(service.url, connections=1, path="/predict", token=token)
    try:
        return (await client.infer(_JPEG, {"Content-Type": "image/jpeg"})).status
    finally:
        await client.close()


def test_a_dispatcher_sends_its_token(service: Service, provider: IdentityServer) -> None:
    assert asyncio.run(_dispatched(service, None)) == 401
    assert asyncio.run(_dispatched(service, provider.token(scope="predict", sub="stream"))) == 200
