"""What no route of ours answers still has our shape: unknown paths, wrong methods, health, limits."""

from __future__ import annotations

import pytest

from tests.api.conftest import MAX_BODY
from tests.api.shape import refused
from tests.e2e.harness import Service
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.wire import Reply, Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", ["/nothing", "/models/m/x/y", "/api/v1", "/static_content/nothing"])
def test_unknown_paths(api: Service, method: str, path: str) -> None:
    answer = api.client.request(method, path)
    if answer.status_code != 405:
        refused(answer, 404, "not_found")
        return
    refused(answer, 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("PUT", "/predict", "POST"),
        ("POST", "/models", "GET"),
        ("DELETE", "/models", "GET"),
        ("PUT", "/models/m", "GET"),
        ("PUT", "/models/m", "DELETE"),
        ("GET", "/models/m/load", "POST"),
        ("POST", "/health", "GET"),
        ("GET", "/models/m/target", "PUT"),
        ("GET", "/api/v1/reload", "POST"),
        ("POST", "/livez", "GET"),
        ("POST", "/readyz", "GET"),
        ("DELETE", "/healthz", "GET"),
        ("POST", "/metrics", "GET"),
        ("POST", "/docs.json", "GET"),
        ("POST", "/", "GET"),
    ],
)
def test_wrong_methods_say_which_are_right(api: Service, method: str, path: str, allowed: str) -> None:
    answer = api.client.request(method, path)
    refused(answer, 405, "method_not_allowed")
    assert allowed in answer.headers["allow"].replace(" ", "").split(",")


def test_a_head_has_the_headers_and_no_body(api: Service) -> None:
    with Wire(api) as wire:
        for path in ("/livez", "/healthz", "/readyz", "/models", "/nothing"):
            wire.head(path, "HEAD")
            reply = wire.reply("HEAD")
            assert reply.status == (404 if path == "/nothing" else 200)
            assert "x-request-id" in reply.headers
            assert int(reply.headers["content-length"]) > 0


def test_health(api: Service) -> None:
    for path in ("/livez", "/healthz"):
        assert (api.get(path).status_code, api.get(path).json()) == (200, {"ok": True, "team": None})
    assert (api.get("/readyz").status_code, api.get("/readyz").json()) == (200, {"ready": True})


def test_health_of_an_empty_service(make_service: Start, store: Store) -> None:
    service = make_service(store.home).start()
    unready = service.get("/readyz")
    assert "okawari import" in refused(unready, 503, "not_ready")
    assert unready.headers["retry-after"]
    assert service.get("/livez").json() == {"ok": True, "team": None}
    with Wire(service) as wire:
        wire.head("/readyz", "HEAD")
        assert wire.reply("HEAD").status == 503
        wire.head("/livez", "HEAD")
        assert wire.reply("HEAD").status == 200


def _too_large(reply: Reply) -> None:
    assert reply.status == 413, reply.body
    assert reply.json()["error"]["code"] == "body_too_large"
    assert reply.json()["error"]["request_id"] == reply.headers["x-request-id"]
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("path", ["/predict", "/models/m/target"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_goes_on_sending_too_much_reads_the_answer(
    api: Service, path: str, chunked: bool
) -> None:
    method = "PUT" if path.endswith("target") else "POST"
    kind = "application/json" if method == "PUT" else "image/jpeg"
    pieces = MAX_BODY // 50_000 + 1
    with Wire(api) as wire:
        length = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": pieces * 50_000}
        wire.head(path, method, Content_Type=kind, **length)
        for _ in range(pieces):
            wire.chunk(bytes(50_000)) if chunked else wire.send(bytes(50_000))
        if chunked:
            wire.chunk(b"")
        _too_large(wire.reply())
        assert wire.at_end()


def test_what_is_announced_too_large_is_refused_before_it_is_sent(api: Service) -> None:
    with Wire(api) as wire:
        wire.head(Content_Type="image/jpeg", Content_Length=10**12)
        _too_large(wire.reply())
    with Wire(api) as wire:
        wire.head(Content_Type="image/jpeg", Content_Length=MAX_BODY + 1, Expect="100-continue")
        _too_large(wire.reply())


def test_a_body_of_just_the_limit_is_read(api: Service) -> None:
    image = picture("BMP", (800, 600))
    padded = image + bytes(MAX_BODY - len(image))
    assert api.predict(padded).status_code == 200
    refused(api.predict(padded + b"x"), 413, "body_too_large")


def test_a_body_that_never_comes_to_its_end_is_given_up_at_the_deadline(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, OKAWARI_REQUEST_TIMEOUT="1").ready()
    with Wire(service) as wire:
        wire.head(Content_Type="image/jpeg", Content_Length=1000)
        wire.send(b"half")
        reply = wire.reply()
    assert (reply.status, reply.json()["error"]["code"]) == (504, "deadline_exceeded")
    with Wire(service) as wire:
        wire.head(Content_Type="image/jpeg", Content_Length=1000)
        wire.send(b"half")
    assert service.version() == "v1"
