"""Quotas of users, organisations and devices: who is counted, and what the next one beyond is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from adapters.identity_provider import IdentityProvider
from api.access.bearer_tokens import BearerTokens, TokenRules
from api.access.guard import AccessGuard
from api.access.quotas import DeviceQuota, Quotas
from api.access.signing_keys import SigningKeys
from api.auth import AdminAuth
from api.budget import ByteBudget
from api.errors import QuotaExceeded
from api.http.middleware import MiddlewareOptions, RequestMiddleware
from api.protos import predictor_pb2 as messages
from common.quotas import Quota
from lineage.errors import RateExceeded
from lineage.rate_limit import LocalRateLimit, Rate
from tests.api.grpc.calling import Code
from tests.api.grpc.served import PREDICT, Served, served
from tests.api.shape import refused
from tests.hotswap.fakes import FakeClock
from tests.support.identity_server import AUDIENCE, IdentityServer, identity_server
from workers.request_counts import RequestCounts

pytestmark = pytest.mark.anyio

_STREAM = "/okawari.v1.Predictor/PredictStream"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityServer]:
    with identity_server() as server:
        yield server


@pytest.fixture
def counts(tmp_path: Path) -> Iterator[RequestCounts]:
    clock = FakeClock()
    clock.now = 1_800_000_000.0
    made = RequestCounts(tmp_path / "counts", clock)
    yield made
    made.close()


class _Unobserved:
    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        assert seconds >= 0


@dataclass
class Asking:
    """Somebody who asks over both wires."""

    provider: IdentityServer
    client: httpx.AsyncClient
    rpc: Served

    async def http(self, path: str = "/predict", **claims: Any) -> httpx.Response:
        """One request of the user with these claims; of nobody without."""
        return await self.client.post(path, headers=dict(self._sent(claims)))

    async def grpc(self, **claims: Any) -> Any:
        """The code of one call, and what comes with it."""
        send = self.rpc.channel.unary_unary(PREDICT, messages.PredictRequest.SerializeToString)
        call = send(messages.PredictRequest(image=b"x", model="m"), metadata=tuple(self._sent(claims)))
        return await call.code(), dict(await call.trailing_metadata())

    def _sent(self, claims: dict[str, Any]) -> list[tuple[str, str]]:
        if not claims:
            return []
        return [("authorization", f"Bearer {self.provider.token(scope='predict detect', **claims)}")]


@asynccontextmanager
async def asking(
    provider: IdentityServer, quotas: Quotas, *, required: bool = False
) -> AsyncIterator[Asking]:
    """Both wires before one guard."""
    rules = TokenRules(provider.issuer, AUDIENCE, ("ES256",))
    tokens = BearerTokens(rules, SigningKeys(IdentityProvider(provider.issuer).keys))
    guard = AccessGuard(AdminAuth("secret", exposed=True), tokens=tokens, required=required, quotas=quotas)
    options = MiddlewareOptions(
        max_body_bytes=1000,
        bodies=ByteBudget(1000),
        request_timeout=5,
        not_ready=lambda: None,
        draining=lambda: False,
        observer=_Unobserved(),
        guard=lambda: guard,
    )
    transport = httpx.ASGITransport(RequestMiddleware(PlainTextResponse("in"), options))
    async with (
        served("m:v1", auth=guard) as one,
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield Asking(provider, client, one)


async def test_a_user_is_counted_over_both_wires(provider: IdentityServer, counts: RequestCounts) -> None:
    async with asking(provider, Quotas(counts, subject=Quota(per_minute=3))) as one:
        assert (await one.http(sub="a")).status_code == 200
        assert (await one.grpc(sub="a"))[0] is Code.OK
        assert (await one.http("/v2/models/m/infer", sub="a")).status_code == 200
        told = await one.http(sub="a")
        refused(told, 429, "quota_exceeded")
        assert told.headers["retry-after"] == "60"
        assert told.json()["error"]["transient"] is True
        code, metadata = await one.grpc(sub="a")
        assert code is Code.RESOURCE_EXHAUSTED
        assert (metadata["x-error-code"], metadata["retry-after"]) == ("quota_exceeded", "60")
        assert (await one.http(sub="b")).status_code == 200


async def test_reading_is_not_counted(provider: IdentityServer, counts: RequestCounts) -> None:
    async with asking(provider, Quotas(counts, subject=Quota(per_minute=1))) as one:
        for _ in range(3):
            assert (await one.client.get("/models")).status_code == 200
            assert (await one.client.get("/readyz")).status_code == 200


async def test_without_a_token_all_share_one_count(provider: IdentityServer, counts: RequestCounts) -> None:
    async with asking(provider, Quotas(counts, subject=Quota(per_minute=2))) as one:
        assert [(await one.http()).status_code for _ in range(3)] == [200, 200, 429]
        assert (await one.grpc())[0] is Code.RESOURCE_EXHAUSTED
        # A token that is sent counts for its sender, so it is checked, though none is needed here.
        assert (await one.http(sub="a")).status_code == 200
        refused(await one.http(sub="a", exp=1), 401, "invalid_token")
        # A subject of that name is somebody else.
        assert (await one.http(sub="anonymous")).status_code == 200


async def test_refused_callers_use_up_nothing(provider: IdentityServer, counts: RequestCounts) -> None:
    async with asking(provider, Quotas(counts, subject=Quota(per_minute=1)), required=True) as one:
        for _ in range(3):
            token = provider.token(sub="a", scope="models:read")
            answer = await one.client.post("/predict", headers={"authorization": f"Bearer {token}"})
            refused(answer, 403, "insufficient_scope")
            refused(await one.http(), 401, "unauthorized")
        assert (await one.http(sub="a")).status_code == 200


@pytest.mark.parametrize(
    "claims", [{"org": "acme"}, {"organization": ["acme"]}, {"organization": {"acme": {"id": "1"}}}]
)
async def test_an_organisation_is_counted_over_its_users(
    provider: IdentityServer, counts: RequestCounts, claims: Any
) -> None:
    async with asking(provider, Quotas(counts, organisation=Quota(per_day=2))) as one:
        assert [(await one.http(sub=name, **claims)).status_code for name in "abc"] == [200, 200, 429]
        assert (await one.http(sub="d", org="others")).status_code == 200
        assert (await one.http(sub="e")).status_code == 200


async def test_each_message_of_a_stream_is_counted(provider: IdentityServer, counts: RequestCounts) -> None:
    async with asking(provider, Quotas(counts, subject=Quota(per_minute=3))) as one:
        send = one.rpc.channel.stream_stream(
            _STREAM, messages.PredictRequest.SerializeToString, messages.StreamReply.FromString
        )
        pictures = (messages.PredictRequest(image=b"x", model="m", request_id=str(n)) for n in range(5))
        call = send(pictures, metadata=tuple(one._sent({"sub": "a"})))
        replies = [reply async for reply in call]
        assert [reply.request_id for reply in replies] == list("01234")
        assert [reply.WhichOneof("outcome") for reply in replies] == ["answer"] * 3 + ["error"] * 2
        assert replies[-1].error.code == "quota_exceeded"
        assert await call.code() is Code.OK
        assert (await one.http(sub="a")).status_code == 429


async def test_a_picture_of_a_user_counts_for_the_user(
    provider: IdentityServer, counts: RequestCounts
) -> None:
    async with asking(provider, Quotas(counts, subject=Quota(per_minute=1))) as one:
        path = "/api/v1/detect"
        assert [(await one.http(path, sub="a")).status_code for _ in range(2)] == [200, 429]
        by_device = await one.client.post(path, headers={"X-API-Token": "t", "authorization": "Bearer x"})
        assert by_device.status_code == 200, "the token of a device is looked at behind this layer"


async def test_a_device_has_a_quota_beside_its_rate(counts: RequestCounts) -> None:
    quotas = Quotas(counts, device=Quota(per_day=2))
    limit = DeviceQuota(LocalRateLimit(Rate(1e-6, 7)), quotas)
    limit.take("cam", 2)
    limit.take("cam", 2)
    with pytest.raises(QuotaExceeded) as told:
        limit.take("cam", 2)
    assert told.value.retry_after == 86_400
    limit.take("other")
    with pytest.raises(RateExceeded):
        limit.take("cam", 7)


async def test_quotas_of_devices_alone_ask_nobody_who_they_are(counts: RequestCounts) -> None:
    guard = AccessGuard(AdminAuth(None, exposed=False), quotas=Quotas(counts, device=Quota(per_day=1)))
    for _ in range(3):
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        assert await guard.admit(scope) is None
