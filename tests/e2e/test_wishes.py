"""Which models serve, which one is the default, and when the service is ready."""

from __future__ import annotations

import pytest

from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_named_models_are_required_and_others_are_not_loaded(make_service: Start, store: Store) -> None:
    store.add("v1", 1, "one")
    store.add("v1", 2, "other")
    service = make_service(store.home, OKAWARI_SERVE="one:latest, two:v2").start()
    unready = service.get("/readyz")
    assert unready.status_code == 503
    assert unready.json()["error"]["code"] == "not_ready"
    assert "two" in unready.json()["error"]["message"]
    assert unready.headers["retry-after"]
    assert service.get("/livez").status_code == service.get("/healthz").status_code == 200

    waiting = service.predict(model="two")
    assert (waiting.status_code, waiting.json()["error"]["code"]) == (503, "model_not_ready")
    assert waiting.headers["retry-after"]
    refused = service.predict(model="other")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "version_not_loaded")
    assert service.model("other")["serving"] is None
    assert service.predict().json()["model"] == "one"

    store.add("v1", 3, "two")
    store.add("v2", 4, "two")
    until(lambda: service.get("/readyz").status_code == 200, "all that are required serve")
    assert service.version("two") == "v2"
    # Whoever asks for it by name wants it from then on.
    assert service.target("latest", "other").status_code == 200
    assert service.version("other") == "v1"


def test_the_default_is_told_at_the_first_import_and_stays(make_service: Start, store: Store) -> None:
    service = make_service(store.home).start()
    assert service.get("/readyz").status_code == 503
    assert service.get("/models").json() == {"default": None, "models": []}
    empty = service.predict()
    assert (empty.status_code, empty.json()["error"]["code"]) == (400, "model_required")
    unknown = service.predict(model="m")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")

    store.add("v1", 1, "first")
    until(lambda: service.get("/readyz").status_code == 200, "the first model serves")
    assert service.get("/models").json()["default"] == "first"
    store.add("v1", 2, "shapes")
    service.serves("v1", "shapes")
    assert service.predict().json()["model"] == "first"


def test_shapes_is_the_default_among_several_and_a_named_default_wins(
    make_service: Start, store: Store
) -> None:
    for name in ("apples", "pears", "shapes"):
        store.add("v1", 1, name)
    service = make_service(store.home).ready()
    assert service.get("/models").json()["default"] == "shapes"
    assert service.stop() == 0
    named = make_service(store.home, OKAWARI_DEFAULT_MODEL="pears").ready()
    assert named.predict().json()["model"] == "pears"


def test_without_a_default_the_model_must_be_named(make_service: Start, store: Store) -> None:
    for name in ("apples", "pears"):
        store.add("v1", 1, name)
    service = make_service(store.home).ready()
    answer = service.predict()
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_required")
    assert service.version("pears") == "v1"


@pytest.mark.parametrize("text", ["m:LATEST!", ",", "m:v1:v2"])
def test_a_wish_that_cannot_be_read_ends_the_start_with_the_reason(
    make_service: Start, store: Store, text: str
) -> None:
    service = make_service(store.home, OKAWARI_SERVE=text).launch()
    assert service.ended() != 0
    assert "okawari: OKAWARI_SERVE" in service.tail()
    assert "Traceback" not in service.tail()
