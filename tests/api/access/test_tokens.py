"""Bearer tokens of a provider that runs: each kind of token has its answer, on HTTP and on gRPC."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.identity_provider import IdentityProvider
from api import context
from api.access.bearer_tokens import ALGORITHMS, LONGEST, BearerTokens, TokenRules
from api.access.guard import AccessGuard
from api.access.signing_keys import KeyTimes, SigningKeys
from api.auth import AdminAuth
from api.budget import ByteBudget
from api.http.middleware import MiddlewareOptions, RequestMiddleware
from api.protos import inference_pb2 as pb
from tests.api.grpc.calling import Code
from tests.api.grpc.served import served
from tests.api.shape import refused
from tests.hotswap.fakes import FakeClock
from tests.support.identity_server import (
    AUDIENCE,
    SUBJECT,
    IdentityServer,
    identity_server,
    public_pem,
    rsa_key,
)

pytestmark = pytest.mark.anyio

_LOAD = "/inference.GRPCInferenceService/RepositoryModelLoad"


@pytest.fixture
def provider() -> Iterator[IdentityServer]:
    with identity_server("one", "two") as server:
        yield server


class _Unobserved:
    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        assert seconds >= 0


async def _who(scope: Scope, receive: Receive, send: Send) -> None:
    """Says who was let in."""
    caller = context.current.get().identity
    await Response("nobody" if caller is None else caller.actor)(scope, receive, send)


@dataclass
class Wires:
    """Both wires before one guard."""

    guard: AccessGuard
    channel: grpc.aio.Channel
    client: httpx.AsyncClient

    async def http(self, authorization: str | None) -> httpx.Response:
        """One change over HTTP."""
        headers = {} if authorization is None else {"authorization": authorization}
        return await self.client.put("/models/m/target", headers=headers)

    async def grpc(self, authorization: str | None) -> tuple[grpc.StatusCode, dict[str, str]]:
        """One change over gRPC: its code, and what comes with it."""
        metadata = () if authorization is None else (("authorization", authorization),)
        request = pb.RepositoryModelLoadRequest(model_name="m").SerializeToString()
        call = self.channel.unary_unary(_LOAD)(request, metadata=metadata)
        return await call.code(), dict(await call.trailing_metadata())

    async def both(self, token: str | None) -> tuple[int, str]:
        """Status and code of HTTP, after gRPC has said the same by its own words."""
        sent = None if token is None else f"Bearer {token}"
        answer = await self.http(sent)
        code, metadata = await self.grpc(sent)
        error = "" if answer.status_code == 200 else answer.json()["error"]["code"]
        assert code is _CODES[answer.status_code], (answer.text, code)
        assert metadata.get("x-error-code", "") == error
        if answer.status_code == 503:
            assert answer.headers["retry-after"] == metadata["retry-after"]
        return answer.status_code, error


_CODES = {
    200: Code.OK,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    503: Code.UNAVAILABLE,
}


@asynccontextmanager
async def wires(
    provider: IdentityServer, times: KeyTimes | None = None, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[Wires]:
    """HTTP in this process and a gRPC server, before one guard that trusts the provider."""
    rules = TokenRules(provider.issuer, AUDIENCE, ALGORITHMS)
    source = IdentityProvider(provider.issuer, timeout=2.0)
    tokens = BearerTokens(rules, SigningKeys(source.keys, times or KeyTimes(), clock))
    guard = AccessGuard(AdminAuth("secret", exposed=False), tokens=tokens)
    options = MiddlewareOptions(
        max_body_bytes=1000,
        bodies=ByteBudget(1000),
        request_timeout=5,
        not_ready=lambda: None,
        draining=lambda: False,
        observer=_Unobserved(),
        guard=lambda: guard,
    )
    transport = httpx.ASGITransport(RequestMiddleware(_who, options))
    async with (
        served("m:v1", auth=guard) as one,
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield Wires(guard, one.channel, client)


def _unsigned(provider: IdentityServer, header: dict[str, Any], signature: bytes = b"") -> str:
    now = int(time.time())
    claims = {
        "iss": provider.issuer,
        "aud": AUDIENCE,
        "sub": "x",
        "iat": now,
        "exp": now + 60,
        "scope": "admin",
    }
    parts = [json.dumps(part).encode() for part in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature))


def _hmac_with_public_key(provider: IdentityServer) -> str:
    head = _unsigned(provider, {"alg": "HS256", "typ": "JWT", "kid": "one"}).rpartition(".")[0]
    signature = hmac.digest(public_pem(provider.keys["one"]), head.encode(), hashlib.sha256)
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _deep() -> str:
    """Brackets enough for any parser that calls itself."""
    header = b'{"alg":"ES256","kid":' + b"[" * 2500 + b"]" * 2500 + b"}"
    return base64.urlsafe_b64encode(header).rstrip(b"=").decode() + ".e30.AAAA"


def _cut(token: str) -> str:
    return token[:-8] + ("A" * 8)


#: What is wrong with a token → how it is made.
BAD: dict[str, Callable[[IdentityServer], str]] = {
    "expired": lambda p: p.token(exp=int(time.time()) - 31, scope="admin"),
    "not yet valid": lambda p: p.token(nbf=int(time.time()) + 60, scope="admin"),
    "issued in the future": lambda p: p.token(iat=int(time.time()) + 60, scope="admin"),
    "another audience": lambda p: p.token(aud="others", scope="admin"),
    "no audience": lambda p: p.token(aud=None, scope="admin"),
    "another issuer": lambda p: p.token(iss=f"{p.issuer}/", scope="admin"),
    "no issuer": lambda p: p.token(iss=None, scope="admin"),
    "no end": lambda p: p.token(exp=None, scope="admin"),
    "an endless end": lambda p: p.token(exp=float("1e400"), scope="admin"),
    "no subject": lambda p: p.token(sub=None, scope="admin"),
    "a number as subject": lambda p: p.token(sub=7, scope="admin"),
    "another key of that name": lambda p: p.signed(
        ec.generate_private_key(ec.SECP256R1()), headers={"kid": "one"}, scope="admin"
    ),
    "the other key of the provider": lambda p: p.signed(p.keys["two"], headers={"kid": "one"}, scope="admin"),
    "an unknown key": lambda p: p.signed(p.keys["one"], headers={"kid": "nobody"}, scope="admin"),
    "a changed signature": lambda p: _cut(p.token(scope="admin")),
    "unsigned": lambda p: _unsigned(p, {"alg": "ES256", "kid": "one"}),
    "none": lambda p: _unsigned(p, {"alg": "none"}),
    "None": lambda p: _unsigned(p, {"alg": "None", "kid": "one"}),
    "hmac": _hmac_with_public_key,
    "no algorithm": lambda p: _unsigned(p, {"kid": "one"}),
    "another type of key": lambda p: _unsigned(p, {"alg": "RS256", "kid": "one"}, b"x" * 256),
    "no token at all": lambda p: "abc",
    "dots": lambda p: "..",
    "a deep header": lambda p: _deep(),
    "a header that is no object": lambda p: "WzFd.e30.AAAA",
    "a critical extension": lambda p: p.signed(
        p.keys["one"], headers={"kid": "one", "crit": ["b64"], "b64": True}, scope="admin"
    ),
}


async def test_a_bad_token_is_refused_and_told_as_the_standard_says(provider: IdentityServer) -> None:
    async with wires(provider) as both:
        for name, make in BAD.items():
            token = make(provider)
            assert await both.both(token) == (401, "invalid_token"), name
            answer = await both.http(f"Bearer {token}")
            assert answer.headers["www-authenticate"].startswith(
                'Bearer error="invalid_token", error_desc'
            ), name
            assert token not in answer.text
        assert await both.both(provider.token(scope="admin")) == (200, "")


async def test_what_no_client_of_grpc_sends(provider: IdentityServer) -> None:
    async with wires(provider) as both:
        refused(await both.http(f"Bearer {'a' * (LONGEST + 1)}"), 401, "invalid_token")
        for odd in (b"\xff.\xff.\xff", "中.💥.x".encode(), b"a.b.c\t"):
            answer = await both.client.put("/models/m/target", headers={b"authorization": b"Bearer " + odd})
            refused(answer, 401, "invalid_token")


async def test_without_a_token_there_is_a_plain_challenge(provider: IdentityServer) -> None:
    async with wires(provider) as both:
        assert await both.both(None) == (401, "unauthorized")
        for sent in (None, "Basic abc", "Bearer", "Bearer  "):
            answer = await both.http(sent)
            refused(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert provider.asked == []


_WRITERS: list[dict[str, Any]] = [
    {"scope": "openid models:write email"},
    {"scp": ["models:write"]},
    {"scp": "x models:write"},
    {"realm_access": {"roles": ["models:write"]}},
    {"resource_access": {AUDIENCE: {"roles": ["x", "admin"]}}},
    {"aud": ["others", AUDIENCE], "scope": "models:write"},
]


async def test_scopes_are_found_where_providers_write_them(provider: IdentityServer) -> None:
    async with wires(provider) as both:
        within_the_leeway = {"exp": int(time.time()) - 5, "scope": "models:write"}
        for claims in (*_WRITERS, within_the_leeway):
            assert await both.both(provider.token(**claims)) == (200, "")


_READERS: list[dict[str, Any]] = [
    {},
    {"scope": "models:read predict detect"},
    {"scope": "models:writes MODELS:WRITE models: write"},
    {"scope": 7, "scp": {"models:write": 1}, "realm_access": [], "resource_access": "admin"},
    {"resource_access": {"others": {"roles": ["admin"]}}},
    {"realm_access": {"roles": "x", "admin": True}},
]


async def test_without_the_scope_it_is_named(provider: IdentityServer) -> None:
    async with wires(provider) as both:
        for claims in _READERS:
            token = provider.token(**claims)
            assert await both.both(token) == (403, "insufficient_scope")
            answer = await both.http(f"Bearer {token}")
            assert "models:write" in answer.json()["error"]["message"]
            assert (
                answer.headers["www-authenticate"]
                == 'Bearer error="insufficient_scope", scope="models:write"'
            )


async def test_each_accepted_algorithm(provider: IdentityServer) -> None:
    provider.keys |= {"rsa": rsa_key("rsa"), "ed": ed25519.Ed25519PrivateKey.generate()}
    async with wires(provider) as both:
        for name, algorithm in (("one", "ES256"), ("rsa", "RS256"), ("rsa", "PS256"), ("ed", "EdDSA")):
            assert await both.both(provider.token(name, algorithm, scope="admin")) == (200, "")
        assert await both.both(provider.token("rsa", "RS512", scope="admin")) == (401, "invalid_token")


async def test_keys_that_are_too_short_secret_or_for_other_uses_are_no_keys(provider: IdentityServer) -> None:
    secret = base64.urlsafe_b64encode(b"k" * 32).decode().rstrip("=")
    weak = rsa_key("weak", 1024)
    provider.keys["weak"] = weak
    documents = provider.documents()["/keys"]["keys"]
    one = next(each for each in documents if each["kid"] == "one")
    provider.raw_keys = [
        {"kty": "oct", "kid": "oct", "k": secret, "alg": "HS256"},
        {**one, "kid": "enc", "use": "enc"},
        {**one, "kid": "other", "alg": "ES384"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "new", "kid": "new"},
        "no key",  # type: ignore[list-item]
    ]
    async with wires(provider) as both:
        for name in ("enc", "other", "broken", "oct", "new"):
            token = provider.signed(provider.keys["one"], headers={"kid": name}, scope="admin")
            assert await both.both(token) == (401, "invalid_token"), name
        assert await both.both(provider.token(scope="admin")) == (200, "")
        with pytest.warns(match="2048"):
            token = provider.token("weak", scope="admin")
        assert await both.both(token) == (401, "invalid_token")


async def test_a_token_without_a_key_name_fits_an_only_key(provider: IdentityServer) -> None:
    token = provider.signed(provider.keys["one"], scope="admin")
    async with wires(provider) as both:
        assert await both.both(token) == (401, "invalid_token")
    del provider.keys["two"]
    async with wires(provider) as both:
        assert await both.both(token) == (200, "")


async def test_the_static_token_works_beside_the_provider(provider: IdentityServer) -> None:
    async with wires(provider) as both:
        assert await both.both("secret") == (200, "")
        assert (await both.http("Bearer secret")).text == "admin"
    assert provider.asked == []


async def test_who_calls_is_told_from_the_static_token(provider: IdentityServer) -> None:
    async with wires(provider) as both:

        async def actor(**claims: Any) -> str:
            return (await both.http(f"Bearer {provider.token(scope='admin', **claims)}")).text

        assert await actor() == f"subject {SUBJECT}"
        assert await actor(preferred_username="ada") == f"ada ({SUBJECT})"
        assert await actor(sub="admin") == "subject admin"
        assert await actor(preferred_username="admin") == f"admin ({SUBJECT})"
        odd = await actor(preferred_username="a\n\x1b[31m" + "b" * 300, sub="s" * 300)
        assert odd.isprintable()
        assert len(odd) <= 200


# --- the keys of the provider ----------------------------------------------------------------------


async def test_a_new_key_is_taken_without_a_restart_and_an_old_one_dropped(provider: IdentityServer) -> None:
    clock = FakeClock()
    async with wires(provider, KeyTimes(lifetime=300, unknown=10), clock) as both:
        old = provider.token("two", scope="admin")
        assert await both.both(old) == (200, "")
        del provider.keys["two"]
        provider.keys["three"] = ec.generate_private_key(ec.SECP256R1())
        assert await both.both(provider.token("three", scope="admin")) == (200, "")
        assert await both.both(old) == (401, "invalid_token")


async def test_a_removed_key_is_refused_after_the_life_of_the_kept_ones(
    provider: IdentityServer,
) -> None:
    clock = FakeClock()
    async with wires(provider, KeyTimes(lifetime=300), clock) as both:
        old = provider.token("two", scope="admin")
        assert await both.both(old) == (200, "")
        del provider.keys["two"]
        assert await both.both(old) == (200, "")
        clock.now += 301
        assert await both.both(old) == (401, "invalid_token")


async def test_random_key_names_do_not_hammer_the_provider(provider: IdentityServer) -> None:
    clock = FakeClock()
    async with wires(provider, KeyTimes(unknown=10), clock) as both:
        assert await both.both(provider.token(scope="admin")) == (200, "")

        async def strangers() -> int:
            before = provider.asked.count("/keys")
            tokens = [provider.signed(provider.keys["one"], headers={"kid": f"x{n}"}) for n in range(30)]
            answers = await asyncio.gather(*(both.http(f"Bearer {token}") for token in tokens))
            assert {answer.status_code for answer in answers} == {401}
            return provider.asked.count("/keys") - before

        assert await strangers() == 1
        assert await strangers() == 0
        clock.now += 10
        assert await strangers() == 1


async def test_many_at_once_wait_for_one_fetch(provider: IdentityServer) -> None:
    async with wires(provider) as both:
        sent = f"Bearer {provider.token(scope='admin')}"
        answers = await asyncio.gather(*(both.http(sent) for _ in range(30)))
        assert {answer.status_code for answer in answers} == {200}
    assert len(provider.asked) == 2  # discovery and keys


async def test_a_provider_that_is_away_at_the_start(provider: IdentityServer) -> None:
    clock = FakeClock()
    provider.away = True
    async with wires(provider, KeyTimes(pause=5), clock) as both:
        token = provider.token(scope="admin")
        assert await both.both(token) == (503, "identity_provider_unavailable")
        tries = len(provider.asked)
        assert await both.both(token) == (503, "identity_provider_unavailable")
        assert len(provider.asked) == tries, "it is left alone for a while"
        assert (await both.http("Bearer secret")).status_code == 200
        provider.away = False
        clock.now += 5
        assert await both.both(token) == (200, "")


async def test_a_provider_that_goes_away_later(provider: IdentityServer) -> None:
    clock = FakeClock()
    async with wires(provider, KeyTimes(lifetime=300, outage=3600, pause=5), clock) as both:
        token = provider.token(scope="admin", exp=int(time.time()) + 9999)
        assert await both.both(token) == (200, "")
        provider.away = True
        clock.now += 301
        assert await both.both(token) == (200, ""), "the last keys go on being used"
        unknown = provider.signed(provider.keys["one"], headers={"kid": "nine"}, scope="admin")
        assert await both.both(unknown) == (503, "identity_provider_unavailable")
        clock.now += 3300
        assert await both.both(token) == (503, "identity_provider_unavailable"), "but not without end"
        provider.away = False
        clock.now += 5
        assert await both.both(token) == (200, "")


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://others.example"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 7},
        {"jwks_uri": None},
    ],
)
async def test_a_discovery_document_that_cannot_be_used(provider: IdentityServer, discovery: Any) -> None:
    provider.discovery = discovery
    async with wires(provider) as both:
        assert await both.both(provider.token()) == (503, "identity_provider_unavailable")
    assert "/keys" not in provider.asked


async def test_a_provider_that_redirects_is_not_followed(provider: IdentityServer) -> None:
    with identity_server("one") as other:
        provider.redirect = other.jwks_url
        async with wires(provider) as both:
            token = provider.signed(other.keys["one"], headers={"kid": "one"}, scope="admin")
            assert await both.both(token) == (503, "identity_provider_unavailable")
        assert other.asked == []


@pytest.mark.parametrize("text", [b"[" * 50_000, b"no json", b"[]", b"\xff\xfe", b""])
async def test_a_document_that_is_none(provider: IdentityServer, text: bytes) -> None:
    provider.text = text
    async with wires(provider) as both:
        assert await both.both(provider.token()) == (503, "identity_provider_unavailable")


async def test_a_document_without_end_is_not_read(provider: IdentityServer) -> None:
    provider.raw_keys = [{"kty": "EC", "x": "a" * 300_000}]
    async with wires(provider) as both:
        assert await both.both(provider.token()) == (503, "identity_provider_unavailable")


async def test_addresses_in_a_token_are_not_asked(provider: IdentityServer) -> None:
    with identity_server("evil") as evil:
        headers = {"kid": "evil", "jku": evil.jwks_url, "x5u": evil.jwks_url}
        headers |= {"jwk": evil.documents()["/keys"]["keys"][0]}  # type: ignore[dict-item]
        token = provider.signed(evil.keys["evil"], headers=headers, scope="admin")
        async with wires(provider) as both:
            assert await both.both(token) == (401, "invalid_token")
        assert evil.asked == []
