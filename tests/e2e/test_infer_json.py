"""`/infer_json`: pictures of a real S3 server, answered for the team `fruit` by its own code."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest

from examples.fruit.pictures import fruit
from tests.api.shape import refused
from tests.e2e.harness import ROOT, Service
from tests.e2e.reporting import services
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.support.s3_server import S3Server, s3_server

__all__ = ["s3_server"]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(max(LIMIT, 300))]
BUCKET = "imagery-hot"
Make = Callable[..., Service]


def picture(number: int, *, defect: bool) -> bytes:
    """A fruit as a JPEG."""
    written = io.BytesIO()
    fruit(number, defect=defect).save(written, "JPEG", quality=92)
    return written.getvalue()


def add_fruit(
    store: Store,
    version: str,
    weights: Path = ROOT / "weights" / "fruit_best.onnx",
    *,
    model: str = "fruit",
    adapter: str = "fruit_defect_runner:FruitRunner",
) -> None:
    """A version of a team's model with our weights, by default with our adapter."""
    folder = store.scratch / f"{model}-{version}" / model / version
    folder.mkdir(parents=True)
    shutil.copy(weights, folder / "weights.onnx")
    config = {"task": "custom", "family": "adapter", "output": {"parameters": {"adapter": adapter}}}
    (folder / "config.json").write_text(json.dumps(config | {"description": version}))
    store.take(folder)


@pytest.fixture(scope="module")
def team(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of the team `fruit`, with pictures in its bucket."""
    bucket = s3_server.bucket(BUCKET)
    for number in range(6):
        obstore.put(bucket, f"belt/{number}.jpg", picture(number, defect=number % 2 == 1))
    obstore.put(bucket, "broken.jpg", picture(1, defect=True)[:400])
    obstore.put(bucket, "text.txt", b"no picture at all")
    obstore.put(bucket, "large", b"x" * 2_000_001)
    folder = tmp_path_factory.mktemp("team")
    store = Store(folder / "home", folder)
    add_fruit(store, "v1")
    add_fruit(store, "v2")
    store.add("v1", 7, "other")
    with contextmanager(services)() as make:
        limit = {"OKAWARI_MAX_BODY_BYTES": "2000000"}
        yield make(store.home, TEAM="Fruit", **s3_server.variables, **limit).ready()


def ask(service: Service, **message: Any) -> httpx.Response:
    """Send a message."""
    return httpx.post(f"{service.url}/infer_json", json={"bucket": BUCKET, **message}, timeout=30)


def test_it_says_whose_it_is(team: Service) -> None:
    assert team.get("/healthz").json() == {"ok": True, "team": "fruit"}


def test_pictures_are_answered_with_label_score_and_version(team: Service) -> None:
    right = 0
    for number in range(6):
        answer = ask(team, key=f"belt/{number}.jpg", extra={"threshold": 0.5}).json()
        assert (answer["team"], answer["model"], answer["model_version"]) == ("fruit", "fruit", "v2")
        assert answer["model_digest"].startswith("sha256:")
        assert answer["score"] == answer["confidence"] == answer["result"]["score"]
        assert 0 < answer["latency_ms_model"] < answer["timings_ms"]["total"]
        right += answer["label"] == ("defect" if number % 2 else "ok")
    assert right >= 5


def test_extra_reaches_the_adapter(team: Service) -> None:
    assert ask(team, key="belt/0.jpg", extra={"threshold": 0.0}).json()["label"] == "defect"
    message = refused(ask(team, key="belt/0.jpg", extra={"threshold": 7}), 422, "adapter_failed")
    assert message == "FruitRunner: ValueError: extra.threshold: allowed is 0..1, found 7.0"


def test_other_models_and_versions_can_be_named(team: Service) -> None:
    for message in ({"model_tag": "fruit:v2"}, {"model": "fruit", "model_tag": "latest"}, {"model_tag": "2"}):
        assert ask(team, key="belt/0.jpg", **message).json()["model_version"] == "v2"
    refused(ask(team, key="belt/0.jpg", model="none"), 404, "model_not_found")
    refused(ask(team, key="belt/0.jpg", model_tag="v9"), 404, "version_not_found")


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ({"key": "none.jpg"}, 404, "object_not_found"),
        ({"key": "belt/0.jpg", "bucket": "secrets"}, 403, "bucket_not_allowed"),
        ({"key": "broken.jpg"}, 422, "invalid_image"),
        ({"key": "text.txt"}, 422, "invalid_image"),
        ({"key": "large"}, 422, "image_too_large"),
        ({"key": ""}, 400, "invalid_argument"),
        ({"key": "a", "what": 1}, 400, "invalid_argument"),
        ({"key": "a", "extra": [1]}, 400, "invalid_argument"),
        ({"key": "belt/0.jpg", "extra": {"n": 10**30}}, 400, "invalid_argument"),
        ({}, 400, "invalid_argument"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_what_cannot_be_answered_is_told_apart(
    team: Service, message: dict[str, Any], status: int, code: str
) -> None:
    refused(ask(team, **message), status, code)


def test_a_message_has_a_size(team: Service) -> None:
    refused(ask(team, key="a", extra={"x": "y" * 70_000}), 413, "body_too_large")


def test_a_store_that_is_away_is_a_passing_failure(team: Service, s3_server: S3Server) -> None:
    s3_server.stop()
    try:
        refused(ask(team, key="belt/0.jpg"), 503, "objects_unavailable")
    finally:
        s3_server.start()
    if s3_server.is_real:
        until(lambda: ask(team, key="belt/0.jpg").status_code == 200, "the store is back")


def test_new_weights_are_swapped_in(team: Service, tmp_path: Path) -> None:
    store = Store(team.store, tmp_path)
    add_fruit(store, "v3")
    until(lambda: ask(team, key="belt/0.jpg").json()["model_version"] == "v3", "v3 answers")


def test_a_team_that_nobody_knows_does_not_start(make_service: Make, store: Store) -> None:
    service = make_service(store.home, TEAM="corn").launch()
    assert service.ended() != 0
    assert "unknown TEAM corn; known: fruit; name it in teams.toml" in service.tail()


def test_while_the_team_has_no_model_messages_are_kept_waiting(
    make_service: Make, store: Store, s3_server: S3Server
) -> None:
    obstore.put(s3_server.bucket(BUCKET), "waits.jpg", picture(1, defect=False))
    more = {"OKAWARI_START_TIMEOUT": "0", **s3_server.variables}
    service = make_service(store.home, TEAM="fruit", **more).start()
    refused(ask(service, key="waits.jpg"), 503, "model_not_ready")
    add_fruit(store, "v1")
    until(lambda: ask(service, key="waits.jpg").status_code == 200, "the model has come")
