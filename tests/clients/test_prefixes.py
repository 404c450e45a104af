"""Behind nginx below a path, with the prefix left on and taken off: calls, documents and pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from tests.clients.proxies import prefixing
from tests.e2e.pictures import picture
from tests.e2e.reporting import services
from tests.e2e.sizes import LIMIT, SOON
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Somebody who reaches the service through the proxy."""
    folder: Path = tmp_path_factory.mktemp("prefixes")
    store = Store(folder / "home", folder)
    store.add("v1", 1)
    with contextmanager(services)() as make:
        settings = {"OKAWARI_ROOT_PATH": "/kept", "OKAWARI_TRUSTED_PROXIES": "127.0.0.1"}
        service = make(store.home, **settings).ready()
        with (
            prefixing(service.port, folder) as port,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SOON, trust_env=False) as client,
        ):
            yield client


@pytest.mark.parametrize("prefix", ["/kept", "/stripped"])
def test_calls_are_answered_below_the_prefix(client: httpx.Client, prefix: str) -> None:
    jpeg = {"content": picture(), "headers": {"content-type": "image/jpeg"}}
    assert client.post(f"{prefix}/predict", **jpeg).json()["model_version"] == "v1"
    for path in ("/models", "/models/m", "/v2/models/m", "/v1/models/m", "/health", "/readyz", "/metrics"):
        assert client.get(prefix + path).status_code == 200, path
    assert client.delete(f"{prefix}/models/m").json()["serving"] is None
    assert client.post(f"{prefix}/predict", **jpeg).status_code == 409
    assert client.post(f"{prefix}/models/m/load").json()["serving"] == "v1"
    assert client.post(f"{prefix}/models/m/warmup?samples=2").json()["samples"] == 2
    assert client.get(f"{prefix}/nothing").json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("prefix", ["/kept", "/stripped"])
def test_documents_and_pages_lead_back_below_the_prefix(client: httpx.Client, prefix: str) -> None:
    place = str(client.base_url).rstrip("/")
    (server,) = client.get(f"{prefix}/docs.json").json()["servers"]
    assert urljoin(f"{place}{prefix}/docs.json", server["url"]) == f"{place}{prefix}"
    for page in ("/", "/redoc"):
        text = client.get(prefix + page).text
        links = re.findall(r"""(?:src|href)=["']([^"'#]+)["']""", text)
        ours = [link for link in links if not link.startswith(("http", "data:"))]
        assert ours, page
        for link in ours:
            found = urljoin(f"{place}{prefix}{page}", link)
            assert found.startswith(f"{place}{prefix}/")
            assert client.get(found).status_code == 200, found


def test_the_bare_prefix_leads_to_its_page(client: httpx.Client) -> None:
    answer = client.get("/kept")
    assert (answer.status_code, answer.headers["location"]) == (308, "/kept/")
    assert "swagger" in client.get("/kept", follow_redirects=True).text.lower()
