"""Who may change what is served."""

from __future__ import annotations

import pytest

from tests.api.shape import refused
from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_CALLS = [("PUT", "/models/m/target", {"target": "v1"}), ("POST", "/api/v1/reload", None)]
_LIES = [{}, {"host": "127.0.0.1"}, {"host": "localhost"}, {"x-forwarded-for": "127.0.0.1"}]


def test_a_token_guards_every_changing_call_and_no_other(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    token = "s3cret-κλειδίà"  # its last byte is a space in Latin-1
    service = make_service(store.home, OKAWARI_ADMIN_TOKEN=token).ready()
    for method, path, body in _CALLS:
        missing = service.client.request(method, path, json=body)
        refused(missing, 401, "unauthorized")
        assert missing.headers["www-authenticate"] == "Bearer"
        for sent in ("Basic abc", "Bearer", "Token abc"):
            wrong = service.client.request(method, path, json=body, headers={"authorization": sent})
            refused(wrong, 401, "unauthorized")
        for sent in ("Bearer wrong", f"Bearer {token[:-1]}".encode(), b"Bearer \xff\xfe"):
            wrong = service.client.request(method, path, json=body, headers={"authorization": sent})
            refused(wrong, 403, "forbidden")
    assert service.version() == "v2"
    assert service.model()["target"] == "latest"
    for path in ("/models", "/readyz", "/metrics", "/docs.json"):
        assert service.get(path).status_code == 200
    for method, path, body in _CALLS:
        headers = {"authorization": f"bearer {token}".encode()}
        assert service.client.request(method, path, json=body, headers=headers).status_code == 200
    assert service.version() == "v1"
    assert token not in service.log.read_text()


def test_beyond_loopback_without_a_token_nobody_changes_anything(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    open_host = {"host": "0.0.0.0"}  # noqa: S104 - that is what is tested
    service = make_service(store.home, **open_host).ready()
    for lie in _LIES:
        for method, path, body in _CALLS:
            refused(_call(service, method, path, body, lie), 403, "admin_token_required")
        assert service.client.get("/models", headers=lie).status_code == 200
    assert service.version() == "v2"
    assert service.stop() == 0

    insecure = make_service(store.home, OKAWARI_INSECURE="true", **open_host).ready()
    for method, path, body in _CALLS:
        assert _call(insecure, method, path, body, {"host": "example.org"}).status_code == 200
    assert insecure.version() == "v1"


def test_on_loopback_without_a_token_anybody_may(api: Service) -> None:
    for lie in _LIES:
        assert _call(api, "POST", "/api/v1/reload", None, lie).status_code == 200


def _call(service: Service, method: str, path: str, body: object, headers: dict[str, str]) -> object:
    return service.client.request(method, path, json=body, headers=headers)
