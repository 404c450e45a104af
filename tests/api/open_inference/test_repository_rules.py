"""The model repository extension over HTTP, rules M1 to M4."""

from __future__ import annotations

import gzip
import itertools
import math
import os
import zlib
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests.api.open_inference.asking import document, failed, infer, pixels
from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

INDEX = "/v2/repository/index"


def load(service: Service, what: str, name: str = "m", status: int = 200, **more: object) -> str:
    """POST load or unload; the error's text."""
    answer = service.client.post(f"/v2/repository/models/{name}/{what}", **more)  # type: ignore[arg-type]
    if status == 200:
        assert document(answer) == {}
        return ""
    return failed(answer, status)


def states(service: Service) -> dict[tuple[str, str | None], tuple[str, str]]:
    """State and reason of every version."""
    answer = service.client.post(INDEX)
    assert answer.status_code == 200, answer.text
    return {(each["name"], each.get("version")): (each["state"], each["reason"]) for each in answer.json()}


def at_rest(service: Service, **sent: object) -> list[dict[str, str]]:
    """The index at a moment when `bad`, which is tried again now and then, is not."""

    def told() -> list[dict[str, str]] | None:
        found: list[dict[str, str]] = service.client.post(INDEX, **sent).json()  # type: ignore[arg-type]
        return None if ("bad", "LOADING") in {(each["name"], each["state"]) for each in found} else found

    return until(told, "nothing is being loaded") or []


def used(service: Service) -> str:
    """The version that answers."""
    return str(document(infer(service, pixels()))["model_version"])


def test_m1_the_index_has_every_version_with_an_empty_body_too(v2: Service) -> None:
    found = {(each["name"], each["version"]): (each["state"], each["reason"]) for each in at_rest(v2)}
    assert found["m", "v2"] == ("READY", "")
    assert found["m", "v1"] == ("UNAVAILABLE", "not loaded")
    assert found["bad", "v1"][0] == "UNAVAILABLE"
    assert "NaN" in found["bad", "v1"][1]
    assert at_rest(v2, json={}) == at_rest(v2, json={"ready": False}) == at_rest(v2)
    ready = v2.client.post(INDEX, json={"ready": True}).json()
    assert {(each["name"], each["version"]) for each in ready} == {
        tag for tag, (state, _) in found.items() if state == "READY"
    }
    for wrong in ("{", "[]", '{"ready": 1}', "7", "\t"):
        failed(v2.client.post(INDEX, content=wrong), 400)


def test_m2_a_load_that_is_overtaken_is_told_so_as_the_protocol_says(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    os.truncate(store.models / "m/v2/weights.onnx", 10)  # as if it were still copied: it is waited for
    service = make_service(store.home, OKAWARI_SERVE="m:v1", OKAWARI_SWAP_TIMEOUT=str(LIMIT)).ready()

    def revision() -> int:
        return int(service.model("m")["revision"])

    with ThreadPoolExecutor(2) as pool, httpx.Client(base_url=service.url, timeout=LIMIT) as others:

        def wish(method: str, path: str, body: object) -> Future[httpx.Response]:
            before = revision()
            waiting = pool.submit(others.request, method, path, json=body)
            until(lambda: revision() > before, "the wish is written")
            return waiting

        target = wish("PUT", "/models/m/target", {"target": "v2"})
        loaded = wish("POST", "/v2/repository/models/m/load", {})
        load(service, "unload")
        assert "unloaded" in failed(loaded.result(), 400)
        assert target.result().status_code == 409, target.result().text


def test_m2_m3_a_model_is_unloaded_and_loaded_as_the_protocol_says(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    service = make_service(store.home).ready()
    load(service, "unload")
    assert states(service)["m", "v2"] in (("UNAVAILABLE", "unloaded"), ("UNLOADING", ""))
    failed(infer(service, pixels()), 503)
    failed(infer(service, pixels(), version="v2"), 400)
    failed(service.get("/v2/models/m/ready"), 400)
    failed(service.get("/v2/models/m"), 503)
    load(service, "load")
    assert used(service) == "v2"
    assert states(service)["m", "v2"] == ("READY", "")
    load(service, "load", json={})
    load(service, "load", json={"parameters": {}})
    load(service, "unload", json={"parameters": {"unload_dependents": True}})
    assert service.stop() == 0
    again = make_service(store.home).start()
    until(lambda: states(again).get(("m", "v2")) == ("UNAVAILABLE", "unloaded"), "it is seen")
    assert again.target("v1").status_code == 200
    assert used(again) == "v1"


def test_m2_a_load_that_fails_leaves_what_serves(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    store.add("v2", 2, best=math.nan)
    message = load(service, "load", status=400)
    assert "NaN" in message
    assert used(service) == "v1"
    assert service.model()["target"] == "latest"
    store.add("v3", 3)
    load(service, "load")
    assert used(service) == "v3"


def test_m1_m2_m3_bodies_may_be_compressed_or_are_refused(v2: Service) -> None:
    ready = gzip.compress(b'{"ready": true}')
    found = v2.client.post(INDEX, content=ready, headers={"content-encoding": "gzip"}).json()
    assert found == v2.client.post(INDEX, json={"ready": True}).json() != v2.client.post(INDEX).json()
    sent: dict[str, object] = {"headers": {"content-encoding": "deflate"}}
    message = load(v2, "load", status=400, content=zlib.compress(b'{"parameters": {"config": "{}"}}'), **sent)
    assert "config" in message
    load(v2, "unload", status=413, content=zlib.compress(bytes(70_000)), **sent)
    load(v2, "unload", status=400, content=b"{}", **sent)
    load(v2, "unload", status=415, content=b"{}", headers={"content-encoding": "br"})
    assert used(v2) == "v2"


@pytest.mark.parametrize(
    "parameters",
    [{"config": "{}"}, {"file:1/model.onnx": "AAAA"}, {"file:../../x": "AAAA"}, {"anything": 1}],
)
def test_m2_no_files_and_no_config_come_by_request(v2: Service, parameters: dict[str, object]) -> None:
    message = load(v2, "load", status=400, json={"parameters": parameters})
    assert next(iter(parameters)) in message
    assert used(v2) == "v2"


def test_m2_m3_what_cannot_be_read_or_found_changes_nothing(v2: Service) -> None:
    def there() -> list[object]:
        """All but `bad`, which is tried again now and then by itself."""
        return [each for each in v2.get("/models").json()["models"] if each["name"] != "bad"]

    before = there()
    for what in ("load", "unload"):
        load(v2, what, "nobody", 404)
        load(v2, what, "x" * 500, 404)
        for wrong in ("{", "[]", '{"parameters": 7}', '{"parameters": []}', '{"parameters": {"a": [1]}}'):
            load(v2, what, status=400, content=wrong)
        load(v2, what, status=415, content="<x/>", headers={"content-type": "application/xml"})
        load(v2, what, status=413, content=b" " * 70_000)
    assert there() == before


def test_m2_m3_a_page_of_another_site_changes_nothing(v2: Service) -> None:
    load(v2, "unload", status=403, headers={"origin": "https://example.org"})
    load(v2, "unload", status=403, headers={"origin": "null"})
    assert used(v2) == "v2"
    load(v2, "load", headers={"origin": v2.url})


def test_m4_a_version_that_is_being_loaded_says_so(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, OKAWARI_SWAP_TIMEOUT="0.001").ready()
    versions, seen = itertools.count(2), set[str]()

    def noted(version: str) -> bool:
        state = states(service).get(("m", version), ("", ""))[0]
        seen.add(state)
        return state == "READY"

    while "LOADING" not in seen:  # nobody may have looked while one was loaded
        code = next(versions)
        store.add(f"v{code}", code, config={"warm_up": {"runs": 100}}, bytes_of_ballast=64_000_000)
        until(lambda code=code: noted(f"v{code}"), "it is ready")
    assert used(service) == f"v{code}"


def test_m2_a_load_that_takes_longer_than_is_waited_says_so_and_goes_on(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1, config={"warm_up": {"runs": 100}}, bytes_of_ballast=64_000_000)
    service = make_service(store.home, OKAWARI_SWAP_TIMEOUT="0.001").ready()
    service.client.post("/v2/repository/models/m/unload")
    until(lambda: service.model()["serving"] is None, "it is unloaded")
    assert "m is still loading" in load(service, "load", status=504)
    service.serves("v1")
