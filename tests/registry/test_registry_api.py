"""The registry over HTTP, on each store."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.e2e.reporting import Start, make_service  # noqa: F401 - a fixture
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.timeout(LIMIT)]


def test_registry_api(make_service: Start, where: str, tmp_path: Path) -> None:  # noqa: F811
    store = Store(tmp_path / "home", tmp_path)
    store.add("v1", 1)
    outside = tmp_path / "home" / "deliveries" / "m" / "v2"
    source = store.source("v2", 2)
    outside.mkdir(parents=True)
    for name in ("weights.onnx", "config.json"):
        (outside / name).write_bytes((source / name).read_bytes())
    roots = f"{store.models},{tmp_path / 'home' / 'deliveries'}"
    service = make_service(store.home, OKAWARI_REGISTRY=where, OKAWARI_IMPORT_ROOTS=roots).ready()
    url = f"{service.url}/api/v1/registry/models"

    body = {
        "model_name": "m",
        "version": 2,
        "path": "deliveries/m/v2",
        "metadata": {"metrics": {"accuracy": 0.5}},
    }
    created = httpx.post(url, json=body, timeout=60)
    assert created.status_code == 201, created.text
    assert (created.json()["version"], created.json()["status"]) == (2, "staging")
    assert created.json()["digest"].startswith("sha256:")
    assert httpx.post(url, json=body, timeout=60).status_code == 409
    assert (
        httpx.post(url, json=body | {"version": 3, "path": "models/../../etc"}, timeout=60).status_code == 422
    )
    (tmp_path / "home" / "other").mkdir()
    (tmp_path / "home" / "deliveries" / "link").symlink_to(tmp_path)
    for outside_roots in ("other", "deliveries/link", "/etc", "deliveries/link/home/other"):
        refused = httpx.post(url, json=body | {"version": 3, "path": outside_roots}, timeout=60)
        assert (refused.status_code, "OKAWARI_IMPORT_ROOTS" in refused.text) == (422, True)
    assert (
        httpx.post(url, json=body | {"version": 3, "path": "deliveries/m/v3"}, timeout=60).status_code == 404
    )

    until(
        lambda: len(httpx.get(url, timeout=60).json()["models"]) == 2,
        "the version of the store is registered, too",
    )
    assert [entry["version"] for entry in httpx.get(url, timeout=60).json()["models"]] == [1, 2]
    assert (
        httpx.put(f"{url}/m/2/activate", json={"reason": "first"}, timeout=60).json()["status"]
        == "production"
    )
    assert httpx.get(f"{url}/m/v2", timeout=60).json()["status"] == "production"
    assert httpx.put(f"{url}/m/1/activate", timeout=60).json()["serving"] == 1
    statuses = {entry["version"]: entry["status"] for entry in httpx.get(url, timeout=60).json()["models"]}
    assert statuses == {1: "production", 2: "staging"}
